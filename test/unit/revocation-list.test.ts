import { utf8 } from "@sealwright/formats/bytes"
import { parseRevocationList, type RevocationRule, revocationListJson } from "@sealwright/formats/revocation-list"
import type { JsonValue } from "@sealwright/formats/strict-json"
import { describe, expect, test } from "vitest"

const AT = new Date("2026-11-21T09:00:00Z")
const LIST = { epoch: 1, date: AT, due: AT, previous: "", issuers: new Map(), artifacts: new Map(), released: [] }
const THUMBPRINT = "ab".repeat(32)
const NAME = { issuerKeyId: "cd".repeat(32), serialHex: "0a" }
const rule: RevocationRule = { kind: "certificate", thumbprint: THUMBPRINT, reason: "keyCompromise", at: AT }

function read(rules: JsonValue): readonly RevocationRule[] {
  const signed = { ...revocationListJson({ ...LIST, rules: [] }), rules }
  const document = { signed, signatures: [{ keyid: "00".repeat(32), sig: "00" }] }
  return parseRevocationList(utf8(JSON.stringify(document))).content.rules
}

describe("a rule about a certificate", () => {
  test("names issuer and serial beside the thumbprint, or the thumbprint alone as in the first releases", () => {
    for (const written of [rule, { ...rule, ...NAME }])
      expect(read(revocationListJson({ ...LIST, rules: [written] }).rules as JsonValue)).toEqual([written])
    expect(revocationListJson({ ...LIST, rules: [{ ...rule, ...NAME }] }).rules).toEqual([
      {
        kind: "certificate",
        thumbprint: THUMBPRINT,
        issuer: NAME.issuerKeyId,
        serial: "0a",
        reason: "keyCompromise",
        at: "2026-11-21T09:00:00Z",
      },
    ])
  })

  test.each([
    ["an issuer alone", { issuer: NAME.issuerKeyId }],
    ["a serial alone", { serial: "0a" }],
    ["a serial in capitals", { issuer: NAME.issuerKeyId, serial: "0A" }],
    ["a serial above 20 bytes", { issuer: NAME.issuerKeyId, serial: "0a".repeat(21) }],
  ])("with %s is refused", (_, change) => {
    const json = { kind: "certificate", thumbprint: THUMBPRINT, reason: "unspecified", at: "2026-11-21T09:00:00Z" }
    expect(() => read([{ ...json, ...change }])).toThrow(expect.objectContaining({ code: "SHAPE_MISMATCH" }))
  })
})
