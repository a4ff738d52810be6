/**
 * Private keys on a PKCS #11 token: CloudHSM, a smart card, a TPM, SoftHSM. Keys are made on the token, sensitive and not extractable; what is public
 * of them is read from the public key object that stands beside under the same CKA_ID.
 */
import { randomBytes } from "node:crypto"
import { ServiceError } from "@sealwright/core/errors"
import type { EphemeralKey, KeyHome, KeyReference, MakeEphemeralKey, NamedKey } from "@sealwright/core/ports"
import type { SignatureScheme } from "@sealwright/formats/algorithms"
import { bytesEqual } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import { type Pkcs11Uri, parsePkcs11Uri, writePkcs11Uri } from "@sealwright/formats/pkcs11-uri"
import { backOff } from "../sdk.ts"
import type { Cryptoki, Handle } from "./cryptoki.ts"
import { isHandleInvalid } from "./failures.ts"
import { generate } from "./generate.ts"
import { loadCryptoki } from "./load.ts"
import { requireMechanisms, signatureOf, signInput, signMechanism } from "./mechanisms.ts"
import { findKeyPairs, type KeyPairObjects, readPublicKey, signsUnder } from "./objects.ts"
import { type Session, Token } from "./token.ts"

export interface Pkcs11Settings {
  /** CKA_LABEL of the token; exactly one token of the module must have it */
  readonly tokenLabel: string
  /** the user's PIN, asked for at each login and not kept; for CloudHSM `user:password` */
  readonly pin: () => Promise<string>
  /** default: 4, as many as libuv has threads */
  readonly sessions?: number
  /** default: 10,000 */
  readonly timeoutMs?: number
}

export interface Pkcs11ModuleSettings extends Pkcs11Settings {
  /** absolute path of the vendor's library */
  readonly module: string
  /** folder that graphene-pk11 is installed in, when it is not beside this code */
  readonly packageFolder?: string
}

export interface Pkcs11Home extends KeyHome {
  readonly makeEphemeralKey: MakeEphemeralKey
}

/** @throws ServiceError PKCS11_MODULE_MISSING, PKCS11_TOKEN_UNKNOWN, PIN_INCORRECT, PIN_LOCKED, SIGNER_UNAVAILABLE */
export async function openPkcs11Home(settings: Pkcs11ModuleSettings): Promise<Pkcs11Home> {
  return await createPkcs11Home(await loadCryptoki(settings.module, settings.packageFolder), settings)
}

/** An RSA pair takes a token seconds, a TPM up to a minute. */
const GENERATE_TIMEOUT_MS = 120_000
const CREATE_ATTEMPTS = 8
const KEY_ID_BYTES = 16
const MAX_KNOWN_KEYS = 1_000

interface KnownKey {
  readonly generation: number
  readonly privateKey: Handle
  readonly spki: Uint8Array
}

export async function createPkcs11Home(cryptoki: Cryptoki, settings: Pkcs11Settings): Promise<Pkcs11Home> {
  const { tokenLabel, pin, sessions = 4, timeoutMs = 10_000 } = settings
  const token = await Token.open(cryptoki, { tokenLabel, pin, sessions, timeoutMs })
  /** by key id and scheme */
  const known = new Map<string, KnownKey>()
  const creating = new Map<string, Promise<unknown>>()

  function locate(session: Session, { keyId, scheme, spki }: KeyReference): Handle {
    const name = nameOf({ keyId, scheme })
    const remembered = known.get(name)
    if (remembered?.generation === session.generation && bytesEqual(remembered.spki, spki)) return remembered.privateKey
    const { token: label, object, id } = parseKeyId(keyId)
    if (label !== tokenLabel) throw notUsable(`${keyId} is a key of another token`)
    const pairs = findKeyPairs(cryptoki, session, { label: object, id })
    const [pair] = pairs
    if (pair === undefined || pairs.length > 1) throw notUsable(`the token has ${pairs.length} keys of the id ${keyId}`)
    const found = publicKeyOf(session, pair)
    if (!signsUnder(found, scheme) || !bytesEqual(found.spki, spki))
      throw notUsable(`${keyId} is not the key that it was`)
    if (known.size >= MAX_KNOWN_KEYS) known.clear()
    known.set(name, { generation: session.generation, privateKey: pair.privateKey, spki: found.spki })
    return pair.privateKey
  }

  function publicKeyOf(session: Session, { publicKey, label }: Pick<KeyPairObjects, "publicKey" | "label">) {
    const found = publicKey && readPublicKey(cryptoki, session, publicKey)
    if (found === undefined)
      throw notUsable(`the key ${label} has no single public key beside it, or one of no known kind`)
    return found
  }

  /** A handle that is remembered may have died with its object: then the key is looked for once more. No signature was given out by then. */
  async function signWith(session: Session, key: KeyReference, input: Buffer): Promise<Uint8Array> {
    const name = nameOf(key)
    for (const remembered of known.has(name) ? [true, false] : [false])
      try {
        return await rawSign(cryptoki, session, locate(session, key), key.scheme, input)
      } catch (error) {
        if (!remembered || !isHandleInvalid(error)) throw error
        known.delete(name)
      }
    throw new Error("unreachable")
  }

  const referenceOf = ({ label, id }: KeyPairObjects, scheme: SignatureScheme, spki: Uint8Array): KeyReference => ({
    keyId: writePkcs11Uri({
      token: tokenLabel,
      object: label === "" ? undefined : label,
      id: id.length === 0 ? undefined : id,
    }),
    scheme,
    spki,
  })

  function existing(session: Session, pair: KeyPairObjects, scheme: SignatureScheme): KeyReference {
    const found = publicKeyOf(session, pair)
    if (!signsUnder(found, scheme))
      throw new ServiceError("ALREADY_EXISTS", `the key ${pair.label} has another algorithm: ${found.scheme}`)
    return referenceOf(pair, scheme, found.spki)
  }

  /**
   * A token does not keep labels unique, so whoever made a key looks again: one that is not alone yields, destroys its own and starts over after a
   * random pause. A key is answered only by whoever found it alone after making it, so that two never answer different keys.
   */
  async function createOnce(name: string, scheme: SignatureScheme): Promise<KeyReference | undefined> {
    return await token.use(async (session) => {
      const [pair, ...others] = findKeyPairs(cryptoki, session, { label: name })
      if (others.length > 0) return undefined
      if (pair !== undefined) return existing(session, pair, scheme)
      requireMechanisms(token.mechanisms(session), scheme)
      const id = randomBytes(KEY_ID_BYTES)
      const made = await generate(cryptoki, session, scheme, { label: name, id })
      const [first, ...rest] = findKeyPairs(cryptoki, session, { label: name })
      if (first !== undefined && rest.length === 0 && bytesEqual(first.id, id)) return existing(session, first, scheme)
      for (const object of [made.privateKey, made.publicKey]) cryptoki.C_DestroyObject(session.handle, object)
      return undefined
    }, GENERATE_TIMEOUT_MS)
  }

  async function create(name: string, scheme: SignatureScheme): Promise<KeyReference> {
    writePkcs11Uri({ token: tokenLabel, object: name, id: undefined })
    for (let attempt = 0; attempt < CREATE_ATTEMPTS; attempt++) {
      const reference = await createOnce(name, scheme)
      if (reference !== undefined) return reference
      await backOff(attempt + 2)
    }
    throw notUsable(`the token has several keys of the name ${name}`)
  }

  async function makeEphemeralKey(scheme: SignatureScheme): Promise<EphemeralKey> {
    const born = await token.use(async (session) => {
      requireMechanisms(token.mechanisms(session), scheme)
      const { privateKey, publicKey } = await generate(cryptoki, session, scheme)
      try {
        const { spki } = publicKeyOf(session, { publicKey, label: "for one act" })
        return { session, privateKey, spki }
      } catch (error) {
        cryptoki.C_DestroyObject(session.handle, privateKey)
        throw error
      } finally {
        cryptoki.C_DestroyObject(session.handle, publicKey)
      }
    }, GENERATE_TIMEOUT_MS)
    let dropped = false
    /** A session object lives as long as the session that made it, and its handle means nothing after that. */
    const lives = () => !dropped && born.session.open && born.session.generation === token.generation
    return {
      scheme,
      spki: born.spki,
      async sign(message) {
        const input = signInput(scheme, message)
        const raw = await token.use(async (session) => {
          if (!lives()) throw new ServiceError("SIGNER_UNAVAILABLE", "the key for one act ended with its session")
          return await rawSign(cryptoki, session, born.privateKey, scheme, input)
        })
        return signatureOf(scheme, raw)
      },
      async drop() {
        try {
          await token.use(async (session) => {
            if (lives()) cryptoki.C_DestroyObject(session.handle, born.privateKey)
          })
        } catch {
          token.doom(born.session)
        } finally {
          dropped = true
        }
      },
    }
  }

  return {
    async create(name, _purpose, scheme) {
      const before = creating.get(name) ?? Promise.resolve()
      const result = before.then(
        () => create(name, scheme),
        () => create(name, scheme),
      )
      creating.set(name, result)
      try {
        return await result
      } finally {
        if (creating.get(name) === result) creating.delete(name)
      }
    },

    /**
     * Signing again after a cut is safe: both signatures are over the same bytes under the same number, only the second reaches the caller, and
     * nothing leaves the service before its record (D4). The token's own count of signatures then is one higher than ours.
     */
    async sign(key, message) {
      const input = signInput(key.scheme, message)
      return signatureOf(key.scheme, await token.use((session) => signWith(session, key, input)))
    },

    makeEphemeralKey,

    list: () =>
      token.use(async (session) =>
        findKeyPairs(cryptoki, session, {}).flatMap((pair): NamedKey[] => {
          const found = pair.signs && pair.publicKey ? readPublicKey(cryptoki, session, pair.publicKey) : undefined
          if (found === undefined || (pair.label === "" && pair.id.length === 0)) return []
          return [{ name: pair.label, key: referenceOf(pair, found.scheme, found.spki) }]
        }),
      ),

    async close() {
      known.clear()
      await token.close()
    },
  }
}

const nameOf = ({ keyId, scheme }: Pick<KeyReference, "keyId" | "scheme">) => `${scheme} ${keyId}`

async function rawSign(
  cryptoki: Cryptoki,
  session: Session,
  privateKey: Handle,
  scheme: SignatureScheme,
  input: Buffer,
): Promise<Uint8Array> {
  cryptoki.C_SignInit(session.handle, signMechanism(scheme), privateKey)
  session.input = input
  return new Uint8Array(await cryptoki.C_SignAsync(session.handle, input, session.signature))
}

function parseKeyId(keyId: string): Pkcs11Uri {
  try {
    return parsePkcs11Uri(keyId)
  } catch (cause) {
    if (!(cause instanceof FormatError)) throw cause
    throw new ServiceError("KEY_NOT_USABLE", `not the id of a key on a token: ${cause.message}`, { cause })
  }
}

function notUsable(detail: string): ServiceError {
  return new ServiceError("KEY_NOT_USABLE", detail)
}
