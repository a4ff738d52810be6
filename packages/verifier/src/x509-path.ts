import { bytesEqual } from "@sealwright/formats/bytes"
import type { Certificate } from "@sealwright/formats/x509"
import { KEY_PURPOSE, KEY_USAGE } from "@sealwright/formats/x509-extensions"
import { ChainCache } from "./chain-cache.ts"
import type { Step } from "./requests.ts"

export const MAX_PATH = 6

/** What is wrong with a chain, in words of RFC 5280 §6. One code, one cause. */
export const CHAIN_CODES = {
  CHAIN_LENGTH: "the chain is empty or has more than 6 certificates",
  CHAIN_NOT_TRUSTED: "no certificate of the chain is in the trust store",
  CHAIN_NAME_MISMATCH: "a certificate's issuer is not the subject of the next, or the last is not its own issuer",
  CHAIN_KEY_ID_MISMATCH: "a certificate's authority key identifier is not the subject key identifier of the next",
  CHAIN_ALGORITHM: "a key or signature algorithm is unknown or too weak",
  CHAIN_MIXED: "ML-DSA stands beside another algorithm in one chain, which would be as weak as the other",
  CHAIN_EXTENSION_UNKNOWN: "a critical extension is unknown, or an extension constrains names or policies",
  CHAIN_CA_INVALID: "an issuing certificate is not a CA certificate (basicConstraints)",
  CHAIN_LEAF_INVALID: "the signing certificate is a CA certificate",
  CHAIN_PATH_LENGTH: "more CA certificates than a path length constraint allows",
  CHAIN_KEY_USAGE: "keyUsage is missing, not critical or not fit for the certificate's place",
  CHAIN_KEY_PURPOSE: "extKeyUsage does not allow the use: to sign code, or timestamps and nothing else",
  CHAIN_NOT_YET_VALID: "a certificate is not valid yet at the time that counts",
  CHAIN_EXPIRED: "a certificate has expired at the time that counts",
  CHAIN_SIGNATURE_INVALID: "a certificate was not signed by the next, or the last not by itself",
} as const

export type ChainCode = keyof typeof CHAIN_CODES

/** `at`: position in the chain, 0 is the leaf. `anchor`: position of the certificate that is trusted. */
export type PathResult =
  | { readonly ok: true; readonly anchor: number }
  | { readonly ok: false; readonly code: ChainCode; readonly at: number }

/** A timestamp authority's certificate says so by a critical extKeyUsage, and serves nothing else (RFC 3161 §2.3). */
export type Use = "code" | "timestamps"

export interface PathOptions {
  /** trusted certificates, DER: roots, intermediates or a signer's own */
  readonly trusted: readonly Uint8Array[]
  /** the time at which every certificate must be valid */
  readonly time: Date
  /** the end of the time in which every certificate must be valid; default: `time` */
  readonly until?: Date
  /** what the first certificate is used for; default: to sign code */
  readonly use?: Use
  /** kept by the caller across calls; without it every signature is checked each time */
  readonly cache?: ChainCache
}

/**
 * Checks an ordered chain, leaf first and self-signed root last, by one fixed profile: RFC 5280 §6.1 without name and policy constraints, with
 * Notary's rules for signing certificates. All certificates are checked, also above the trusted one; only a trusted root is not asked for its
 * signature over itself, as every byte of it was given by the deployer (RFC 5280 §6.1). The order of checks is: shape and trust, each certificate
 * on its own, times, signatures.
 */
export function verifyPath(chain: readonly Certificate[], options: PathOptions): Step<PathResult> {
  return walk(chain, 0, options)
}

/** As `verifyPath`, for a chain that begins with an issuing CA: what it will certify comes below it and is not there yet. */
export function verifyCaPath(chain: readonly Certificate[], options: PathOptions): Step<PathResult> {
  return walk(chain, 1, options)
}

/** @param below how many certificates stand below the first of the chain */
function* walk(chain: readonly Certificate[], below: 0 | 1, options: PathOptions): Step<PathResult> {
  if (chain.length === 0 || chain.length + below > MAX_PATH) return { ok: false, code: "CHAIN_LENGTH", at: 0 }
  const anchor = chain.findIndex((certificate) =>
    options.trusted.some((trusted) => bytesEqual(trusted, certificate.der)),
  )
  if (anchor < 0) return { ok: false, code: "CHAIN_NOT_TRUSTED", at: chain.length - 1 }
  const use = options.use ?? "code"
  const mixed = chain.some(isMlDsa) ? chain.findIndex((certificate) => !isMlDsa(certificate)) : -1
  if (mixed >= 0) return { ok: false, code: "CHAIN_MIXED", at: mixed }
  for (const [at, certificate] of chain.entries()) {
    const code =
      linkFault(chain, at, certificate) ??
      strengthFault(certificate) ??
      extensionFault(certificate) ??
      (at + below === 0 ? leafFault(certificate, use) : caFault(certificate, at + below, use))
    if (code !== undefined) return { ok: false, code, at }
  }
  const time = options.time.getTime()
  const until = options.until?.getTime() ?? time
  for (const [at, { notBefore, notAfter }] of chain.entries()) {
    if (time < notBefore.getTime()) return { ok: false, code: "CHAIN_NOT_YET_VALID", at }
    // notAfter is the last second that counts (RFC 5280 §4.1.2.5), whole.
    if (until >= notAfter.getTime() + 1000) return { ok: false, code: "CHAIN_EXPIRED", at }
  }
  const cache = options.cache ?? new ChainCache()
  for (const [at, certificate] of chain.entries()) {
    if (at === anchor && at === chain.length - 1) break
    if (!(yield* cache.signedBy(certificate, chain[at + 1] ?? certificate)))
      return { ok: false, code: "CHAIN_SIGNATURE_INVALID", at }
  }
  return { ok: true, anchor }
}

/** Names are equal when their bytes are; only the last certificate is its own issuer. */
function linkFault(chain: readonly Certificate[], at: number, certificate: Certificate): ChainCode | undefined {
  const last = at === chain.length - 1
  const issuer = chain[at + 1] ?? certificate
  if (!bytesEqual(certificate.issuer.der, issuer.subject.der)) return "CHAIN_NAME_MISMATCH"
  if (!last && bytesEqual(certificate.issuer.der, certificate.subject.der)) return "CHAIN_NAME_MISMATCH"
  const wanted = certificate.authorityKeyIdentifier
  const keyId = issuer.subjectKeyIdentifier
  if (wanted?.keyIdentifier !== undefined && keyId !== undefined && !bytesEqual(wanted.keyIdentifier, keyId))
    return "CHAIN_KEY_ID_MISMATCH"
  if (wanted?.serialBytes !== undefined && !bytesEqual(wanted.serialBytes, issuer.serialBytes))
    return "CHAIN_KEY_ID_MISMATCH"
  return undefined
}

/** Whose key is ML-DSA, and which such a key signed. */
function isMlDsa({ key, signatureScheme }: Certificate): boolean {
  return key.type === "ml-dsa-65" && signatureScheme === "ml-dsa-65"
}

function strengthFault({ key, signatureScheme }: Certificate): ChainCode | undefined {
  if (signatureScheme === undefined || key.type === "other") return "CHAIN_ALGORITHM"
  if (key.type === "rsa" && (key.modulusBits < 2048 || key.modulusBits > 8192)) return "CHAIN_ALGORITHM"
  return undefined
}

/** nameConstraints, policyMappings, policyConstraints, inhibitAnyPolicy: this profile does not interpret them, so it lets none pass. */
const CONSTRAINTS = ["2.5.29.30", "2.5.29.33", "2.5.29.36", "2.5.29.54"]

function extensionFault(certificate: Certificate): ChainCode | undefined {
  if (certificate.unknownCritical.length > 0) return "CHAIN_EXTENSION_UNKNOWN"
  return CONSTRAINTS.some((oid) => certificate.extensions.has(oid)) ? "CHAIN_EXTENSION_UNKNOWN" : undefined
}

/** The purposes of a CA hold for all below it: a CA for code never has a timestamp authority beneath. */
function caFault(certificate: Certificate, at: number, use: Use): ChainCode | undefined {
  const { basicConstraints, keyUsage, extKeyUsage } = certificate
  if (basicConstraints?.ca !== true || !critical(certificate, "2.5.29.19")) return "CHAIN_CA_INVALID"
  // CA certificates below this one, self-issued ones counted too: `at` less the leaf.
  if (basicConstraints.pathLength !== undefined && at - 1 > basicConstraints.pathLength) return "CHAIN_PATH_LENGTH"
  if (!critical(certificate, "2.5.29.15") || !has(keyUsage, KEY_USAGE.keyCertSign)) return "CHAIN_KEY_USAGE"
  if (extKeyUsage !== undefined && !extKeyUsage.some((oid) => oid === PURPOSES[use] || oid === KEY_PURPOSE.any))
    return "CHAIN_KEY_PURPOSE"
  return undefined
}

const PURPOSES = { code: KEY_PURPOSE.codeSigning, timestamps: KEY_PURPOSE.timeStamping } as const

const LEAF_FORBIDDEN = [
  KEY_USAGE.keyEncipherment,
  KEY_USAGE.dataEncipherment,
  KEY_USAGE.keyAgreement,
  KEY_USAGE.keyCertSign,
  KEY_USAGE.cRLSign,
  KEY_USAGE.encipherOnly,
  KEY_USAGE.decipherOnly,
]

const LEAF_FORBIDDEN_PURPOSES: ReadonlySet<string> = new Set([
  KEY_PURPOSE.any,
  KEY_PURPOSE.serverAuth,
  KEY_PURPOSE.clientAuth,
  KEY_PURPOSE.emailProtection,
  KEY_PURPOSE.timeStamping,
  KEY_PURPOSE.ocspSigning,
])

function leafFault(certificate: Certificate, use: Use): ChainCode | undefined {
  const { basicConstraints, keyUsage, extKeyUsage } = certificate
  if (basicConstraints?.ca === true) return "CHAIN_LEAF_INVALID"
  if (
    !critical(certificate, "2.5.29.15") ||
    !has(keyUsage, KEY_USAGE.digitalSignature) ||
    LEAF_FORBIDDEN.some((bit) => has(keyUsage, bit))
  )
    return "CHAIN_KEY_USAGE"
  if (use === "timestamps")
    return extKeyUsage?.length === 1 && extKeyUsage[0] === PURPOSES.timestamps && critical(certificate, "2.5.29.37")
      ? undefined
      : "CHAIN_KEY_PURPOSE"
  return extKeyUsage?.some((oid) => LEAF_FORBIDDEN_PURPOSES.has(oid)) ? "CHAIN_KEY_PURPOSE" : undefined
}

function critical(certificate: Certificate, oid: string): boolean {
  return certificate.extensions.get(oid)?.critical === true
}

function has(keyUsage: number | undefined, bit: number): boolean {
  return keyUsage !== undefined && (keyUsage & (1 << bit)) !== 0
}
