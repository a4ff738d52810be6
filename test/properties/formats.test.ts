import { certIdDigest, digest } from "@sealwright/adapters/platform"
import { ServiceError } from "@sealwright/core/errors"
import { createOcspResponder } from "@sealwright/core/ocsp/flow"
import { parseTimestampToken } from "@sealwright/formats/cms"
import { type CrlReason, findRevoked, parseCrl, REASON_CODE, revokedEntries } from "@sealwright/formats/crl"
import { assembleCrl, type CrlEntry, compareSerials, crlTbs } from "@sealwright/formats/crl-write"
import { checkNesting, DerReader } from "@sealwright/formats/der"
import { integer, integerContent, octetString, oid, sequence, time } from "@sealwright/formats/der-write"
import { ecdsaDerToRaw, ecdsaRawToDer } from "@sealwright/formats/ecdsa"
import { FormatError } from "@sealwright/formats/errors"
import { batchSerial, leafSerial, numbersOfSerial } from "@sealwright/formats/leaf-serial"
import { encodePayload, parseNotaryJws, parsePayload } from "@sealwright/formats/notary-jws"
import { parseDigest, parseImageIndex, parseImageManifest } from "@sealwright/formats/oci"
import { parseSignatureManifest } from "@sealwright/formats/oci-notary"
import { formatReference, parseReference } from "@sealwright/formats/oci-reference"
import { ocspRequest, parseOcspRequest } from "@sealwright/formats/ocsp"
import { pemBlocks, pemDecode, pemDecodeAll, pemDecodeLenient, pemEncode } from "@sealwright/formats/pem"
import { encodeEncryptedPrivateKey, parseEncryptedPrivateKey, parsePrivateKeyInfo } from "@sealwright/formats/pkcs8"
import { formatTime, parseTime, parseTimeLenient } from "@sealwright/formats/time"
import {
  grantedResponse,
  parseTimestampRequest,
  parseTimestampResponse,
  timestampRequest,
} from "@sealwright/formats/timestamp"
import { parseCertificate, parsePublicKey } from "@sealwright/formats/x509"
import { runSync } from "@sealwright/verifier/node-crypto"
import { verifyNotaryEnvelope } from "@sealwright/verifier/notary"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { at, makeEnvelope, makeIssuer, makeSigner, NOW, nameOf } from "../support/chains.ts"
import { makeAuthority, makeToken } from "../support/timestamps.ts"

const RUNS = process.env.SLOW === "1" ? 100_000 : 300
const issuer = makeIssuer("ecdsa-p256-sha256")
const good = makeEnvelope(issuer, { expiry: at("2027-06-01T12:00:00Z") })
const seconds = fc.integer({ min: 0, max: 4102444800 - 1 }).map((sec) => new Date(sec * 1000))
const property = <T extends [unknown, ...unknown[]]>(
  ...args: [...arbitraries: { [K in keyof T]: fc.Arbitrary<T[K]> }, predicate: (...args: T) => void]
) => fc.assert(fc.property(...(args as unknown as Parameters<typeof fc.property<T>>)), { numRuns: RUNS })

describe("what is written is read back", () => {
  test("INTEGER", () => {
    property(fc.bigInt({ min: -(2n ** 200n), max: 2n ** 200n }), (value) => {
      expect(new DerReader(integer(value)).integer()).toBe(value)
    })
  })

  test("OBJECT IDENTIFIER", () => {
    const arcs = fc.tuple(
      fc.integer({ min: 0, max: 2 }),
      fc.integer({ min: 0, max: 39 }),
      fc.array(fc.bigInt({ min: 0n, max: 2n ** 70n }), { maxLength: 5 }),
    )
    property(arcs, ([root, second, rest]) => {
      const dotted = [root, second, ...rest].join(".")
      expect(new DerReader(oid(dotted)).oid()).toBe(dotted)
    })
  })

  test("times", () => {
    property(seconds, (date) => {
      expect(new DerReader(time(date)).time()).toEqual(date)
      expect(parseTime(formatTime(date))).toEqual(date)
      expect(parseTimeLenient(formatTime(date))).toEqual(date)
    })
  })

  test("nested elements of any length", () => {
    property(fc.uint8Array({ maxLength: 70_000 }), fc.integer({ min: 0, max: 20 }), (bytes, depth) => {
      let element = octetString(bytes)
      for (let i = 0; i < depth; i++) element = sequence(element)
      checkNesting(element, depth)
      let reader = new DerReader(element)
      for (let i = 0; i < depth; i++) reader = reader.enter(0x30)
      expect(Buffer.compare(reader.octets(), bytes)).toBe(0)
    })
  })

  test("ECDSA signatures, both ways", () => {
    const number = fc.uint8Array({ minLength: 32, maxLength: 32 }).filter((bytes) => bytes.some((byte) => byte !== 0))
    property(number, number, (r, s) => {
      const raw = new Uint8Array([...r, ...s])
      expect(ecdsaDerToRaw(ecdsaRawToDer(raw, 32), 32)).toEqual(raw)
    })
  })

  test("PEM, strict, lenient and wrapped anew", () => {
    property(fc.uint8Array({ minLength: 1, maxLength: 400 }), fc.integer({ min: 1, max: 80 }), (bytes, width) => {
      const pem = pemEncode("X509 CRL", bytes)
      expect(pemDecode("X509 CRL", pem)).toEqual(bytes)
      const [first, body, last] = [pem.slice(0, 24), pem.slice(24, -23), pem.slice(-23)]
      const wrapped = `\t${first}\n   ${body.replaceAll(new RegExp(`(.{${width}})`, "g"), "$1\r\n  ")}${last}`
      expect(pemDecodeLenient("X509 CRL", wrapped)).toEqual(bytes)
    })
  })

  test("serials and their numbers", () => {
    property(
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      fc.integer({ min: 0, max: 2 ** 48 - 1 }),
      fc.integer({ min: 1, max: 255 }),
      (digest, first, count) => {
        expect(numbersOfSerial(leafSerial(digest, first))).toEqual({ first, count: 1 })
        expect(numbersOfSerial(batchSerial(digest, first, count))).toEqual({ first, count })
      },
    )
  })

  test("payloads", () => {
    const annotations = fc.dictionary(
      fc.string({ minLength: 1, maxLength: 20, unit: "grapheme" }).filter((key) => key !== "__proto__"),
      fc.string({ maxLength: 20, unit: "grapheme" }),
      { maxKeys: 5 },
    )
    property(annotations, fc.nat(), (annotation, size) => {
      const target = { mediaType: "a/b", digest: `sha256:${"0".repeat(64)}`, size, annotations: { ...annotation } }
      expect(parsePayload(encodePayload(target))).toEqual(target)
    })
  })

  test("CRLs: every listed serial is found, no other", () => {
    const serial = fc.bigInt({ min: 1n, max: 2n ** 159n - 1n }).map(integerContent)
    const entry: fc.Arbitrary<CrlEntry> = fc.record(
      {
        serial,
        revokedAt: seconds,
        reason: fc.constantFrom(...(Object.keys(REASON_CODE) as CrlReason[])),
        invalidityDate: seconds,
      },
      { requiredKeys: ["serial", "revokedAt"] },
    )
    const entries = fc.uniqueArray(entry, {
      maxLength: 40,
      comparator: (a, b) => Buffer.compare(a.serial, b.serial) === 0,
    })
    property(entries, serial, (listed, other) => {
      const sorted = [...listed].sort((a, b) => compareSerials(a.serial, b.serial))
      const fields = {
        issuer: nameOf("x"),
        scheme: "ecdsa-p256-sha256",
        thisUpdate: NOW,
        nextUpdate: at("2026-07-01T00:00:00Z"),
        crlNumber: 1n,
        authorityKeyId: new Uint8Array(20),
      } as const
      const crl = parseCrl(assembleCrl(crlTbs({ ...fields, entries: sorted }), "ecdsa-p256-sha256", Uint8Array.of(1)))
      const expected = sorted.map((item) => ({ reason: "unspecified", invalidityDate: undefined, ...item }))
      expect([...revokedEntries(crl)]).toEqual(expected)
      for (const item of expected) expect(findRevoked(crl, item.serial)).toEqual(item)
      expect(findRevoked(crl, other) !== undefined).toBe(
        listed.some((item) => Buffer.compare(item.serial, other) === 0),
      )
    })
  })

  test("references", () => {
    const word = fc.stringMatching(/^[a-z0-9]{1,8}([._-][a-z0-9]{1,4})?$/)
    const reference = fc.record({
      registry: fc.stringMatching(/^[a-z0-9]{1,10}(\.[a-z]{2,5})?(:[1-9][0-9]{0,3})?$/),
      repository: fc.array(word, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/")),
      tag: fc.option(fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,20}$/), { nil: undefined }),
      digest: fc.option(fc.stringMatching(/^sha256:[0-9a-f]{64}$/), { nil: undefined }),
    })
    property(reference, (value) => {
      expect(parseReference(formatReference(value))).toEqual(value)
    })
  })
})

/** Any error but a FormatError ends the run. */
function onlyRefuses(decode: () => unknown): void {
  try {
    decode()
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
  }
}

const ENCRYPTED_KEY = encodeEncryptedPrivateKey({
  derivation: { name: "scrypt", salt: new Uint8Array(16), cost: 2 ** 14, blockSize: 8, parallelization: 5 },
  cipher: "aes-256-cbc",
  iv: new Uint8Array(16),
  ciphertext: new Uint8Array(64),
})

describe("T26: decoders refuse with FormatError and nothing else", () => {
  const twenty = new Uint8Array(20).fill(7)
  const ocspQuery = ocspRequest({
    hash: "sha1",
    issuerNameHash: twenty,
    issuerKeyHash: twenty,
    serial: Uint8Array.of(1, 2, 3),
    nonce: twenty,
  })
  const query = timestampRequest({ hash: "sha256", digest: new Uint8Array(32), certReq: true })
  const token = makeToken(makeAuthority(issuer, "ecdsa-p256-sha256"), query)
  const crlSigner = makeSigner("ecdsa-p256-sha256")
  const tbs = crlTbs({
    issuer: nameOf("x"),
    scheme: crlSigner.scheme,
    thisUpdate: NOW,
    nextUpdate: at("2026-07-01T00:00:00Z"),
    crlNumber: 1n,
    authorityKeyId: new Uint8Array(20),
    entries: [1n, 2n, 300n].map((value) => ({
      serial: integerContent(value),
      revokedAt: NOW,
      reason: "keyCompromise" as const,
      invalidityDate: NOW,
    })),
  })
  const crl = assembleCrl(tbs, crlSigner.scheme, crlSigner.sign(tbs))
  const byteDecoders: readonly (readonly [string, Uint8Array, (bytes: Uint8Array) => unknown])[] = [
    ["certificates", good.leaf, parseCertificate],
    ["CA certificates", issuer.issuing, parseCertificate],
    ["keys", crlSigner.spki, parsePublicKey],
    ["timestamp requests", query, parseTimestampRequest],
    ["OCSP requests", ocspQuery, parseOcspRequest],
    ["timestamp responses", grantedResponse(token), parseTimestampResponse],
    ["timestamp tokens", token, parseTimestampToken],
    ["CRLs", crl, (bytes) => [...revokedEntries(parseCrl(bytes))]],
    ["ECDSA signatures", crlSigner.sign(tbs), (bytes) => ecdsaDerToRaw(bytes, 32)],
    ["envelopes", good.bytes, parseNotaryJws],
    ["payloads", encodePayload({ mediaType: "a/b", digest: `sha256:${"0".repeat(64)}`, size: 1 }), parsePayload],
    ["encrypted keys", ENCRYPTED_KEY, parseEncryptedPrivateKey],
    ["private keys", sequence(integer(0n), sequence(oid("1.3.101.112")), octetString()), parsePrivateKeyInfo],
    ["any DER", issuer.root, (bytes) => checkNesting(bytes, 32)],
    ["indexes", Buffer.from('{"schemaVersion":2,"manifests":[]}'), (bytes) => parseImageIndex(bytes)],
    ["manifests", Buffer.from('{"schemaVersion":2,"config":{},"layers":[]}'), (bytes) => parseImageManifest(bytes)],
    ["signature manifests", Buffer.from('{"schemaVersion":2,"config":{},"layers":[]}'), parseSignatureManifest],
  ]
  const mutation = fc.record({
    at: fc.nat(),
    byte: fc.nat(255),
    kind: fc.constantFrom("set", "flip", "cut", "insert", "drop"),
  })

  test.each(byteDecoders)("%s, mutated", (_, sample, decode) => {
    property(fc.array(mutation, { minLength: 1, maxLength: 4 }), (mutations) => {
      let bytes = Buffer.from(sample)
      for (const { at: where, byte, kind } of mutations) {
        if (bytes.length === 0) break
        const i = where % bytes.length
        if (kind === "set") bytes[i] = byte
        else if (kind === "flip") bytes[i] = (bytes[i] as number) ^ (1 << (byte & 7))
        else if (kind === "cut") bytes = bytes.subarray(0, i)
        else if (kind === "insert") bytes = Buffer.concat([bytes.subarray(0, i), Buffer.of(byte), bytes.subarray(i)])
        else bytes = Buffer.concat([bytes.subarray(0, i), bytes.subarray(i + 1)])
      }
      onlyRefuses(() => decode(new Uint8Array(bytes)))
    })
  })

  test.each(byteDecoders)("%s, any bytes", (_, __, decode) => {
    property(fc.uint8Array({ maxLength: 300 }), (bytes) => onlyRefuses(() => decode(bytes)))
  })

  test("texts", () => {
    property(fc.string({ unit: "binary", maxLength: 200 }), (text) => {
      for (const decode of [
        parseTime,
        parseTimeLenient,
        parseDigest,
        parseReference,
        pemBlocks,
        (pem: string) => pemDecodeAll("CERTIFICATE", pem),
        (pem: string) => pemDecodeLenient("CERTIFICATE", pem),
      ])
        onlyRefuses(() => decode(text))
    })
  })
})

describe("a changed OCSP request", () => {
  const twenty = new Uint8Array(20).fill(7)
  const request = ocspRequest({
    hash: "sha1",
    issuerNameHash: twenty,
    issuerKeyHash: twenty,
    serial: twenty,
    nonce: twenty,
  })
  const never = () => Promise.reject(new ServiceError("STORE_UNAVAILABLE", "asked"))
  const table = { get: never, query: never, queryIndex: never, transact: never }
  const answer = createOcspResponder({
    table,
    objects: { get: never },
    keys: { sign: never },
    clock: () => NOW,
    digest,
    certIdDigest,
    run: runSync,
  })
  const outcomeOf = async (bytes: Uint8Array) => (await answer(bytes)).outcome

  test("any cut is malformedRequest; any flipped bit that or another question, and no more", async () => {
    for (let length = 0; length < request.length; length++)
      expect(await outcomeOf(request.subarray(0, length))).toBe("malformedRequest")
    for (let i = 0; i < 8 * request.length; i++) {
      const bytes = Uint8Array.from(request)
      bytes[i >> 3] = (bytes[i >> 3] as number) ^ (1 << (i & 7))
      expect(["malformedRequest", "tryLater"]).toContain(await outcomeOf(bytes))
    }
    expect(await outcomeOf(request)).toBe("tryLater")
  })
})

describe("a changed envelope is refused", () => {
  const options = { trusted: [issuer.root], now: NOW }
  const text = Buffer.from(good.bytes).toString("latin1")
  /** The one value that nothing signs and nothing depends on. */
  const agent = { start: text.indexOf("Sealwright-test/1"), length: "Sealwright-test/1".length }
  const verdict = (bytes: Uint8Array) => runSync(verifyNotaryEnvelope(bytes, options))

  test("the unchanged one is accepted", () => {
    expect(verdict(good.bytes).ok).toBe(true)
    expect(agent.start).toBeGreaterThan(0)
  })

  test("any flipped bit outside the unsigned agent's name", () => {
    const position = fc.nat(good.bytes.length - 1).filter((i) => i < agent.start || i >= agent.start + agent.length)
    property(position, fc.nat(7), (i, bit) => {
      const bytes = Uint8Array.from(good.bytes)
      bytes[i] = (bytes[i] as number) ^ (1 << bit)
      expect(verdict(bytes).ok).toBe(false)
    })
  })

  test("any flipped bit in a certificate of the chain", () => {
    property(fc.nat(2), fc.nat(), fc.nat(7), (which, where, bit) => {
      const chain = good.chain.map((der) => Uint8Array.from(der))
      const der = chain[which] as Uint8Array
      const i = where % der.length
      der[i] = (der[i] as number) ^ (1 << bit)
      const envelope = JSON.parse(text)
      envelope.header.x5c = chain.map((certificate) => Buffer.from(certificate).toString("base64"))
      expect(verdict(Buffer.from(JSON.stringify(envelope))).ok).toBe(false)
    })
  })

  test("any cut", () => {
    property(fc.nat(good.bytes.length - 1), (length) => {
      expect(verdict(good.bytes.subarray(0, length)).ok).toBe(false)
    })
  })
})
