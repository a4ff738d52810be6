import { utf8 } from "@sealwright/formats/bytes"
import { assembleCsr, csrInfo } from "@sealwright/formats/csr"
import { DerReader, explicitTag, TAG } from "@sealwright/formats/der"
import { implicit, sequence } from "@sealwright/formats/der-write"
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
