import { hexEncode } from "@sealwright/formats/bytes"
import { parseCertificate } from "@sealwright/formats/x509"
import {
  assembleCertificate,
  distinguishedName,
  issuingCaTbs,
  leafTbsWriter,
  type OwnLeafFields,
  rootTbs,
} from "@sealwright/formats/x509-write"
import type { Deployment, Issuer, Profile } from "../model.ts"
import type { Digest, KeyReference, RandomBytes, SigningKeys } from "../ports.ts"

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
): Promise<Uint8Array> {
  const tbs = rootTbs({
    serial: randomSerial(ports.random),
    scheme: key.scheme,
    notBefore,
    notAfter,
    subject: subjectName(names, `${names.organisation} signing root`),
    spki: key.spki,
    subjectKeyId: keyIdentifier(ports.digest, key.spki),
  })
  return assembleCertificate(tbs, key.scheme, await ports.keys.sign(key, tbs))
}

export async function certifyIssuer(
  ports: CertifyPorts,
  root: Issuer,
  key: KeyReference,
  names: Names,
  name: string,
  notBefore: Date,
  notAfter: Date,
): Promise<Uint8Array> {
  const tbs = issuingCaTbs({
    serial: randomSerial(ports.random),
    scheme: root.key.scheme,
    issuer: parseCertificate(root.certificate).subject.der,
    notBefore,
    notAfter,
    subject: subjectName(names, name),
    spki: key.spki,
    subjectKeyId: keyIdentifier(ports.digest, key.spki),
    authorityKeyId: keyIdentifier(ports.digest, root.key.spki),
    pathLength: 0,
    crlUrl: crlUrl(names.crlHost, root.issuerKeyId),
  })
  return assembleCertificate(tbs, root.key.scheme, await ports.keys.sign(root.key, tbs))
}

/** What differs between the leaves of one profile. */
export type Leaf = Pick<OwnLeafFields, "spki" | "notBefore" | "notAfter"> & { readonly serial: Uint8Array }

/** Certifies the leaves of one profile under one issuer: one for each signature (serial from its number), or a held key's (random serial). */
export function leafCertifier(
  { digest, keys }: Pick<CertifyPorts, "keys" | "digest">,
  issuer: Issuer,
  names: Names,
  profile: Profile["name"],
): (leaf: Leaf) => Promise<Uint8Array> {
  const { scheme, spki } = issuer.key
  const tbsOf = leafTbsWriter({
    scheme,
    issuer: parseCertificate(issuer.certificate).subject.der,
    subject: subjectName(names, profile),
    authorityKeyId: keyIdentifier(digest, spki),
    email: `${profile}@${names.identityHost}`,
    issuerUrl: identityIssuerUrl(names.identityHost),
    crlUrl: crlUrl(names.crlHost, issuer.issuerKeyId),
  })
  return async (leaf) => {
    const tbs = tbsOf({ ...leaf, subjectKeyId: keyIdentifier(digest, leaf.spki) })
    return assembleCertificate(tbs, scheme, await keys.sign(issuer.key, tbs))
  }
}
