import { ServiceError } from "@sealwright/core/errors"
import { CKF, CKR, type Cryptoki, isCryptokiError } from "./cryptoki.ts"
import { failureOf } from "./failures.ts"
import { PinMemory } from "./pin-memory.ts"

/** Between new starts that helped nobody: each cuts the sessions of every token of the module. */
const RESTART_PAUSE_MS = 250

const libraries = new WeakMap<Cryptoki, Library>()

/**
 * One module in this process. C_Initialize, C_Finalize and logins count for the whole process, so all homes over one module share this object.
 */
export class Library {
  readonly cryptoki: Cryptoki
  /** Rises whenever the module starts anew: a handle of an earlier generation may by now name something else, and is never used. */
  generation = 0
  #initialized = false
  /** The module was initialised by other code of this process, which alone may finalise it. */
  #foreign = false
  #users = 0
  #running = 0
  #quiet: (() => void) | undefined
  #restarting: Promise<void> | undefined
  #restartedAt = Number.NEGATIVE_INFINITY
  readonly #pins = new Map<string, PinMemory>()

  private constructor(cryptoki: Cryptoki) {
    this.cryptoki = cryptoki
  }

  static of(cryptoki: Cryptoki): Library {
    const library = libraries.get(cryptoki) ?? new Library(cryptoki)
    libraries.set(cryptoki, library)
    return library
  }

  /** @throws ServiceError SIGNER_UNAVAILABLE */
  open(): void {
    if (!this.#initialized) this.#initialize()
    this.#users++
  }

  /** To be called once for each `open`, after the last call. A call that hangs in the module keeps it from being finalised. */
  close(): void {
    this.#users--
    if (this.#users > 0 || this.#running > 0 || this.#foreign) return
    this.generation++
    this.#finalize()
  }

  pinMemory(tokenLabel: string): PinMemory {
    const memory = this.#pins.get(tokenLabel) ?? new PinMemory()
    this.#pins.set(tokenLabel, memory)
    return memory
  }

  /** Runs calls that no restart may interrupt. */
  async run<T>(calls: () => Promise<T>): Promise<T> {
    while (this.#restarting !== undefined) await this.#restarting.catch(() => undefined)
    this.#running++
    try {
      return await calls()
    } finally {
      this.#running--
      if (this.#running === 0) this.#quiet?.()
    }
  }

  /**
   * Finalises the module and initialises it again, once all running calls have ended: what p11-kit needs after its connection was cut. Must not be
   * called from within `run`.
   * @param seen the generation in which calls failed; a later one is left as it is
   * @param helped whether the asking token has had a session in this generation; if not, nothing happens shortly after the last new start
   * @throws ServiceError SIGNER_UNAVAILABLE: the next call tries again
   */
  async restart(seen: number, helped: boolean): Promise<void> {
    if (this.#restarting === undefined) {
      if (seen !== this.generation || this.#foreign) return
      if (!helped && performance.now() < this.#restartedAt + RESTART_PAUSE_MS) return
      this.#restarting = this.#restart().finally(() => {
        this.#restarting = undefined
      })
    }
    await this.#restarting
  }

  async #restart(): Promise<void> {
    if (this.#running > 0)
      await new Promise<void>((resolve) => {
        this.#quiet = resolve
      })
    this.#quiet = undefined
    this.#restartedAt = performance.now()
    this.generation++
    this.#finalize()
    this.#initialize()
  }

  #initialize(): void {
    try {
      this.cryptoki.C_Initialize({ flags: CKF.OS_LOCKING_OK })
    } catch (error) {
      if (!isCryptokiError(error) || error.code !== CKR.CRYPTOKI_ALREADY_INITIALIZED) throw failureOf(error)
      this.#foreign = true
    }
    this.#initialized = true
  }

  #finalize(): void {
    if (!this.#initialized) return
    this.#initialized = false
    try {
      this.cryptoki.C_Finalize()
    } catch (error) {
      if (!isCryptokiError(error)) throw error
    }
  }
}

/** @throws ServiceError PKCS11_TOKEN_UNKNOWN: no token of this module has the label, or several have it */
export function slotOf(cryptoki: Cryptoki, tokenLabel: string) {
  const slots = cryptoki.C_GetSlotList(true).filter((slot) => {
    const { label, flags } = cryptoki.C_GetTokenInfo(slot)
    return (flags & CKF.TOKEN_INITIALIZED) !== 0 && label.replace(/ +$/, "") === tokenLabel
  })
  const [slot] = slots
  if (slot === undefined || slots.length > 1)
    throw new ServiceError(
      "PKCS11_TOKEN_UNKNOWN",
      `${slots.length === 0 ? "no token" : `${slots.length} tokens`} of the label ${JSON.stringify(tokenLabel)}`,
    )
  return slot
}
