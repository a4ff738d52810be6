import { createHmac, randomBytes } from "node:crypto"
import { type ErrorCode, ServiceError } from "@sealwright/core/errors"
import { CKF, CKR, CKU_USER, type Cryptoki, type Handle, isCryptokiError } from "./cryptoki.ts"

const PIN_CODES: ReadonlyMap<number, ErrorCode> = new Map([
  [CKR.PIN_INCORRECT, "PIN_INCORRECT"],
  [CKR.PIN_INVALID, "PIN_INCORRECT"],
  [CKR.PIN_LEN_RANGE, "PIN_INCORRECT"],
  [CKR.PIN_EXPIRED, "PIN_LOCKED"],
  [CKR.PIN_LOCKED, "PIN_LOCKED"],
])

/**
 * The login of one token, shared by everyone in this process. A token counts wrong PINs and locks itself after a few, so a PIN that it refused once
 * is not sent again as long as the process lives. Refused PINs are remembered as HMACs under a key of this process; a right one is not remembered.
 */
export class PinMemory {
  readonly #key = randomBytes(32)
  readonly #refused = new Map<string, ErrorCode>()
  #running: Promise<void> | undefined

  /** One login at a time: those who come meanwhile wait for its end, and share its failure. */
  logIn(cryptoki: Cryptoki, slot: Handle, session: Handle, pin: () => Promise<string>): Promise<void> {
    this.#running ??= this.#logIn(cryptoki, slot, session, pin).finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  async #logIn(cryptoki: Cryptoki, slot: Handle, session: Handle, source: () => Promise<string>): Promise<void> {
    const pin = await source()
    const mark = createHmac("sha256", this.#key).update(pin).digest("base64")
    const refused = this.#refused.get(mark)
    if (refused !== undefined)
      throw new ServiceError(refused, "the token refused this PIN before; it was not sent again")
    const { flags } = cryptoki.C_GetTokenInfo(slot)
    if ((flags & CKF.USER_PIN_LOCKED) !== 0)
      throw new ServiceError("PIN_LOCKED", "the token is locked; no PIN was sent")
    if ((flags & CKF.USER_PIN_FINAL_TRY) !== 0)
      throw new ServiceError("PIN_LOCKED", "one more wrong PIN would lock the token; none was sent")
    try {
      cryptoki.C_Login(session, CKU_USER, pin)
    } catch (error) {
      if (!isCryptokiError(error)) throw error
      if (error.code === CKR.USER_ALREADY_LOGGED_IN) return
      const code = PIN_CODES.get(error.code)
      if (code === undefined) throw error
      this.#refused.set(mark, code)
      throw new ServiceError(code, `the token refused the PIN: ${error.message}`)
    }
  }
}
