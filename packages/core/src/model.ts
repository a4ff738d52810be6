import type { SignatureScheme } from "@sealwright/formats/algorithms"
import type { Descriptor } from "@sealwright/formats/oci"
import { isWrapped, type KeyReference } from "./ports.ts"

/** What the ceremony fixed for ever: these names are in every certificate (D9). */
export interface Deployment {
  /** subject of every certificate: C (ISO 3166 alpha-2), ST, O */
  readonly country: string
  readonly state: string
  readonly organisation: string
  /** domain of the profiles' identities: `profile@identityHost` */
  readonly identityHost: string
  /** CRLs are served at `http://{crlHost}/crl/{issuerKeyId}.crl` */
  readonly crlHost: string
  /** where the TUF repository is published, e.g. `https://trust.example.com/tuf` */
  readonly tufUrl: string
  readonly createdAt: Date
  /** certifies new issuers */
  readonly root: Issuer
  /** those before it, oldest first; `retired` ones have left the trust bundle */
  readonly formerRoots: readonly Issuer[]
  /** those under other algorithms beside it, oldest first: each certifies the issuers of its own algorithm; `retired` ones have left the trust bundle */
  readonly extraRoots: readonly Issuer[]
  /** rises with each change, so that of two changes at once one fails */
  readonly version: number
  readonly tuf: TufKeys
  /** undefined until a ceremony made them */
  readonly log?: TransparencyLogs | undefined
  /**
   * who cosigns the logs' checkpoints: lines `witness NAME VKEY URL`, `group` and `quorum` (C2SP tlog-policy) as `witnessText` writes them; undefined:
   * nobody
   */
  readonly witnesses?: string | undefined
}

/** What is logged (D8): every signature, and whatever changes what signatures count. */
export const LOG_KINDS = ["signatures", "events"] as const
export type LogKind = (typeof LOG_KINDS)[number]

export type TransparencyLogs = { readonly [Kind in LogKind]: LogOrigin }

/** The identity of one log. It never changes: every checkpoint has it. */
export interface LogOrigin {
  /** a bare host name, which need not resolve, e.g. `sig.trust.example.com` (C2SP tlog-checkpoint) */
  readonly origin: string
  /** Ed25519; signs checkpoints and nothing else */
  readonly key: KeyReference
  /** ML-DSA-44, beside it (C2SP tlog-cosignature); undefined: checkpoints have one signature */
  readonly cosigner: KeyReference | undefined
}

export const TUF_ROLES = ["root", "targets", "lists", "registry", "snapshot", "timestamp"] as const
export type TufRole = (typeof TUF_ROLES)[number]

/**
 * The service's own keys of each TUF role, oldest first. Which of them counts, with what threshold, and which keys of people count beside them, the TUF
 * documents alone say: a key is kept here before the first document names it, and stays when none does any more.
 */
export type TufKeys = { readonly [Role in TufRole]: readonly KeyReference[] }

/** A key of a person, for root or targets: the service has its public half alone. */
export interface TufPersonKey {
  readonly name: string
  readonly key: Pick<KeyReference, "scheme" | "spki">
  readonly registeredAt: Date
}

/** The next root, the next targets, or both, while signatures of people are missing. */
export interface TufProposal {
  /** lower-case hex SHA-256 over what is to be signed */
  readonly id: string
  /** the act that wants it, for people */
  readonly act: string
  readonly principal: string
  readonly createdAt: Date
  /** metadata files with the signatures so far, each one version above the newest when it was proposed */
  readonly root: Uint8Array | undefined
  readonly targets: { readonly bytes: Uint8Array; readonly trustBundle: Uint8Array } | undefined
  /** rises with each signature taken, so that of two submissions at once none is lost */
  readonly revision: number
}

/** A CA key and its certificate (D1). The deployment's root is one too; it signs issuers' certificates and its own CRL. */
export interface Issuer {
  readonly name: string
  /** 1 for the first key under this name; each rotation makes the next */
  readonly generation: number
  /** lower-case hex SHA-256 of the key's SubjectPublicKeyInfo; names the CRL and keys the lists */
  readonly issuerKeyId: string
  readonly key: KeyReference
  readonly certificate: Uint8Array
  /** certificates above, up to and with the root, DER; empty for the root itself */
  readonly chain: readonly Uint8Array[]
  /** certified by an outside authority, whose root is not the deployment's own */
  readonly external: boolean
  readonly notAfter: Date
  /** `standby`: certified and published before it signs; `retired`: certifies nothing any more, and what it certified stays good */
  readonly state: "standby" | "active" | "retired" | "revoked"
  /** the first publication that has it; of successors alone */
  readonly firstEpoch: number | undefined
  /** where this issuer's numbering starts; random, so that a number says nothing of volume */
  readonly firstNumber: number
  readonly createdAt: Date
}

/** Whether the issuer's key signs in the functions' memory: then its certificate demands timestamps below it (D13). */
export function isWrappedIssuer({ key }: Pick<Issuer, "key">): boolean {
  return isWrapped(key)
}

/** OpenSSL's timestamp code knows no RSASSA-PSS, so RSA signs tokens by PKCS #1 v1.5. */
export type TimestampAlgorithm = "ecdsa-p256-sha256" | "ecdsa-p384-sha384" | "rsa-pkcs1-sha384"

/** One key that signs timestamps, and nothing else, with its certificate below the root (D13). A successor is the next generation. */
export interface TimestampAuthority {
  /** from 1 */
  readonly generation: number
  readonly key: KeyReference
  readonly certificate: Uint8Array
  /** certificates above, up to and with the root, DER */
  readonly chain: readonly Uint8Array[]
  readonly notBefore: Date
  readonly notAfter: Date
  readonly state: "active" | "revoked"
}

export const OCSP_ALGORITHMS = ["ecdsa-p256-sha256", "ecdsa-p384-sha384"] as const
export type OcspAlgorithm = (typeof OCSP_ALGORITHMS)[number]

/**
 * The delegated OCSP responder of one CA key: a key that signs OCSP responses, and nothing else, with its short-lived certificate right below that CA
 * key (D13).
 */
export interface OcspResponder {
  /** name and generation of the CA whose certificates it answers for */
  readonly issuer: string
  readonly issuerGeneration: number
  readonly issuerKeyId: string
  /** DER; names the CA in a CertID */
  readonly issuerCertificate: Uint8Array
  /** of its key, from 1; renewing keeps the key */
  readonly generation: number
  readonly key: KeyReference
  readonly certificate: Uint8Array
  /** days of each of its certificates, but for one that its issuer's end cuts */
  readonly days: number
  readonly notBefore: Date
  readonly notAfter: Date
}

/** An issuer's key before an outside authority has certified it: it signs nothing but its own request. */
export interface PendingIssuer {
  readonly name: string
  readonly generation: number
  readonly issuerKeyId: string
  readonly key: KeyReference
  /** PKCS #10, DER */
  readonly request: Uint8Array
  readonly createdAt: Date
}

/**
 * `ephemeral`: a key and certificate for every signature. `shared`: one for all signatures that one transaction records. `held`: the profile's own
 * (D2, docs/keys.md).
 */
export const KEY_MODES = ["ephemeral", "shared", "held"] as const
export type KeyMode = (typeof KEY_MODES)[number]

/**
 * `own`: signatures are of the scheme `notary.x509`, with a token of the deployment's own authority; `outside:NAME`: with one of that outside authority;
 * `none`: the signing authority vouches for the time
 */
export type TimestampMode = "none" | "own" | `outside:${string}`

/** A timestamp authority (RFC 3161) of somebody else: where it is asked, and what its tokens must lead to. */
export interface OutsideAuthority {
  readonly name: string
  /** http or https; plain http will do, since tokens are signed and answer our own nonce */
  readonly url: string
  /** self-signed, DER */
  readonly roots: readonly Uint8Array[]
  readonly updatedAt: Date
}
export type ProfileAlgorithm = "ecdsa-p256-sha256" | "ecdsa-p384-sha384" | "rsa-pss-sha384"

/** What an act may sign with a second time (R19): all keys and certificates of that signature are of it too, up to a root of its own. */
export const EXTRA_ALGORITHM = "ml-dsa-65" as const
export type ExtraAlgorithm = typeof EXTRA_ALGORITHM
/** What issuers may have. */
export type IssuerAlgorithm = ProfileAlgorithm | ExtraAlgorithm

/** A named signing policy (D1): who may sign what, with which issuer and key. */
export interface Profile {
  readonly name: string
  readonly issuer: string
  readonly keyMode: KeyMode
  readonly algorithm: ProfileAlgorithm
  /** name of the issuer of the extra signatures, under `EXTRA_ALGORITHM`; undefined: none are made */
  readonly extraIssuer: string | undefined
  /** who may sign: `arn:aws:iam::{account}:role/{name}` or `…:user/{name}` */
  readonly principals: readonly string[]
  /** `registry/repository`, or `registry/path/*` for everything below */
  readonly repositories: readonly string[]
  /** seconds from signing to the signature's own expiry (R7); undefined: none unless the request asks */
  readonly expirySec: number | undefined
  /** seconds of an ephemeral leaf's validity */
  readonly leafLifetimeSec: number
  /** whether the allow list must name an artifact (opt-in; R25) */
  readonly allowList: boolean
  readonly timestamp: TimestampMode
  readonly state: "active" | "suspended" | "revoked"
  /** rises with every change; a lease is bound to it, so that an acknowledged change binds (D3) */
  readonly generation: number
  readonly held: HeldKey | undefined
  /** what it signed with before its rotations; those signatures stay good */
  readonly former: FormerAuthority
  /** the generation that the last rotation replaced; undefined: never rotated */
  readonly rotatedFrom: number | undefined
  readonly createdAt: Date
  readonly updatedAt: Date
}

/** The profile's own key and its shared certificate (mode `held`). */
export interface HeldKey {
  readonly key: KeyReference
  readonly certificate: Uint8Array
  /** of the issuer that certified it: its numbers are used, also after it was retired */
  readonly issuerGeneration: number
}

export interface FormerAuthority {
  /** names of issuers */
  readonly issuers: readonly string[]
  /** certificates of held keys, each with the key id of its issuer */
  readonly certificates: readonly { readonly certificate: Uint8Array; readonly issuerKeyId: string }[]
}

/** A block of an issuer's numbers, given to one signer for a short time (D3): the durable intent to sign. */
export interface Lease {
  readonly issuerKeyId: string
  readonly profile: string
  readonly generation: number
  readonly first: number
  readonly size: number
  /** goes into every serial of the block; stored before the first use */
  readonly nonce: Uint8Array
  readonly openedAt: Date
  readonly expiresAt: Date
  readonly state: "open" | "closed"
  /** the numbers that have a record, and the record's id; every other number of a closed lease is void */
  readonly used: ReadonlyMap<number, string>
}

/** The extra signature of an act has a format of its own, so that who wants the one that stock clients take finds it by name. */
export type EnvelopeFormat = "notary-jws" | "notary-jws-ml-dsa-65"

export function envelopeFormat(scheme: SignatureScheme): EnvelopeFormat {
  return scheme === EXTRA_ALGORITHM ? "notary-jws-ml-dsa-65" : "notary-jws"
}

export interface Envelope {
  readonly format: EnvelopeFormat
  readonly mediaType: string
  readonly bytes: Uint8Array
}

/** Which certificate and number the extra signature of an act has, in its own issuer's numbering (D2, D3). */
export interface ExtraSignature {
  readonly issuer: string
  readonly issuerKeyId: string
  readonly number: number
  readonly leaseFirst: number
  /** serial of its leaf, lower-case hex */
  readonly serialHex: string
}

/** The durable entry of one signature (D1, D4). */
export interface SignatureRecord {
  /** ULID */
  readonly id: string
  readonly profile: string
  readonly issuer: string
  readonly issuerKeyId: string
  /** the issuer's key signed in the functions' memory */
  readonly wrapped: boolean
  readonly number: number
  readonly leaseFirst: number
  /** serial of the leaf, lower-case hex */
  readonly serialHex: string
  readonly keyMode: KeyMode
  readonly subject: Descriptor
  readonly reference: string
  readonly principal: string
  readonly signedAt: Date
  readonly expiresAt: Date | undefined
  readonly certificateNotAfter: Date
  /** the extra signature's, if there is one, is the second */
  readonly envelopes: readonly Envelope[]
  readonly extra?: ExtraSignature | undefined
  /** lower-case hex SHA-256 of the whole request, as the idempotency key binds it */
  readonly requestDigest: string
}

/**
 * A signature that was made with a key of one's own and registered afterwards, so that its certificate can be revoked here as one of ours can.
 * Nobody numbers it: lists name it by its certificate's issuer and serial.
 */
export interface ForeignSignature {
  /** `fs-` and 32 hex digits of the SHA-256 of its envelope: the same envelope is the same entry */
  readonly id: string
  readonly profile: string
  /** lower-case hex SHA-256 of the SubjectPublicKeyInfo that certified the leaf; of the leaf's own key where it signs itself */
  readonly issuerKeyId: string
  /** serial of the leaf, lower-case hex */
  readonly serialHex: string
  /** lower-case hex SHA-256 of the leaf, DER */
  readonly thumbprint: string
  readonly subject: Descriptor
  readonly reference: string
  readonly principal: string
  /** the signer's own claim, unless an authority vouches for it */
  readonly signedAt: Date
  readonly certificateNotAfter: Date
  readonly recordedAt: Date
  readonly envelope: Envelope
}

/** CRLReason of RFC 5280 §5.3.1, without the two that make no sense here (removeFromCRL, aACompromise). */
export const CRL_REASONS = [
  "unspecified",
  "keyCompromise",
  "cACompromise",
  "affiliationChanged",
  "superseded",
  "cessationOfOperation",
  "certificateHold",
  "privilegeWithdrawn",
] as const
export type CrlReason = (typeof CRL_REASONS)[number]

export type RevocationTarget =
  | {
      readonly kind: "signature"
      readonly signature: string
      readonly issuerKeyId: string
      readonly number: number
      /** serial of the signature's own leaf; undefined under a held key, whose certificate is shared */
      readonly serialHex: string | undefined
      readonly extra?: Pick<ExtraSignature, "issuerKeyId" | "number"> & { readonly serialHex: string | undefined }
    }
  | { readonly kind: "artifact"; readonly digest: string }
  | {
      readonly kind: "certificate"
      readonly thumbprint: string
      readonly issuerKeyId: string
      readonly serialHex: string
      /** the certificate of the same act's extra signature */
      readonly extra?: { readonly thumbprint: string; readonly issuerKeyId: string; readonly serialHex: string }
    }
  | {
      readonly kind: "issuer"
      readonly issuer: string
      readonly issuerKeyId: string
      /** our verifier spares what a timestamp authority had seen before; undefined: nothing is spared */
      readonly from: Date | undefined
    }
  | { readonly kind: "profile"; readonly profile: string; readonly from: Date }
  | { readonly kind: "principal"; readonly principal: string; readonly from: Date; readonly until: Date | undefined }

/** One durable revocation. Monotone: `effectiveAt` only moves earlier; only a hold is released (D4, I7). */
export interface Revocation {
  /** `rev-` and 32 hex digits of the target's digest: the same target is the same revocation */
  readonly id: string
  readonly target: RevocationTarget
  readonly reason: CrlReason
  readonly comment: string
  readonly principal: string
  readonly acknowledgedAt: Date
  readonly effectiveAt: Date
  /** every published epoch from this one on holds it as it stands */
  readonly epoch: number
  /** every published epoch from this one on holds it in some form */
  readonly firstEpoch: number
  readonly released: boolean
}

/** Who did or tried what, with which outcome (R12). */
export interface AuditEntry {
  readonly at: Date
  readonly id: string
  readonly principal: string
  readonly action: string
  readonly target: string
  readonly outcome: "done" | "refused"
  readonly code: string | undefined
  readonly requestId: string
  /** ids of the uses of keys that the act made, as the keys' home notes them */
  readonly uses: readonly string[]
}

/** One explicit entry of a profile's allow list (R25). */
export interface Allowance {
  readonly profile: string
  /** `registry/repository` */
  readonly scope: string
  readonly digest: string
}

/** The newest CRL of an authority outside, above an issuer of ours. */
export interface OutsideCrl {
  /** of the authority's key: lower-case hex SHA-256 */
  readonly issuerKeyId: string
  /** the certificate under which the list was checked, DER */
  readonly authority: Uint8Array
  /** DER */
  readonly crl: Uint8Array
  readonly crlNumber: bigint
  readonly thisUpdate: Date
  readonly nextUpdate: Date
  /** from whose publication on it is shown */
  readonly epoch: number
}
