import type { KeyObject } from "node:crypto"
import {
  type Attribute,
  CKA,
  CKF,
  type CKO,
  CKR,
  type Cryptoki,
  type CryptokiError,
  type Handle,
  type KeyPairHandles,
  type Mechanism,
} from "@sealwright/adapters/pkcs11/cryptoki"
import { bytesEqual } from "@sealwright/formats/bytes"
import { CKM, newKeyPair, signRaw } from "./fakes-cryptoki-keys.ts"

export const PIN = "987654"

interface StoredObject {
  readonly attributes: Map<number, Buffer>
  readonly key: KeyObject
}

/** What a token keeps, whoever is connected to it. */
export interface FakeTokenStore {
  label: string
  pin: string
  flags: number
  failedLogins: number
  readonly objects: Map<number, StoredObject>
  /** every template that a private key was made with */
  readonly templates: Attribute[][]
}

export function createFakeTokenStore(label = "fake"): FakeTokenStore {
  return { label, pin: PIN, flags: CKF.TOKEN_INITIALIZED, failedLogins: 0, objects: new Map(), templates: [] }
}

export class FakeError extends Error implements CryptokiError {
  readonly code: number
  constructor(name: keyof typeof CKR) {
    super(`CKR_${name}`)
    this.code = CKR[name]
  }
}

type Call = keyof Cryptoki

/** One process's connection to tokens. Handles of objects of one session live with it; `before` lets calls fail. */
export class FakeCryptoki implements Cryptoki {
  readonly calls: Call[] = []
  before: (call: Call) => void = () => undefined
  /** how long a signature takes */
  signing: () => Promise<void> = async () => undefined
  readonly #tokens: readonly FakeTokenStore[]
  readonly #sessions = new Map<
    number,
    { readonly slot: number; signing?: StoredObject; mechanism?: Mechanism; found?: number[] }
  >()
  readonly #sessionObjects = new Map<number, { readonly session: number; readonly object: StoredObject }>()
  readonly #loggedIn = new Set<number>()
  #initialized = false
  static #next = 1

  constructor(...tokens: readonly FakeTokenStore[]) {
    this.#tokens = tokens
  }

  count(call: Call): number {
    return this.calls.filter((one) => one === call).length
  }

  get sessionObjects(): number {
    return this.#sessionObjects.size
  }

  get openSessions(): number {
    return this.#sessions.size
  }

  /** As a token does that was pulled out and put in again: all sessions are gone. */
  dropSessions(): void {
    this.#sessions.clear()
    this.#sessionObjects.clear()
    this.#loggedIn.clear()
  }

  #enter(call: Call): void {
    this.calls.push(call)
    if (!this.#initialized && call !== "C_Initialize") throw new FakeError("CRYPTOKI_NOT_INITIALIZED")
    this.before(call)
  }

  C_Initialize({ flags }: { readonly flags: number }): void {
    this.#enter("C_Initialize")
    if (flags !== CKF.OS_LOCKING_OK) throw new TypeError("other flags than CKF_OS_LOCKING_OK")
    if (this.#initialized) throw new FakeError("CRYPTOKI_ALREADY_INITIALIZED")
    this.#initialized = true
  }

  C_Finalize(): void {
    this.#enter("C_Finalize")
    this.dropSessions()
    this.#initialized = false
  }

  C_GetSlotList(): readonly Handle[] {
    this.#enter("C_GetSlotList")
    return this.#tokens.map((_, slot) => handleOf(slot))
  }

  C_GetTokenInfo(slot: Handle) {
    this.#enter("C_GetTokenInfo")
    const { label, flags } = this.#token(idOf(slot))
    return { label: label.padEnd(32), flags }
  }

  C_GetMechanismList(): readonly number[] {
    this.#enter("C_GetMechanismList")
    return Object.values(CKM)
  }

  C_OpenSession(slot: Handle, flags: number): Handle {
    this.#enter("C_OpenSession")
    if ((flags & CKF.SERIAL_SESSION) === 0) throw new TypeError("CKF_SERIAL_SESSION must be set")
    const session = FakeCryptoki.#next++
    this.#sessions.set(session, { slot: idOf(slot) })
    return handleOf(session)
  }

  C_CloseSession(session: Handle): void {
    this.#enter("C_CloseSession")
    const { slot } = this.#session(session)
    this.#sessions.delete(idOf(session))
    for (const [handle, object] of this.#sessionObjects)
      if (object.session === idOf(session)) this.#sessionObjects.delete(handle)
    if (![...this.#sessions.values()].some((one) => one.slot === slot)) this.#loggedIn.delete(slot)
  }

  C_GetSessionInfo(session: Handle) {
    this.#enter("C_GetSessionInfo")
    return { state: this.#loggedIn.has(this.#session(session).slot) ? 1 : 0 }
  }

  C_Login(session: Handle, userType: number, pin: string): void {
    this.#enter("C_Login")
    const { slot } = this.#session(session)
    const token = this.#token(slot)
    if (userType !== 1) throw new TypeError("not CKU_USER")
    if (this.#loggedIn.has(slot)) throw new FakeError("USER_ALREADY_LOGGED_IN")
    if ((token.flags & CKF.USER_PIN_LOCKED) !== 0) throw new FakeError("PIN_LOCKED")
    if (pin !== token.pin) {
      token.failedLogins++
      throw new FakeError("PIN_INCORRECT")
    }
    token.failedLogins = 0
    this.#loggedIn.add(slot)
  }

  C_FindObjectsInit(session: Handle, template: readonly Attribute[]): void {
    this.#enter("C_FindObjectsInit")
    const own = this.#user(session)
    const all = [
      ...this.#token(own.slot).objects,
      ...[...this.#sessionObjects].map(([handle, { object }]) => [handle, object] as const),
    ]
    own.found = all
      .filter(([, { attributes }]) =>
        template.every(({ type, value }) => bytesEqual(attributes.get(type) ?? Buffer.alloc(0), bytesOf(value))),
      )
      .map(([handle]) => handle)
  }

  C_FindObjects(session: Handle, maxObjects: number): readonly Handle[] {
    this.#enter("C_FindObjects")
    return (this.#user(session).found ?? []).splice(0, maxObjects).map(handleOf)
  }

  C_FindObjectsFinal(session: Handle): void {
    this.#enter("C_FindObjectsFinal")
    delete this.#user(session).found
  }

  C_GetAttributeValue(session: Handle, object: Handle, template: readonly { readonly type: number }[]) {
    this.#enter("C_GetAttributeValue")
    const { attributes } = this.#object(this.#user(session).slot, object)
    return template.map(({ type }) => {
      const value = attributes.get(type) ?? (type === CKA.LABEL || type === CKA.ID ? Buffer.alloc(0) : undefined)
      if (value === undefined) throw new FakeError("ATTRIBUTE_TYPE_INVALID")
      return { value }
    })
  }

  C_GenerateKeyPair(
    session: Handle,
    mechanism: Mechanism,
    publicTemplate: readonly Attribute[],
    privateTemplate: readonly Attribute[],
  ): KeyPairHandles {
    this.#enter("C_GenerateKeyPair")
    return this.#generate(session, mechanism, publicTemplate, privateTemplate)
  }

  async C_GenerateKeyPairAsync(
    session: Handle,
    mechanism: Mechanism,
    publicTemplate: readonly Attribute[],
    privateTemplate: readonly Attribute[],
  ): Promise<KeyPairHandles> {
    this.#enter("C_GenerateKeyPairAsync")
    return this.#generate(session, mechanism, publicTemplate, privateTemplate)
  }

  C_DestroyObject(session: Handle, object: Handle): void {
    this.#enter("C_DestroyObject")
    const { slot } = this.#user(session)
    this.#object(slot, object)
    this.#sessionObjects.delete(idOf(object))
    this.#token(slot).objects.delete(idOf(object))
  }

  C_SignInit(session: Handle, mechanism: Mechanism, key: Handle): void {
    this.#enter("C_SignInit")
    const own = this.#user(session)
    const object = this.#object(own.slot, key)
    if (object.attributes.get(CKA.SIGN)?.[0] !== 1) throw new FakeError("KEY_FUNCTION_NOT_PERMITTED")
    own.signing = object
    own.mechanism = mechanism
  }

  async C_SignAsync(session: Handle, message: Buffer, signature: Buffer): Promise<Buffer> {
    this.#enter("C_SignAsync")
    await this.signing()
    const { signing, mechanism } = this.#user(session)
    if (signing === undefined || mechanism === undefined) throw new TypeError("no operation was begun")
    const made = signRaw(signing.key, mechanism, message)
    if (made === undefined) throw new FakeError("MECHANISM_PARAM_INVALID")
    signature.set(made)
    return signature.subarray(0, made.length)
  }

  #generate(
    session: Handle,
    { mechanism }: Mechanism,
    publicTemplate: readonly Attribute[],
    privateTemplate: readonly Attribute[],
  ): KeyPairHandles {
    const { slot } = this.#user(session)
    const publicAttributes = attributesOf(publicTemplate)
    const key = newKeyPair(mechanism, publicAttributes)
    if (key === undefined) throw new FakeError("CURVE_NOT_SUPPORTED")
    this.#token(slot).templates.push([...privateTemplate])
    const add = (attributes: Map<number, Buffer>): Handle => {
      const handle = FakeCryptoki.#next++
      if (attributes.get(CKA.TOKEN)?.[0] === 1) this.#token(slot).objects.set(handle, { attributes, key })
      else this.#sessionObjects.set(handle, { session: idOf(session), object: { attributes, key } })
      return handleOf(handle)
    }
    return { publicKey: add(publicAttributes), privateKey: add(attributesOf(privateTemplate)) }
  }

  #token(slot: number): FakeTokenStore {
    const token = this.#tokens[slot]
    if (token === undefined) throw new FakeError("SLOT_ID_INVALID")
    return token
  }

  #session(session: Handle) {
    const found = this.#sessions.get(idOf(session))
    if (found === undefined) throw new FakeError("SESSION_HANDLE_INVALID")
    return found
  }

  #user(session: Handle) {
    const found = this.#session(session)
    if (!this.#loggedIn.has(found.slot)) throw new FakeError("USER_NOT_LOGGED_IN")
    return found
  }

  #object(slot: number, handle: Handle): StoredObject {
    const found = this.#token(slot).objects.get(idOf(handle)) ?? this.#sessionObjects.get(idOf(handle))?.object
    if (found === undefined) throw new FakeError("OBJECT_HANDLE_INVALID")
    return found
  }
}

function handleOf(id: number): Handle {
  const handle = Buffer.alloc(8)
  handle.writeUInt32LE(id)
  return handle
}

function idOf(handle: Handle): number {
  return handle.readUInt32LE()
}

function bytesOf(value: Attribute["value"]): Buffer {
  if (typeof value === "number") return handleOf(value)
  if (typeof value === "boolean") return Buffer.of(value ? 1 : 0)
  return typeof value === "string" ? Buffer.from(value) : (value ?? Buffer.alloc(0))
}

function attributesOf(template: readonly Attribute[]): Map<number, Buffer> {
  return new Map(template.map(({ type, value }) => [type, bytesOf(value)]))
}

/** Of the public objects of a store, those of one kind; for tests that change them behind the home's back. */
export function objectsOf(store: FakeTokenStore, objectClass: (typeof CKO)[keyof typeof CKO]): Map<number, Buffer>[] {
  return [...store.objects.values()]
    .map(({ attributes }) => attributes)
    .filter((attributes) => attributes.get(CKA.CLASS)?.readUInt32LE() === objectClass)
}
