import { setTimeout as sleep } from "node:timers/promises"
import { ServiceError } from "@sealwright/core/errors"
import { CKF, CKS_USER, type Cryptoki, type Handle } from "./cryptoki.ts"
import { failureOf, isAboutKey, isCut, TokenAway } from "./failures.ts"
import { Library, slotOf } from "./library.ts"
import { Permits } from "./permits.ts"

/** RSA-4096, the longest of all that are used here */
const LONGEST_SIGNATURE = 512

export interface TokenSettings {
  /** CKA_LABEL of the token; exactly one token of the module must have it */
  readonly tokenLabel: string
  /** Asked for at each login and not kept. Its errors pass through. */
  readonly pin: () => Promise<string>
  /** sessions at once, and so calls at once; beyond libuv's threads (UV_THREADPOOL_SIZE, 4 by default) more gain nothing */
  readonly sessions: number
  /** after which a caller gets SIGNER_UNAVAILABLE; the module's call itself can't be ended */
  readonly timeoutMs: number
}

/** One session, used by one call at a time. */
export interface Session {
  readonly handle: Handle
  readonly slot: Handle
  readonly generation: number
  /** false from the moment it was closed: objects that lived in it are gone */
  open: boolean
  /** to be closed when its present call ends */
  doomed: boolean
  /** What C_Sign reads on a thread and writes there: held here, since pkcs11js keeps hold of neither while the thread runs. */
  input: Buffer | undefined
  readonly signature: Buffer
}

function sessionOf(handle: Handle, slot: Handle, generation: number): Session {
  const signature = Buffer.alloc(LONGEST_SIGNATURE)
  return { handle, slot, generation, open: true, doomed: false, input: undefined, signature }
}

type Attempt<T> =
  | { readonly value: T }
  | { readonly error: unknown; readonly opened: boolean; readonly generation: number }

/**
 * The sessions that a home has with one token: at most so many, opened as they are needed, logged in once. After a cut they are opened again, if need
 * be with the whole module started anew, and the call is made once more.
 */
export class Token {
  readonly cryptoki: Cryptoki
  readonly #library: Library
  readonly #settings: TokenSettings
  readonly #permits: Permits
  #idle: Session[] = []
  #slot: { readonly generation: number; readonly handle: Handle } | undefined
  #mechanisms: { readonly generation: number; readonly list: readonly number[] } | undefined
  /** the last generation in which a session was opened */
  #reached = -1
  #closed = false

  private constructor(library: Library, settings: TokenSettings) {
    this.#library = library
    this.cryptoki = library.cryptoki
    this.#settings = settings
    this.#permits = new Permits(settings.sessions)
  }

  /**
   * Finds the token and logs in.
   * @throws ServiceError PKCS11_TOKEN_UNKNOWN, PIN_INCORRECT, PIN_LOCKED, SIGNER_UNAVAILABLE
   */
  static async open(cryptoki: Cryptoki, settings: TokenSettings): Promise<Token> {
    const library = Library.of(cryptoki)
    library.open()
    const token = new Token(library, settings)
    try {
      await token.#use(async () => undefined, { over: false })
      return token
    } catch (error) {
      token.#closeIdle()
      library.close()
      throw failureOf(error)
    }
  }

  get generation(): number {
    return this.#library.generation
  }

  /**
   * Makes calls in a session of their own. After a cut `act` runs a second time, so it must be such that twice does no harm.
   * @param timeoutMs in place of the settings'
   * @throws ServiceError SIGNER_UNAVAILABLE, KEY_NOT_USABLE, ALGORITHM_UNSUPPORTED, PIN_INCORRECT, PIN_LOCKED
   */
  use<T>(act: (session: Session) => Promise<T>, timeoutMs = this.#settings.timeoutMs): Promise<T> {
    if (this.#closed) return Promise.reject(new Error("this key home is closed"))
    return new Promise((resolve, reject) => {
      const deadline = { over: false }
      const timer = setTimeout(() => {
        deadline.over = true
        reject(unavailable(`the token took more than ${timeoutMs} ms`))
      }, timeoutMs)
      this.#use(act, deadline)
        .then(resolve, (error: unknown) => reject(failureOf(error)))
        .finally(() => clearTimeout(timer))
    })
  }

  /** CKM_* that the token lists */
  mechanisms({ slot, generation }: Session): readonly number[] {
    if (this.#mechanisms?.generation !== generation)
      this.#mechanisms = { generation, list: this.cryptoki.C_GetMechanismList(slot) }
    return this.#mechanisms.list
  }

  /** Closes a session, or has it closed when its present call ends, and so ends what lives in it. */
  doom(session: Session): void {
    session.doomed = true
    if (!this.#idle.includes(session)) return
    this.#idle = this.#idle.filter((one) => one !== session)
    this.#close(session)
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await Promise.race([this.#permits.drain(), sleep(this.#settings.timeoutMs, undefined, { ref: false })])
    this.#closeIdle()
    this.#library.close()
  }

  async #use<T>(act: (session: Session) => Promise<T>, deadline: { readonly over: boolean }): Promise<T> {
    await this.#permits.take()
    try {
      let acts = 0
      let restarted = false
      for (;;) {
        const attempt = await this.#library.run(() => this.#attempt(act, deadline))
        if ("value" in attempt) return attempt.value
        if (!isCut(attempt.error)) throw attempt.error
        this.#closeIdle()
        if (attempt.opened) {
          if (++acts === 2) throw attempt.error
        } else {
          if (restarted) throw attempt.error
          restarted = true
          await this.#library.restart(attempt.generation, this.#reached === attempt.generation)
        }
      }
    } finally {
      this.#permits.give()
    }
  }

  async #attempt<T>(act: (session: Session) => Promise<T>, deadline: { readonly over: boolean }): Promise<Attempt<T>> {
    const { generation } = this.#library
    let session: Session
    try {
      session = await this.#session()
    } catch (error) {
      return { error, opened: false, generation }
    }
    try {
      if (deadline.over) throw unavailable("the token was busy until the call's time was over")
      const value = await act(session)
      this.#putBack(session)
      return { value }
    } catch (error) {
      if (isAboutKey(error) || error instanceof ServiceError) this.#putBack(session)
      else this.#close(session)
      return { error, opened: true, generation }
    }
  }

  async #session(): Promise<Session> {
    const { generation } = this.#library
    this.#idle = this.#idle.filter((one) => one.generation === generation)
    const idle = this.#idle.pop()
    if (idle !== undefined) return idle
    const slot = this.#findSlot(generation)
    const handle = this.cryptoki.C_OpenSession(slot, CKF.SERIAL_SESSION | CKF.RW_SESSION)
    const session = sessionOf(handle, slot, generation)
    try {
      if (!CKS_USER.has(this.cryptoki.C_GetSessionInfo(handle).state))
        await this.#library.pinMemory(this.#settings.tokenLabel).logIn(this.cryptoki, slot, handle, this.#settings.pin)
      this.#reached = generation
      return session
    } catch (error) {
      this.#close(session)
      throw error
    }
  }

  #findSlot(generation: number): Handle {
    if (this.#slot?.generation === generation) return this.#slot.handle
    try {
      const handle = slotOf(this.cryptoki, this.#settings.tokenLabel)
      this.#slot = { generation, handle }
      return handle
    } catch (error) {
      throw this.#slot !== undefined && error instanceof ServiceError ? new TokenAway(error) : error
    }
  }

  #putBack(session: Session): void {
    if (session.doomed || this.#closed || session.generation !== this.#library.generation) this.#close(session)
    else this.#idle.push(session)
  }

  #closeIdle(): void {
    const idle = this.#idle
    this.#idle = []
    for (const session of idle) this.#close(session)
  }

  #close(session: Session): void {
    if (!session.open) return
    session.open = false
    if (session.generation !== this.#library.generation) return
    try {
      this.cryptoki.C_CloseSession(session.handle)
    } catch {
      // A session that can't be closed is gone already, or ends with the process.
    }
  }
}

function unavailable(detail: string): ServiceError {
  return new ServiceError("SIGNER_UNAVAILABLE", detail)
}
