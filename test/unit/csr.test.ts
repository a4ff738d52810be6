import { schemeRow } from "@sealwright/formats/algorithms"
import { utf8 } from "@sealwright/formats/bytes"
import { assembleCsr, csrInfo, parseCsr } from "@sealwright/formats/csr"
import { DerReader, explicitTag, TAG } from "@sealwright/formats/der"
import { bitString, explicit, implicit, integer, sequence, set } from "@sealwright/formats/der-write"
import { schemeOf } from "@sealwright/formats/x509"
import { extension } from "@sealwright/formats/x509-write"
import { expect, test } from "vitest"
import { makeSigner, nameOf } from "../support/chains.ts"

const signer = makeSigner("ecdsa-p256-sha256")
const subject = nameOf("release")

test("a request has version 0, its subject, its key and a signature by it", () => {
  const info = csrInfo({ subject, spki: signer.spki, extensions: [] })
  const outer = new DerReader(assembleCsr(info, signer.scheme, signer.sign(info))).enter(TAG.SEQUENCE)
  expect(outer.element(TAG.SEQUENCE)).toEqual(info)
  expect(schemeOf(outer.element(TAG.SEQUENCE))).toBe(signer.scheme)
  expect(outer.wholeBits().length).toBeGreaterThan(60)
  const fields = new DerReader(info).enter(TAG.SEQUENCE)
  expect([fields.integer(), fields.element(), fields.element()]).toEqual([0n, subject, signer.spki])
  // The attributes are there even when there are none (RFC 2986 §4.1).
  expect(fields.content(explicitTag(0))).toHaveLength(0)
})

test("extensions are asked for in one attribute", () => {
  const name = extension("2.5.29.17", false, sequence(implicit(1, utf8("release@sign.example.test"))))
  const info = csrInfo({ subject, spki: signer.spki, extensions: [name] })
  const fields = new DerReader(info).enter(TAG.SEQUENCE)
  for (const _ of ["version", "subject", "key"]) fields.next()
  const attribute = fields.enter(explicitTag(0)).enter(TAG.SEQUENCE)
  expect(attribute.oid()).toBe("1.2.840.113549.1.9.14")
  expect(attribute.enter(TAG.SET).enter(TAG.SEQUENCE).element()).toEqual(name)
  attribute.finish()
})

const asked = extension("2.5.29.17", false, sequence(implicit(1, utf8("release@sign.example.test"))))
const request = (info: Uint8Array) => assembleCsr(info, signer.scheme, signer.sign(info))

test("what is written is read back", () => {
  for (const extensions of [[], [asked]]) {
    const info = csrInfo({ subject, spki: signer.spki, extensions })
    const csr = parseCsr(request(info))
    expect(csr).toMatchObject({ info, spki: signer.spki, signatureScheme: signer.scheme })
    expect([csr.subject.der, csr.extensions]).toEqual([subject, extensions.length === 0 ? undefined : sequence(asked)])
  }
})

test.each([
  ["another version", sequence(integer(1n), subject, signer.spki, explicit(0)), "CERTIFICATE_MALFORMED"],
  [
    "another attribute",
    sequence(
      integer(0n),
      subject,
      signer.spki,
      explicit(0, sequence(schemeRow(signer.scheme).x509.subarray(2), set(asked))),
    ),
    "CERTIFICATE_MALFORMED",
  ],
  ["no attributes field", sequence(integer(0n), subject, signer.spki), "DER_MALFORMED"],
  ["a key that is none", sequence(integer(0n), subject, sequence(bitString(subject)), explicit(0)), "DER_MALFORMED"],
  ["too many bytes", sequence(integer(0n), subject, signer.spki, explicit(0), new Uint8Array(16_384)), "TOO_LARGE"],
])("a request with %s is refused", (_, info, code) => {
  expect(() => parseCsr(request(info))).toThrow(expect.objectContaining({ code }))
})

test("a request cut anywhere, or with more behind it, is refused as DER", () => {
  const whole = request(csrInfo({ subject, spki: signer.spki, extensions: [asked] }))
  for (let end = 0; end < whole.length; end++)
    expect(() => parseCsr(whole.subarray(0, end))).toThrow(expect.objectContaining({ code: "DER_MALFORMED" }))
  expect(() => parseCsr(Uint8Array.of(...whole, 0))).toThrow(expect.objectContaining({ code: "DER_MALFORMED" }))
})
