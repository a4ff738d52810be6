import type { HashName, SignatureScheme } from "@sealwright/formats/algorithms"
import type { Step } from "@sealwright/verifier/requests"

/** UTC. Every flow takes its time from here, once an act, so that one act has one time. */
export type Clock = () => Date

/** Cryptographically strong random bytes. */
export type RandomBytes = (length: number) => Uint8Array

export type Digest = (hash: HashName, bytes: Uint8Array) => Uint8Array

// ---------------------------------------------------------------------------------------------------------- keys

/** What a key is for; one key serves one purpose (D13). Becomes the key's tag, on which IAM conditions rest. */
export const KEY_PURPOSES = [
  "root",
  "issuer",
  "held",
  "timestamp",
  "ocsp",
  "log",
  "wrapping",
  "wrapping-timestamp",
  "tuf-root",
  "tuf-targets",
  "tuf-lists",
  "tuf-registry",
  "tuf-snapshot",
  "tuf-timestamp",
] as const
export type KeyPurpose = (typeof KEY_PURPOSES)[number]

/** One key in its home, and what is public of it. */
export interface KeyReference {
  /** what the home calls it; for AWS KMS the key's ARN */
  readonly keyId: string
  readonly scheme: SignatureScheme
  /** SubjectPublicKeyInfo, DER */
  readonly spki: Uint8Array
}

/**
 * Told, once a use of a key has succeeded, under which id its home noted the use: for AWS KMS the id of the request, which CloudTrail shows. Homes
 * that keep no such account tell nothing.
 */
export type NoteUse = (use: string) => void

/** Private keys that never leave their home. Adapters: kms.ts (AWS KMS), pkcs11/home.ts, memory-keys.ts (tests). */
export interface SigningKeys {
  /**
   * @param message the bytes to be signed; the adapter hashes them under the key's scheme and sends the digest
   * @returns ECDSA: DER Ecdsa-Sig-Value (RFC 3279 §2.2.3); RSA-PSS: as long as the modulus; Ed25519: 64 bytes
   * @throws ServiceError SIGNER_UNAVAILABLE (throttled or timed out: retry), KEY_NOT_USABLE (disabled: do not)
   */
  sign(key: KeyReference, message: Uint8Array, note?: NoteUse): Promise<Uint8Array>
}

/** Making keys: setting up only; the roles of the signing path do not have it. */
export interface KeyMaker {
  /**
   * Makes a key, or returns the one made before under the same name, so that a ceremony may be repeated.
   * @param name unique in the deployment, e.g. `issuer/ci-2026`
   * @throws ServiceError SIGNER_UNAVAILABLE
   */
  create(name: string, purpose: KeyPurpose, scheme: SignatureScheme): Promise<KeyReference>
}

/** First part of the id of a wrapped key: its private part stands in the id, encrypted. */
export const WRAPPED_KEY = "wrapped:"

/** Whether a key signs outside of the key service, in the memory of the functions that may unwrap it (D13). */
export function isWrapped({ keyId }: Pick<KeyReference, "keyId">): boolean {
  return keyId.startsWith(WRAPPED_KEY)
}

/** What may have wrapped keys, each under a wrapping key of its own. */
export type WrappedPurpose = "issuer" | "timestamp"

/** Making wrapped keys: setting up only. Who makes one cannot unwrap it. */
export interface KeyWrapper {
  /**
   * Makes a key pair, another with every call.
   * @param name unique in the deployment; the ciphertext is bound to it
   * @throws ServiceError WRAPPING_NOT_ENABLED, SIGNER_UNAVAILABLE, KEY_NOT_USABLE (of the wrapping key)
   */
  wrap(name: string, purpose: WrappedPurpose, scheme: SignatureScheme): Promise<KeyReference>
}

export interface NamedKey {
  readonly name: string
  readonly key: KeyReference
}

/**
 * A place where private keys live (R1). The first part of a key's id names its home: `arn:` AWS KMS, `pkcs11:` a module's token (RFC 7512, without
 * PIN), `local:` an encrypted file. Flows see no difference.
 */
export interface KeyHome extends SigningKeys, KeyMaker {
  /** every key pair that this home may sign with */
  list(): Promise<readonly NamedKey[]>
  /** Ends sessions and forgets PINs and passwords; no other call may follow. */
  close(): Promise<void>
}

/** A key pair for one act: made in this invocation or as a session key in an HSM, dropped after it (D2). */
export interface EphemeralKey {
  readonly scheme: SignatureScheme
  readonly spki: Uint8Array
  /** @returns as `SigningKeys.sign` */
  sign(message: Uint8Array): Uint8Array | Promise<Uint8Array>
  /** Ends the key, wherever it lives; called once, after success and failure alike. Never throws: what can't be destroyed ends with its session. */
  drop(): void | Promise<void>
}

export type MakeEphemeralKey = (scheme: SignatureScheme) => EphemeralKey | Promise<EphemeralKey>

/**
 * A timestamp authority (RFC 3161) whose key the caller can't use, so that who signs can't date back. Adapters: timestamper.ts (the deployment's own
 * function), or the authority itself over memory (tests). Trust: none; the token is checked.
 */
export interface Timestamper {
  /**
   * @param query TimeStampReq, DER
   * @returns TimeStampResp, DER
   * @throws ServiceError TIMESTAMP_UNAVAILABLE
   */
  timestamp(query: Uint8Array): Promise<Uint8Array>
}

/** Authorities of others, by the name that the deployment gave them. */
export type OutsideTimestampers = (authority: string) => Timestamper

// --------------------------------------------------------------------------------------------------------- table

export type Attribute =
  | string
  | number
  | boolean
  | Uint8Array
  | ReadonlySet<string>
  | readonly Attribute[]
  | { readonly [name: string]: Attribute }

export type Item = { readonly pk: string; readonly sk: string; readonly [name: string]: Attribute }

export interface Key {
  readonly pk: string
  readonly sk: string
}

type Scalar = string | number | boolean

/** All parts must hold. */
export interface Condition {
  /** there is no such item */
  readonly absent?: true
  /** there is such an item */
  readonly exists?: true
  /** the item has these attributes with these values */
  readonly equals?: { readonly [attribute: string]: Scalar }
  /** there is no such item, or it has these attributes with these values */
  readonly absentOrEquals?: { readonly [attribute: string]: Scalar }
  /** the item is absent or lacks these attributes */
  readonly lacks?: readonly string[]
  /** the item's map lacks these keys */
  readonly lacksIn?: { readonly [map: string]: readonly string[] }
  /** the string set is absent or has fewer members */
  readonly fewerThan?: { readonly [set: string]: number }
}

/** An update creates an absent item unless its condition says otherwise. */
export interface Update {
  readonly update: Key
  readonly set?: { readonly [attribute: string]: Attribute }
  readonly remove?: readonly string[]
  /** sets keys of a map, which must exist */
  readonly setIn?: { readonly [map: string]: { readonly [key: string]: Attribute } }
  /** joins members to a string set; an absent set is empty */
  readonly join?: { readonly [set: string]: readonly string[] }
  /** adds to a number; an absent number is 0 */
  readonly add?: { readonly [attribute: string]: number }
  readonly if?: Condition
}

export type Write =
  | { readonly put: Item; readonly if?: Condition }
  | Update
  | { readonly delete: Key; readonly if?: Condition }
  | { readonly check: Key; readonly if: Condition }

/** `failed`: its condition did not hold; `item` is what stood there. `passed`: it would have been applied. */
export type WriteOutcome = { readonly failed: false } | { readonly failed: true; readonly item: Item | undefined }

/** `outcomes` in the order of the writes. */
export type TransactResult =
  | { readonly committed: true }
  | { readonly committed: false; readonly outcomes: readonly WriteOutcome[] }

export interface QueryRange {
  /** sort keys from (inclusive), up to (inclusive) */
  readonly from?: string
  readonly to?: string
  /** continue after this sort key */
  readonly after?: string
  readonly limit?: number
  readonly descending?: boolean
}

export interface QueryPage {
  readonly items: readonly Item[]
  /** sort key to continue after; undefined at the end */
  readonly next: string | undefined
}

/**
 * The ledger's table. Adapters: dynamodb.ts, memory.ts (tests).
 * Consistency: `get`, `query` and every condition see all writes acknowledged before (serializable per item;
 * a transaction is all or nothing). `queryIndex` may lag, so nothing that must be complete is found through it.
 * Durability: what returned is durable. A write that threw STORE_UNAVAILABLE may or may not have been applied.
 * Trust: trusted for liveness, not for content: who writes here can forge records, but no signature.
 */
export interface Table {
  get(key: Key): Promise<Item | undefined>
  /** @returns at most `limit` items (default: the store's page) in sort-key order; follow `next` to the end */
  query(pk: string, range?: QueryRange): Promise<QueryPage>
  queryIndex(index: "byProfile", value: string, range?: QueryRange): Promise<QueryPage>
  /**
   * Applies up to 100 writes at once, no two on one item; conflicts with other writers are retried inside.
   * @throws ServiceError STORE_UNAVAILABLE (outcome unknown), CONTENTION (not applied)
   */
  transact(writes: readonly Write[]): Promise<TransactResult>
}

// ------------------------------------------------------------------------------------------------------- objects

export interface StoredObject {
  readonly bytes: Uint8Array
  readonly etag: string
}

export interface ObjectHeaders {
  readonly contentType: string
  readonly cacheControl: string
}

/**
 * The published objects. Adapters: s3.ts, memory.ts (tests).
 * Durable on return, read-after-write consistent; conditional writes are atomic per key.
 * Trust: none. Who writes here can withhold and replay, and readers notice.
 */
export interface Objects {
  get(key: string, maxBytes: number): Promise<StoredObject | undefined>
  /** @returns the etag, or `exists` when the key is taken (then compare bytes) */
  create(key: string, bytes: Uint8Array, headers: ObjectHeaders): Promise<{ etag: string } | "exists">
  /** @param etag what was read before; undefined: must not exist. @returns `changed` when another writer was first */
  replace(
    key: string,
    bytes: Uint8Array,
    etag: string | undefined,
    headers: ObjectHeaders,
  ): Promise<{ etag: string } | "changed">
}

// ------------------------------------------------------------------------------------------------------ verifying

/** Drives the verifier's own steps (D15); `runSync` of the verifier. The service checks what it makes as a stranger would. */
export type RunStep = <T>(step: Step<T>) => T
