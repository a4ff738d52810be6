import { certIdDigest } from "@sealwright/adapters/platform"
import { REASON_CODE } from "@sealwright/formats/crl"
import { DerReader, explicitTag, TAG } from "@sealwright/formats/der"
import { sequence } from "@sealwright/formats/der-write"
import { type CertIdHash, ocspRequest, parseOcspRequest, publicKeyBits } from "@sealwright/formats/ocsp"
import { parseCertificate } from "@sealwright/formats/x509"

/** A request for one serial under a CA, DER. */
export function requestFor(
  ca: Uint8Array,
  serial: Uint8Array,
  options: { readonly hash?: CertIdHash; readonly nonce?: Uint8Array } = {},
): Uint8Array {
  const { hash = "sha1", nonce } = options
  const { subject, spki } = parseCertificate(ca)
  return ocspRequest({
    hash,
    issuerNameHash: certIdDigest(hash, subject.der),
    issuerKeyHash: certIdDigest(hash, publicKeyBits(spki)),
    serial,
    ...(nonce && { nonce }),
  })
}

/** One request for what these ask for, without a nonce. */
export function manyRequests(requests: readonly Uint8Array[]): Uint8Array {
  const certIds = requests.flatMap((request) => parseOcspRequest(request).certIds)
  return sequence(sequence(sequence(...certIds.map(({ der }) => sequence(der)))))
}

/** What a response says, read by another code than its writer's; nothing is proven. `code`: OCSPResponseStatus. */
export function readOcspResponse(bytes: Uint8Array) {
  const outer = new DerReader(bytes)
  const fields = outer.enter(TAG.SEQUENCE)
  outer.finish()
  const code = fields.smallInteger(TAG.ENUMERATED)
  if (fields.done) return { code, singles: [] }
  const wrapped = fields.enter(explicitTag(0)).enter(TAG.SEQUENCE)
  fields.finish()
  wrapped.oid()
  const basic = new DerReader(wrapped.octets()).enter(TAG.SEQUENCE)
  const data = basic.element(TAG.SEQUENCE)
  basic.take(TAG.SEQUENCE)
  const signature = basic.wholeBits()
  const certificate = basic.enter(explicitTag(0)).enter(TAG.SEQUENCE).element()
  basic.finish()
  const inner = new DerReader(data).enter(TAG.SEQUENCE)
  const keyHash = inner.enter(explicitTag(2)).octets()
  const producedAt = inner.generalizedTime()
  const list = inner.enter(TAG.SEQUENCE)
  const singles = []
  while (!list.done) singles.push(readSingle(list.enter(TAG.SEQUENCE)))
  const nonce = inner.done ? undefined : readNonce(inner.enter(explicitTag(1)).enter(TAG.SEQUENCE).enter(TAG.SEQUENCE))
  inner.finish()
  return { code, data, signature, certificate, keyHash, producedAt, singles, nonce }
}

function readSingle(single: DerReader) {
  const certId = single.element(TAG.SEQUENCE)
  const status = readStatus(single)
  const thisUpdate = single.generalizedTime()
  const nextUpdate = single.enter(explicitTag(0)).generalizedTime()
  single.finish()
  return { certId, ...status, thisUpdate, nextUpdate }
}

function readStatus(single: DerReader) {
  if (!single.is(explicitTag(1))) {
    const tag = single.next()
    return { status: tag === 0x80 ? "good" : tag === 0x82 ? "unknown" : `tag ${tag}` }
  }
  const info = single.enter(explicitTag(1))
  const revokedAt = info.generalizedTime()
  const code = info.done ? 0 : info.enter(explicitTag(0)).smallInteger(TAG.ENUMERATED)
  const reason = Object.entries(REASON_CODE).find(([, known]) => known === code)?.[0]
  return { status: "revoked", revokedAt, reason }
}

function readNonce(extension: DerReader): Uint8Array {
  extension.oid()
  return new DerReader(extension.octets()).octets()
}
