import { certIdDigest } from "@sealwright/adapters/platform"
import { concat, hexDecode, hexEncode } from "@sealwright/formats/bytes"
import { der, explicit, integer, octetString, oid, sequence } from "@sealwright/formats/der-write"
import {
  failedOcspResponse,
  MAX_OCSP_CERTIFICATES,
  OCSP_FAILURE,
  type OcspFailure,
  ocspRequest,
  ocspResponseData,
  parseOcspRequest,
  publicKeyBits,
} from "@sealwright/formats/ocsp"
import { extension } from "@sealwright/formats/x509-write"
import { describe, expect, test } from "vitest"
import { makeSigner } from "../support/chains.ts"

const SERIAL = hexDecode("01aabbccddeeff0011223344556677")
const SHA1 = sequence(oid("1.3.14.3.2.26"), der(5))
const name20 = new Uint8Array(20).fill(1)
const key20 = new Uint8Array(20).fill(2)
const NONCE = "1.3.6.1.5.5.7.48.1.2"

const certId = (algorithm = SHA1, name = name20, key = key20, serial = SERIAL) =>
  sequence(algorithm, octetString(name), octetString(key), der(2, serial))
const request = (list: readonly Uint8Array[], ...more: readonly Uint8Array[]) =>
  sequence(sequence(sequence(...list), ...more))
const one = (...more: readonly Uint8Array[]) => request([sequence(certId())], ...more)
const extensions = (n: number, ...list: readonly Uint8Array[]) => explicit(n, sequence(...list))
const nonce = (length: number) => extensions(2, extension(NONCE, false, octetString(new Uint8Array(length).fill(9))))

describe("OCSP requests (RFC 6960 §4.1)", () => {
  test("what openssl asks: SHA-1, NULL parameters, a nonce", () => {
    const read = parseOcspRequest(one(nonce(16)))
    expect(read.nonce).toEqual(new Uint8Array(16).fill(9))
    expect(read.certIds).toEqual([
      { hash: "sha1", issuerNameHash: name20, issuerKeyHash: key20, serial: SERIAL, der: certId() },
    ])
  })

  test("our own writer, with both hashes", () => {
    for (const hash of ["sha1", "sha256"] as const) {
      const hashes = { issuerNameHash: certIdDigest(hash, name20), issuerKeyHash: certIdDigest(hash, key20) }
      const read = parseOcspRequest(ocspRequest({ hash, ...hashes, serial: SERIAL, nonce: name20 }))
      expect(read).toMatchObject({ nonce: name20, certIds: [{ hash, ...hashes, serial: SERIAL }] })
    }
    expect(parseOcspRequest(one())).toMatchObject({ nonce: undefined })
  })

  test("another hash is read and names nobody; its parameters may be absent", () => {
    const sha384 = sequence(oid("2.16.840.1.101.3.4.2.2"), der(5))
    const wide = new Uint8Array(48)
    expect(parseOcspRequest(request([sequence(certId(sha384, wide, wide))])).certIds[0]?.hash).toBeUndefined()
    expect(parseOcspRequest(request([sequence(certId(sequence(oid("1.3.14.3.2.26"))))])).certIds[0]?.hash).toBe("sha1")
  })

  test("requester's name, signature and extensions that are not critical are passed over", () => {
    const named = explicit(1, explicit(4, sequence()))
    const signature = explicit(0, sequence(SHA1, der(3, Uint8Array.of(0, 1))))
    const tbs = sequence(
      named,
      sequence(sequence(certId(), extensions(0, extension("1.2.3", false, der(5))))),
      extensions(2, extension("1.3.6.1.5.5.7.48.1.4", false, sequence(oid("1.3.6.1.5.5.7.48.1.1")))),
    )
    expect(parseOcspRequest(sequence(tbs, signature)).certIds).toHaveLength(1)
  })

  const many = (count: number) => request(Array.from({ length: count }, () => sequence(certId())))
  test("eight certificates, a nonce of 1 and of 128 bytes", () => {
    expect(parseOcspRequest(many(MAX_OCSP_CERTIFICATES)).certIds).toHaveLength(8)
    for (const length of [1, 32, 128]) expect(parseOcspRequest(one(nonce(length))).nonce).toHaveLength(length)
  })

  test.each([
    ["TOO_LARGE", "above 4 KiB", new Uint8Array(4097)],
    ["TOO_LARGE", "nine certificates", many(9)],
    [
      "TOO_LARGE",
      "nine extensions",
      one(explicit(2, sequence(...Array.from({ length: 9 }, (_, i) => extension(`1.2.${i}`, false, der(5)))))),
    ],
    ["OCSP_MALFORMED", "no certificate", request([])],
    ["OCSP_MALFORMED", "an empty nonce (RFC 9654)", one(nonce(0))],
    ["OCSP_MALFORMED", "a nonce of 129 bytes (RFC 9654)", one(nonce(129))],
    [
      "OCSP_MALFORMED",
      "two nonces",
      one(extensions(2, extension(NONCE, false, octetString(name20)), extension(NONCE, false, octetString(name20)))),
    ],
    ["OCSP_MALFORMED", "an unknown critical extension", one(extensions(2, extension("1.2.3", true, der(5))))],
    [
      "OCSP_MALFORMED",
      "a critical extension of one certificate",
      request([sequence(certId(), extensions(0, extension("1.2.3", true, der(5))))]),
    ],
    [
      "OCSP_MALFORMED",
      "a nonce where none belongs, critical",
      request([sequence(certId(), extensions(0, extension(NONCE, true, octetString(name20))))]),
    ],
    ["OCSP_MALFORMED", "a short name hash", request([sequence(certId(SHA1, name20.subarray(1)))])],
    ["OCSP_MALFORMED", "a long key hash", request([sequence(certId(SHA1, name20, new Uint8Array(32)))])],
    [
      "OCSP_MALFORMED",
      "a serial of 21 bytes",
      request([sequence(certId(SHA1, name20, key20, new Uint8Array(21).fill(1)))]),
    ],
    ["VERSION_UNKNOWN", "version 2", sequence(sequence(explicit(0, integer(1n)), sequence(sequence(certId()))))],
    [
      "VERSION_UNKNOWN",
      "the default version written out",
      sequence(sequence(explicit(0, integer(0n)), sequence(sequence(certId())))),
    ],
    ["DER_MALFORMED", "nothing", new Uint8Array(0)],
    ["DER_MALFORMED", "bytes after the request", concat(one(), Uint8Array.of(0))],
    ["DER_MALFORMED", "a nonce that is no OCTET STRING", one(extensions(2, extension(NONCE, false, name20)))],
    ["DER_MALFORMED", "a serial that is padded", request([sequence(certId(SHA1, name20, key20, Uint8Array.of(0, 1)))])],
    ["DER_MALFORMED", "a list of extensions that is empty", one(explicit(2, sequence()))],
  ] as const)("%s: %s", (code, _, bytes) => {
    expect(() => parseOcspRequest(bytes)).toThrow(expect.objectContaining({ code }))
  })
})

describe("OCSP responses (RFC 6960 §4.2)", () => {
  test.each(Object.entries(OCSP_FAILURE))("%s", (failure, code) => {
    expect(hexEncode(failedOcspResponse(failure as OcspFailure))).toBe(`30030a010${code}`)
  })

  test("nextUpdate must be after thisUpdate", () => {
    const at = new Date("2026-11-21T09:00:00Z")
    const fields = {
      responderKeyHash: key20,
      producedAt: at,
      thisUpdate: at,
      nextUpdate: at,
      responses: [],
      nonce: undefined,
    }
    expect(() => ocspResponseData(fields)).toThrow(expect.objectContaining({ code: "OCSP_MALFORMED" }))
  })

  test("what is hashed of a key is the content of its BIT STRING", () => {
    const { spki } = makeSigner("ecdsa-p256-sha256")
    expect(publicKeyBits(spki)).toEqual(spki.subarray(-65))
  })
})
