import { constants, createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto"
import { HASH_LENGTH, type SignatureScheme, schemeRow } from "@sealwright/formats/algorithms"
import { boolean, integer, namedBits, octetString, oid, sequence } from "@sealwright/formats/der-write"
import { leafSerial, leafSerialInput } from "@sealwright/formats/leaf-serial"
import { assembleEnvelope, type UnsignedEnvelope, unsignedEnvelope } from "@sealwright/formats/notary-jws"
import type { Descriptor } from "@sealwright/formats/oci"
import {
  assembleCertificate,
  authorityKeyIdExtension,
  certificateTbs,
  distinguishedName,
  extension,
  issuingCaTbs,
  leafTbs,
  rootTbs,
  subjectKeyIdentifier,
} from "@sealwright/formats/x509-write"

/** A local key pair with the scheme that it signs under. */
export interface Signer {
  readonly scheme: SignatureScheme
  readonly spki: Uint8Array
  readonly keyId: Uint8Array
  sign(message: Uint8Array): Uint8Array
}

export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash("sha256")
  for (const part of parts) hash.update(part)
  return new Uint8Array(hash.digest())
}

const CURVES: Partial<Record<SignatureScheme, string>> = {
  "ecdsa-p256-sha256": "P-256",
  "ecdsa-p384-sha384": "P-384",
  "ecdsa-p521-sha512": "P-521",
}

/** @param modulusBits of RSA keys */
export function makeSigner(scheme: SignatureScheme, modulusBits = 3072): Signer {
  const curve = CURVES[scheme]
  const pair: { publicKey: KeyObject; privateKey: KeyObject } =
    curve !== undefined
      ? generateKeyPairSync("ec", { namedCurve: curve })
      : scheme === "ed25519"
        ? generateKeyPairSync("ed25519")
        : scheme === "ml-dsa-65"
          ? generateKeyPairSync("ml-dsa-65")
          : generateKeyPairSync("rsa", { modulusLength: modulusBits })
  return signerOf(scheme, pair.publicKey, pair.privateKey)
}

export function signerOf(scheme: SignatureScheme, publicKey: KeyObject, privateKey: KeyObject): Signer {
  const spki = new Uint8Array(publicKey.export({ type: "spki", format: "der" }))
  const { hash, padding: form } = schemeRow(scheme)
  const padding =
    form === "pss" && hash !== undefined
      ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: HASH_LENGTH[hash] }
      : {}
  return {
    scheme,
    spki,
    keyId: sha256(spki),
    sign: (message) => new Uint8Array(sign(hash ?? null, message, { key: privateKey, ...padding })),
  }
}

export function nameOf(commonName: string): Uint8Array {
  return distinguishedName({
    country: "DE",
    stateOrProvince: "Berlin",
    organization: "Wabbit Networks",
    commonName,
  })
}

export function at(text: string): Date {
  return new Date(text)
}

export const NOT_BEFORE = at("2026-01-01T00:00:00Z")
export const NOW = at("2026-06-01T12:00:00Z")
export const CRL_URL = "http://crl.example.test/issuer.crl"

/** One certificate of a test chain: what differs from a good one is given. */
export interface Spec {
  readonly signer: Signer
  readonly commonName: string
  /** Name, DER, in place of the one that `commonName` makes */
  readonly subject?: Uint8Array
  readonly serial?: bigint
  readonly notBefore?: Date
  readonly notAfter?: Date
  readonly basicConstraints?: { readonly ca: boolean; readonly pathLength?: number; readonly critical?: boolean } | null
  readonly keyUsage?: readonly number[] | null
  readonly keyUsageCritical?: boolean
  readonly extKeyUsage?: readonly string[] | null
  readonly authorityKeyId?: Uint8Array
  readonly more?: readonly Uint8Array[]
}

/** A certificate of any shape, signed by `issuer`; `issuer` undefined: self-signed. */
export function certificate(spec: Spec, issuer?: { readonly signer: Signer; readonly commonName: string }): Uint8Array {
  const by = issuer ?? spec
  const extensions: Uint8Array[] = []
  const { basicConstraints, keyUsage, extKeyUsage } = spec
  if (basicConstraints) {
    const fields = [
      ...(basicConstraints.ca ? [boolean(true)] : []),
      ...(basicConstraints.pathLength === undefined ? [] : [integer(BigInt(basicConstraints.pathLength))]),
    ]
    extensions.push(extension("2.5.29.19", basicConstraints.critical ?? true, sequence(...fields)))
  }
  if (keyUsage) extensions.push(extension("2.5.29.15", spec.keyUsageCritical ?? true, namedBits(keyUsage)))
  if (extKeyUsage) extensions.push(extension("2.5.29.37", false, sequence(...extKeyUsage.map(oid))))
  extensions.push(extension("2.5.29.14", false, octetString(subjectKeyIdentifier(spec.signer.keyId))))
  extensions.push(authorityKeyIdExtension(spec.authorityKeyId ?? subjectKeyIdentifier(by.signer.keyId)))
  extensions.push(...(spec.more ?? []))
  const tbs = certificateTbs(
    {
      serial: spec.serial ?? 77n,
      scheme: by.signer.scheme,
      issuer: nameOf(by.commonName),
      notBefore: spec.notBefore ?? NOT_BEFORE,
      notAfter: spec.notAfter ?? at("2036-01-01T00:00:00Z"),
      subject: spec.subject ?? nameOf(spec.commonName),
      spki: spec.signer.spki,
    },
    extensions,
  )
  return assembleCertificate(tbs, by.signer.scheme, by.signer.sign(tbs))
}

/** Root, issuing CA and the means to certify leaves, as the service makes them. */
export interface TestIssuer {
  readonly root: Uint8Array
  readonly rootSigner: Signer
  readonly issuing: Uint8Array
  readonly issuingSigner: Signer
  leaf(options: LeafOptions): Uint8Array
}

export interface LeafOptions {
  readonly signer: Signer
  readonly number: number
  readonly profile?: string
  readonly notBefore?: Date
  readonly notAfter?: Date
}

export const NONCE = sha256(new Uint8Array([1, 2, 3])).subarray(0, 16)

export function serialOf(number: number): Uint8Array {
  return leafSerial(sha256(leafSerialInput(NONCE, number)), number)
}

export function makeIssuer(scheme: SignatureScheme, modulusBits?: number): TestIssuer {
  const rootSigner = makeSigner(scheme, modulusBits)
  const issuingSigner = makeSigner(scheme, modulusBits)
  const notAfter = at("2056-01-01T00:00:00Z")
  const tbsRoot = rootTbs({
    serial: 1n,
    scheme,
    notBefore: NOT_BEFORE,
    notAfter,
    subject: nameOf("Test Root"),
    spki: rootSigner.spki,
    subjectKeyId: subjectKeyIdentifier(rootSigner.keyId),
    pathLength: 1,
  })
  const tbsIssuing = issuingCaTbs({
    serial: 2n,
    scheme,
    issuer: nameOf("Test Root"),
    notBefore: NOT_BEFORE,
    notAfter: at("2036-01-01T00:00:00Z"),
    subject: nameOf("Test Issuer"),
    spki: issuingSigner.spki,
    subjectKeyId: subjectKeyIdentifier(issuingSigner.keyId),
    authorityKeyId: subjectKeyIdentifier(rootSigner.keyId),
    pathLength: 0,
    crlUrl: "http://crl.example.test/root.crl",
  })
  return {
    root: assembleCertificate(tbsRoot, scheme, rootSigner.sign(tbsRoot)),
    rootSigner,
    issuing: assembleCertificate(tbsIssuing, scheme, rootSigner.sign(tbsIssuing)),
    issuingSigner,
    leaf({ signer, number, profile = "web", notBefore, notAfter }) {
      const tbs = leafTbs({
        serial: serialOf(number),
        scheme,
        issuer: nameOf("Test Issuer"),
        notBefore: notBefore ?? at("2026-06-01T11:55:00Z"),
        notAfter: notAfter ?? at("2026-06-01T12:05:00Z"),
        subject: nameOf(profile),
        spki: signer.spki,
        subjectKeyId: subjectKeyIdentifier(signer.keyId),
        authorityKeyId: subjectKeyIdentifier(issuingSigner.keyId),
        email: `${profile}@sign.example.test`,
        issuerUrl: "https://sign.example.test",
        crlUrl: CRL_URL,
      })
      return assembleCertificate(tbs, scheme, issuingSigner.sign(tbs))
    },
  }
}

export const TARGET: Descriptor = {
  mediaType: "application/vnd.oci.image.manifest.v1+json",
  digest: `sha256:${"5a".repeat(32)}`,
  size: 1024,
}

export interface EnvelopeOptions {
  readonly number?: number
  readonly signer?: Signer
  readonly expiry?: Date
  readonly target?: Descriptor
  readonly signingTime?: Date
}

/** A fresh signature by a fresh key, as the service makes one in `ephemeral` mode. */
export function makeEnvelope(issuer: TestIssuer, options: EnvelopeOptions = {}) {
  const signer = options.signer ?? makeSigner(issuer.issuingSigner.scheme)
  const number = options.number ?? 4711
  const leaf = issuer.leaf({ signer, number })
  const unsigned: UnsignedEnvelope = unsignedEnvelope({
    scheme: signer.scheme,
    authenticSigningTime: options.signingTime ?? NOW,
    ...(options.expiry === undefined ? {} : { expiry: options.expiry }),
    target: options.target ?? TARGET,
    sealwright: { issuerKeyId: issuer.issuingSigner.keyId, serial: serialOf(number), number },
  })
  const chain = [leaf, issuer.issuing, issuer.root]
  const bytes = assembleEnvelope(unsigned, signer.sign(unsigned.signingInput), chain, "Sealwright-test/1")
  return { bytes, leaf, chain, signer, unsigned }
}
