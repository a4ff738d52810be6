import type { SignatureScheme } from "@sealwright/formats/algorithms"
import { hexEncode } from "@sealwright/formats/bytes"
import { assembleCsr, csrInfo } from "@sealwright/formats/csr"
import { parseCertificate } from "@sealwright/formats/x509"
import {
  assembleCertificate,
  distinguishedName,
  issuingCaRequestExtensions,
  issuingCaTbs,
  leafTbsWriter,
  type OwnLeafFields,
  ocspResponderTbs,
  rootTbs,
  timestampAuthorityTbs,
} from "@sealwright/formats/x509-write"
import { type Deployment, EXTRA_ALGORITHM, type Issuer, isWrappedIssuer, type Profile } from "../model.ts"
import type { Digest, KeyReference, NoteUse, RandomBytes, SigningKeys } from "../ports.ts"
import { refuseOutliving } from "./issuer-chain.ts"

export interface CertifyPorts {
  readonly keys: SigningKeys
  readonly digest: Digest
  readonly random: RandomBytes
}

/** Names that a deployment gives to all its certificates. */
export type Names = Pick<Deployment, "country" | "state" | "organisation" | "identityHost" | "crlHost">

const SERIAL_BYTES = 16

/** Key identifier of RFC 7093 §2 (1): the leftmost 160 bits of SHA-256 over the key. Lower-case hex names an issuer by the whole. */
export function issuerKeyId(digest: Digest, spki: Uint8Array): string {
  return hexEncode(digest("sha256", spki))
}

export function keyIdentifier(digest: Digest, spki: Uint8Array): Uint8Array {
  return digest("sha256", spki).subarray(0, 20)
}

/** What names the issuer's key in all that it signs: its certificate's own identifier, since an outside authority may have made it its own way. */
export function authorityKeyId(digest: Digest, issuer: Pick<Issuer, "certificate" | "key">): Uint8Array {
  return parseCertificate(issuer.certificate).subjectKeyIdentifier ?? keyIdentifier(digest, issuer.key.spki)
}

/** Where a certificate of this issuer tells clients to look for its CRL: plain http, since stock clients fetch no other (D7). */
export function crlUrl(crlHost: string, issuingKeyId: string): string {
  return `http://${crlHost}/crl/${issuingKeyId}.crl`
}

/** The URL in both Fulcio issuer extensions. */
export function identityIssuerUrl(identityHost: string): string {
  return `https://${identityHost}`
}

export function subjectName(names: Names, commonName: string): Uint8Array {
  return distinguishedName({
    country: names.country,
    stateOrProvince: names.state,
    organization: names.organisation,
    commonName,
  })
}

/** Name of an issuing CA. No profile can have it, since a slug has no blanks: a chain in which two certificates share a name is no chain. */
export function issuerSubject(names: Names, issuer: string, generation: number): Uint8Array {
  return subjectName(names, `${issuer} issuing CA${generation === 1 ? "" : ` ${generation}`}`)
}

/** A positive random serial for certificates that have no number: roots, issuers, held keys. First byte 0x02..0x7f, never a leaf's 0x01. */
export function randomSerial(random: RandomBytes): Uint8Array {
  const serial = random(SERIAL_BYTES)
  serial[0] = 0x40 | ((serial[0] as number) & 0x3f)
  return serial
}

export async function certifyRoot(
  ports: CertifyPorts,
  key: KeyReference,
  names: Names,
  notBefore: Date,
  notAfter: Date,
  generation = 1,
): Promise<Uint8Array> {
  const subject = subjectName(names, rootCommonName(names, key.scheme, generation))
  return await selfSign(ports, key, subject, notBefore, notAfter)
}

/** The self-signed certificate of a root. @param subject Name, DER */
export async function selfSign(
  ports: CertifyPorts,
  key: KeyReference,
  subject: Uint8Array,
  notBefore: Date,
  notAfter: Date,
): Promise<Uint8Array> {
  const tbs = rootTbs({
    serial: randomSerial(ports.random),
    scheme: key.scheme,
    notBefore,
    notAfter,
    subject,
    spki: key.spki,
    subjectKeyId: keyIdentifier(ports.digest, key.spki),
  })
  return assembleCertificate(tbs, key.scheme, await ports.keys.sign(key, tbs))
}

/** Roots of one deployment differ in name: clients look an issuer up by it. 64 characters at most (RFC 5280, ub-common-name), since an organisation has 46. */
function rootCommonName({ organisation }: Names, scheme: SignatureScheme, generation: number): string {
  const kind = scheme === EXTRA_ALGORITHM ? "ML-DSA root" : "signing root"
  return `${organisation} ${kind}${generation === 1 ? "" : ` ${generation}`}`
}

/** Without proof that anyone has the key: that of a wrapped one comes with the ciphertext, from the key service itself. */
export async function certifyIssuer(
  ports: CertifyPorts,
  root: Issuer,
  key: KeyReference,
  names: Names,
  name: string,
  notBefore: Date,
  notAfter: Date,
  generation = 1,
): Promise<Uint8Array> {
  const subject = issuerSubject(names, name, generation)
  const timestampRequired = isWrappedIssuer({ key })
  const { crlHost } = names
  return await certifyIssuingCa(ports, root, {
    subject,
    spki: key.spki,
    notBefore,
    notAfter,
    crlHost,
    timestampRequired,
  })
}

/** A root and its key, wherever it is kept. */
export type CertifyingRoot = Pick<Issuer, "certificate" | "key" | "issuerKeyId" | "notAfter">

export interface IssuingCaRequest {
  /** Name, DER */
  readonly subject: Uint8Array
  /** SubjectPublicKeyInfo, DER */
  readonly spki: Uint8Array
  readonly notBefore: Date
  readonly notAfter: Date
  /** where the root's CRL is published */
  readonly crlHost: string
  /** what its key signs counts with a timestamp alone */
  readonly timestampRequired: boolean
}

/** The certificate of an issuing CA below a root: path length 0, for code signing. @throws ServiceError ISSUER_OUTLIVES_CA */
export async function certifyIssuingCa(
  ports: CertifyPorts,
  root: CertifyingRoot,
  { subject, spki, notBefore, notAfter, crlHost, timestampRequired }: IssuingCaRequest,
): Promise<Uint8Array> {
  refuseOutliving(notAfter, root.notAfter, "the issuer")
  const tbs = issuingCaTbs({
    serial: randomSerial(ports.random),
    scheme: root.key.scheme,
    issuer: parseCertificate(root.certificate).subject.der,
    notBefore,
    notAfter,
    subject,
    spki,
    subjectKeyId: keyIdentifier(ports.digest, spki),
    authorityKeyId: authorityKeyId(ports.digest, root),
    pathLength: 0,
    crlUrl: crlUrl(crlHost, root.issuerKeyId),
    timestampRequired,
  })
  return assembleCertificate(tbs, root.key.scheme, await ports.keys.sign(root.key, tbs))
}

/** The certificate of a timestamp authority: directly below the root, so that no issuer's key can make one. */
export async function certifyTimestampAuthority(
  ports: CertifyPorts,
  root: Issuer,
  key: KeyReference,
  names: Names,
  notBefore: Date,
  notAfter: Date,
): Promise<Uint8Array> {
  const tbs = timestampAuthorityTbs({
    serial: randomSerial(ports.random),
    scheme: root.key.scheme,
    issuer: parseCertificate(root.certificate).subject.der,
    notBefore,
    notAfter,
    subject: subjectName(names, `${names.organisation} timestamps`),
    spki: key.spki,
    subjectKeyId: keyIdentifier(ports.digest, key.spki),
    authorityKeyId: keyIdentifier(ports.digest, root.key.spki),
    crlUrl: crlUrl(names.crlHost, root.issuerKeyId),
  })
  return assembleCertificate(tbs, root.key.scheme, await ports.keys.sign(root.key, tbs))
}

/** The certificate of an issuer's delegated OCSP responder, by that issuer's own key: RFC 6960 §4.2.2.2 takes no other. */
export async function certifyOcspResponder(
  ports: CertifyPorts,
  issuer: Issuer,
  key: KeyReference,
  names: Names,
  notBefore: Date,
  notAfter: Date,
): Promise<Uint8Array> {
  const tbs = ocspResponderTbs({
    serial: randomSerial(ports.random),
    scheme: issuer.key.scheme,
    issuer: parseCertificate(issuer.certificate).subject.der,
    notBefore,
    notAfter,
    subject: subjectName(names, `${issuer.name} OCSP responder`),
    spki: key.spki,
    subjectKeyId: keyIdentifier(ports.digest, key.spki),
    authorityKeyId: authorityKeyId(ports.digest, issuer),
  })
  return assembleCertificate(tbs, issuer.key.scheme, await ports.keys.sign(issuer.key, tbs))
}

/** What asks an outside authority for the certificate of an issuing CA: PKCS #10, DER, signed by the key itself. */
export async function requestCertificate(
  ports: Pick<CertifyPorts, "keys" | "digest">,
  key: KeyReference,
  names: Names,
  name: string,
  generation: number,
): Promise<Uint8Array> {
  const extensions = issuingCaRequestExtensions(keyIdentifier(ports.digest, key.spki), 0)
  const info = csrInfo({ subject: issuerSubject(names, name, generation), spki: key.spki, extensions })
  return assembleCsr(info, key.scheme, await ports.keys.sign(key, info))
}

/** What differs between the leaves of one profile. */
export type Leaf = Pick<OwnLeafFields, "spki" | "notBefore" | "notAfter"> & { readonly serial: Uint8Array }

/** Certifies the leaves of one profile under one issuer: one for each signature (serial from its number), or a held key's (random serial). */
export function leafCertifier(
  { digest, keys }: Pick<CertifyPorts, "keys" | "digest">,
  issuer: Issuer,
  names: Names,
  profile: Profile["name"],
): (leaf: Leaf, note?: NoteUse) => Promise<Uint8Array> {
  const { scheme } = issuer.key
  const tbsOf = leafTbsWriter({
    scheme,
    issuer: parseCertificate(issuer.certificate).subject.der,
    subject: subjectName(names, profile),
    authorityKeyId: authorityKeyId(digest, issuer),
    email: `${profile}@${names.identityHost}`,
    issuerUrl: identityIssuerUrl(names.identityHost),
    crlUrl: crlUrl(names.crlHost, issuer.issuerKeyId),
  })
  return async (leaf, note) => {
    refuseOutliving(leaf.notAfter, issuer.notAfter, `a certificate of profile ${profile}`)
    const tbs = tbsOf({ ...leaf, subjectKeyId: keyIdentifier(digest, leaf.spki) })
    return assembleCertificate(tbs, scheme, await keys.sign(issuer.key, tbs, note))
  }
}
