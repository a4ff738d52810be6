import { createHash } from "node:crypto"
import type { HashName, SignatureScheme } from "@sealwright/formats/algorithms"
import { schemeRow } from "@sealwright/formats/algorithms"
import { assembleToken, signedAttributes } from "@sealwright/formats/cms"
import {
  parseTimestampRequest,
  type TimestampRequest,
  type TstInfoFields,
  timestampRequest,
  tstInfo,
} from "@sealwright/formats/timestamp"
import { parseCertificate } from "@sealwright/formats/x509"
import { assembleCertificate, subjectKeyIdentifier, timestampAuthorityTbs } from "@sealwright/formats/x509-write"
import { at, makeSigner, NOT_BEFORE, NOW, nameOf, type Signer, type TestIssuer } from "./chains.ts"

export const POLICY = "1.2.3.4.1"

export function hashOf(hash: HashName, bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash(hash).update(bytes).digest())
}

/** A timestamp authority below the root of a test chain, or below its issuer where it must not stand. */
export interface TestAuthority {
  readonly signer: Signer
  readonly certificate: Uint8Array
  readonly root: Uint8Array
}

export function makeAuthority(
  issuer: TestIssuer,
  scheme: SignatureScheme,
  options: { readonly below?: "root" | "issuer"; readonly notAfter?: Date } = {},
): TestAuthority {
  const signer = makeSigner(scheme)
  const by =
    options.below === "issuer"
      ? { signer: issuer.issuingSigner, name: "Test Issuer" }
      : { signer: issuer.rootSigner, name: "Test Root" }
  const tbs = timestampAuthorityTbs({
    serial: 99n,
    scheme: by.signer.scheme,
    issuer: nameOf(by.name),
    notBefore: NOT_BEFORE,
    notAfter: options.notAfter ?? at("2027-01-01T00:00:00Z"),
    subject: nameOf("Test Timestamps"),
    spki: signer.spki,
    subjectKeyId: subjectKeyIdentifier(signer.keyId),
    authorityKeyId: subjectKeyIdentifier(by.signer.keyId),
    crlUrl: "http://crl.example.test/root.crl",
  })
  return {
    signer,
    certificate: assembleCertificate(tbs, by.signer.scheme, by.signer.sign(tbs)),
    root: issuer.root,
  }
}

export interface TokenOptions {
  readonly hash?: HashName
  readonly genTime?: Date
  readonly certificates?: readonly Uint8Array[]
  /** digest of another certificate, as a swap would leave it */
  readonly certificateSha256?: Uint8Array
  readonly info?: Partial<TstInfoFields>
  /** changes what is signed after its digest was taken */
  readonly content?: (info: Uint8Array) => Uint8Array
}

/** A token over `stamped`, as the service makes one. */
export function makeToken(authority: TestAuthority, stamped: Uint8Array, options: TokenOptions = {}): Uint8Array {
  const hash = options.hash ?? "sha256"
  const request = timestampRequest({ hash, digest: hashOf(hash, stamped), certReq: true })
  return answerTo(authority, parseTimestampRequest(request), options)
}

/** What the authority answers to a request at that time. */
export function tokenFor(authority: TestAuthority, request: TimestampRequest, genTime: Date): Uint8Array {
  return answerTo(authority, request, { genTime, info: { nonce: request.nonce } })
}

function answerTo(authority: TestAuthority, { imprint }: TimestampRequest, options: TokenOptions): Uint8Array {
  const { signer, certificate } = authority
  const genTime = options.genTime ?? NOW
  const info = tstInfo({
    policy: POLICY,
    imprint: imprint.der,
    serial: Uint8Array.of(1, 2, 3, 4),
    genTime,
    accuracySec: 1,
    nonce: undefined,
    ...options.info,
  })
  const own = schemeRow(signer.scheme).hash ?? "sha256"
  const attributes = signedAttributes({
    messageDigest: hashOf(own, info),
    certificateSha256: options.certificateSha256 ?? hashOf("sha256", certificate),
    signingTime: genTime,
  })
  return assembleToken({
    tstInfo: options.content?.(info) ?? info,
    signedAttributes: attributes,
    scheme: signer.scheme,
    signature: signer.sign(attributes),
    signer: parseCertificate(certificate),
    certificates: options.certificates ?? [certificate, authority.root],
  })
}
