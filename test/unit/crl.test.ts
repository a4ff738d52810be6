import { type SignatureScheme, schemeRow } from "@sealwright/formats/algorithms"
import { hexDecode } from "@sealwright/formats/bytes"
import { findRevoked, parseCrl, revokedEntries } from "@sealwright/formats/crl"
import { assembleCrl, type CrlEntry, type CrlFields, crlTbs } from "@sealwright/formats/crl-write"
import {
  bitString,
  boolean,
  der,
  explicit,
  generalizedTime,
  implicit,
  integer,
  sequence,
  time,
} from "@sealwright/formats/der-write"
import { parseCertificate } from "@sealwright/formats/x509"
import { KEY_USAGE } from "@sealwright/formats/x509-extensions"
import { extension, subjectKeyIdentifier } from "@sealwright/formats/x509-write"
import { type CrlAnswer, type CrlCode, checkCrl, lookUp, openCrl } from "@sealwright/verifier/crl-check"
import { runSync } from "@sealwright/verifier/node-crypto"
import { runAsync } from "@sealwright/verifier/web-crypto"
import { describe, expect, test } from "vitest"
import { at, CRL_URL, certificate, makeIssuer, makeSigner, nameOf, type Signer, serialOf } from "../support/chains.ts"

const malformed = expect.objectContaining({ code: "CRL_MALFORMED" })
const THIS_UPDATE = at("2026-06-01T12:00:00Z")
const NEXT_UPDATE = at("2026-06-08T12:00:00Z")
const REVOKED_AT = at("2026-05-31T00:00:00Z")
const issuer = makeIssuer("ecdsa-p256-sha256")
const issuing = parseCertificate(issuer.issuing)
const leafKey = makeSigner("ecdsa-p256-sha256")
const leafOf = (number: number) => parseCertificate(issuer.leaf({ signer: leafKey, number }))
const byValue = (a: Pick<CrlEntry, "serial">, b: Pick<CrlEntry, "serial">) => Buffer.compare(a.serial, b.serial)

function listOf(
  entries: readonly CrlEntry[],
  change: Partial<CrlFields> = {},
  signer: Signer = issuer.issuingSigner,
): Uint8Array {
  const tbs = crlTbs({
    issuer: nameOf("Test Issuer"),
    scheme: signer.scheme,
    thisUpdate: THIS_UPDATE,
    nextUpdate: NEXT_UPDATE,
    crlNumber: 7n,
    authorityKeyId: subjectKeyIdentifier(signer.keyId),
    entries,
    ...change,
  })
  return assembleCrl(tbs, signer.scheme, signer.sign(tbs))
}

function check(bytes: Uint8Array, number: number, now = THIS_UPDATE, by = issuing): CrlAnswer {
  return runSync(checkCrl(leafOf(number), by, bytes, now))
}

const unknown = (why: CrlCode): CrlAnswer => ({ status: "unknown", why })

describe("R24: a list written by us", () => {
  const entries: CrlEntry[] = [
    { serial: serialOf(1), revokedAt: REVOKED_AT },
    { serial: serialOf(2), revokedAt: REVOKED_AT, reason: "keyCompromise" },
    { serial: serialOf(3), revokedAt: at("2051-01-01T00:00:00Z"), reason: "certificateHold" },
    { serial: serialOf(4), revokedAt: REVOKED_AT, reason: "superseded", invalidityDate: at("2026-01-02T03:04:05Z") },
  ]
  const crl = parseCrl(listOf([...entries].sort(byValue), { expiredCertsOnCrl: at("2026-01-01T00:00:00Z") }))

  test("is read back whole", () => {
    expect(crl).toMatchObject({
      thisUpdate: THIS_UPDATE,
      nextUpdate: NEXT_UPDATE,
      crlNumber: 7n,
      entryCount: 4,
      distributionPoints: undefined,
      signatureScheme: "ecdsa-p256-sha256",
    })
    expect([...revokedEntries(crl)].sort(byValue)).toEqual(
      [...entries].sort(byValue).map((entry) => ({ reason: "unspecified", invalidityDate: undefined, ...entry })),
    )
  })

  test("finds each of its serials and no other", () => {
    for (const entry of entries) expect(findRevoked(crl, entry.serial)?.revokedAt).toEqual(entry.revokedAt)
    expect(findRevoked(crl, serialOf(5))).toBeUndefined()
    expect(findRevoked(crl, new Uint8Array(0))).toBeUndefined()
  })

  test("without entries leaves the empty list out (RFC 5280 §5.1.2.6)", () => {
    const empty = parseCrl(listOf([]))
    expect(empty.entryCount).toBe(0)
    expect([...revokedEntries(empty)]).toEqual([])
    expect(findRevoked(empty, serialOf(1))).toBeUndefined()
  })

  test("has every time as it was given, whatever its neighbours' are", () => {
    const times = [
      ...["2026-05-31T00:00:00Z", "2026-05-31T23:59:59Z", "2026-06-01T00:00:00Z", "2026-05-31T23:59:58Z"],
      ...["2049-12-31T23:59:59Z", "2050-01-01T00:00:00Z", "2050-01-01T12:34:56Z", "1969-12-31T23:59:59Z"],
      ...["1970-01-01T00:00:00Z", "1950-01-01T00:00:00Z", "1950-01-01T04:05:06Z", "2026-06-01T09:08:07Z"],
    ].map(at)
    const listed = times
      .map((revokedAt, i): CrlEntry => {
        const invalidityDate = times[(i + 5) % times.length] as Date
        return { serial: serialOf(i), revokedAt, reason: "keyCompromise", invalidityDate }
      })
      .sort(byValue)
    const read = [...revokedEntries(parseCrl(listOf(listed)))]
    expect(read.map(({ revokedAt, invalidityDate }) => [revokedAt, invalidityDate])).toEqual(
      listed.map(({ revokedAt, invalidityDate }) => [revokedAt, invalidityDate]),
    )
  })

  test("has equal bytes for equal fields", () => {
    const fields = {
      issuer: nameOf("a"),
      scheme: "ecdsa-p256-sha256" as const,
      thisUpdate: THIS_UPDATE,
      nextUpdate: NEXT_UPDATE,
      crlNumber: 1n,
      authorityKeyId: new Uint8Array(20),
    }
    expect(crlTbs({ ...fields, entries: [...entries].sort(byValue) })).toEqual(
      crlTbs({ ...fields, entries: [...entries].sort(byValue).values() }),
    )
  })

  test("holds 100,000 entries and answers for any of them", () => {
    function* many(): Generator<CrlEntry> {
      for (let i = 0; i < 100_000; i++) {
        const serial = new Uint8Array(15)
        serial[0] = 1
        new DataView(serial.buffer).setUint32(11, 2 * i)
        yield i % 2 === 0
          ? { serial, revokedAt: REVOKED_AT }
          : { serial, revokedAt: REVOKED_AT, reason: "cessationOfOperation" }
      }
    }
    const bytes = listOf([], { entries: many() })
    const large = parseCrl(bytes)
    expect(large.entryCount).toBe(100_000)
    const serial = (n: number) => hexDecode(`01${"00".repeat(10)}${n.toString(16).padStart(8, "0")}`)
    expect(findRevoked(large, serial(2 * 99_999))?.reason).toBe("cessationOfOperation")
    expect(findRevoked(large, serial(2 * 99_998))?.reason).toBe("unspecified")
    expect(findRevoked(large, serial(99_999))).toBeUndefined()
    let count = 0
    for (const entry of revokedEntries(large)) count += entry.reason === "unspecified" ? 1 : 0
    expect(count).toBe(50_000)
  })
})

describe("what the writer refuses", () => {
  test.each<[string, readonly string[]]>([
    ["serials out of order", ["02", "01"]],
    ["a serial twice", ["01", "01"]],
    ["a long serial before a short one", ["0100", "7f"]],
    ["a padded serial", ["0001"]],
    ["a negative serial", ["80"]],
    ["serial 0", ["00"]],
    ["an empty serial", [""]],
    ["a serial of 21 bytes", ["01".repeat(21)]],
  ])("%s", (_, serials) => {
    const entries = serials.map((hex) => ({ serial: hexDecode(hex), revokedAt: REVOKED_AT }))
    expect(() => listOf(entries)).toThrow(malformed)
  })

  test("a list that ends before it begins", () => {
    expect(() => listOf([], { nextUpdate: THIS_UPDATE })).toThrow(malformed)
  })
})

describe("what the reader refuses", () => {
  const scheme: SignatureScheme = "ecdsa-p256-sha256"
  const algorithm = schemeRow(scheme).x509
  const number = extension("2.5.29.20", false, integer(1n))
  const entry = (...extensions: readonly Uint8Array[]) =>
    sequence(integer(5n), time(REVOKED_AT), ...(extensions.length === 0 ? [] : [sequence(...extensions)]))

  function raw(parts: {
    version?: Uint8Array[]
    inner?: Uint8Array
    next?: Uint8Array[]
    entries?: Uint8Array[]
    extensions?: Uint8Array[] | null
  }): Uint8Array {
    const extensions = parts.extensions === null ? [] : [explicit(0, sequence(...(parts.extensions ?? [number])))]
    const tbs = sequence(
      ...(parts.version ?? [integer(1n)]),
      parts.inner ?? algorithm,
      nameOf("Test Issuer"),
      time(THIS_UPDATE),
      ...(parts.next ?? [time(NEXT_UPDATE)]),
      ...(parts.entries ?? []),
      ...extensions,
    )
    return sequence(tbs, algorithm, bitString(Uint8Array.of(1)))
  }
  const reason = (...value: readonly number[]) => extension("2.5.29.21", false, Uint8Array.from(value))

  test("the plain one is read", () => {
    expect(parseCrl(raw({ entries: [sequence(entry())] })).entryCount).toBe(1)
  })

  test.each<[string, Uint8Array]>([
    ["no nextUpdate", raw({ next: [] })],
    ["version 1", raw({ version: [], extensions: null })],
    ["version 3", raw({ version: [integer(2n)] })],
    ["two different algorithms", raw({ inner: schemeRow("ecdsa-p384-sha384").x509 })],
    ["a delta list", raw({ extensions: [number, extension("2.5.29.27", true, integer(1n))] })],
    ["a delta list that is not critical", raw({ extensions: [number, extension("2.5.29.27", false, integer(1n))] })],
    ["an unknown critical extension", raw({ extensions: [number, extension("1.2.3", true, integer(1n))] })],
    ["an extension twice", raw({ extensions: [number, number] })],
    [
      "an indirect list",
      raw({ extensions: [extension("2.5.29.28", true, sequence(implicit(4, Uint8Array.of(0xff))))] }),
    ],
    [
      "a list of user certificates only",
      raw({ extensions: [extension("2.5.29.28", true, sequence(implicit(1, Uint8Array.of(0xff))))] }),
    ],
    [
      "a list of some reasons",
      raw({ extensions: [extension("2.5.29.28", true, sequence(implicit(3, Uint8Array.of(6, 0x40))))] }),
    ],
    ["an empty list that is there", raw({ entries: [sequence()] })],
    ["an unknown critical entry extension", raw({ entries: [sequence(entry(extension("1.2.3", true, integer(1n))))] })],
    ["an entry of another issuer", raw({ entries: [sequence(entry(extension("2.5.29.29", true, sequence())))] })],
    ["reason 7, which does not exist", raw({ entries: [sequence(entry(reason(10, 1, 7)))] })],
    ["removeFromCRL on a complete list", raw({ entries: [sequence(entry(reason(10, 1, 8)))] })],
    ["a reason twice", raw({ entries: [sequence(entry(reason(10, 1, 1), reason(10, 1, 1)))] })],
  ])("%s", (_, bytes) => {
    expect(() => parseCrl(bytes)).toThrow(malformed)
  })

  test.each<[string, Uint8Array]>([
    ["bytes at the end", Buffer.concat([raw({}), Uint8Array.of(0)])],
    ["no extensions", raw({ extensions: null })],
    ["a second entry that is no entry", raw({ entries: [sequence(entry(), boolean(true))] })],
    ["an entry without date", raw({ entries: [sequence(sequence(integer(5n)))] })],
    [
      "an entry with a padded serial",
      raw({ entries: [sequence(sequence(der(2, Uint8Array.of(0, 5)), time(REVOKED_AT)))] }),
    ],
    [
      "an entry's date of another kind",
      raw({ entries: [sequence(sequence(integer(5n), generalizedTime(REVOKED_AT)))] }),
    ],
  ])("%s, which is not DER", (_, bytes) => {
    expect(() => parseCrl(bytes)).toThrow(expect.objectContaining({ code: "DER_MALFORMED" }))
  })

  test("lists above 64 MiB", () => {
    expect(() => parseCrl(new Uint8Array(64 * 1024 * 1024 + 1))).toThrow(expect.objectContaining({ code: "TOO_LARGE" }))
  })
})

describe("R26: the check of one certificate", () => {
  const bytes = listOf([{ serial: serialOf(4711), revokedAt: REVOKED_AT, reason: "keyCompromise" }])

  test("revoked, with reason and time; its sibling is good", () => {
    expect(check(bytes, 4711)).toMatchObject({ status: "revoked", reason: "keyCompromise", at: REVOKED_AT })
    expect(check(bytes, 4712)).toMatchObject({ status: "good" })
  })

  test("counts from thisUpdate to before nextUpdate", () => {
    expect(check(bytes, 4711, at("2026-06-01T11:59:59Z"))).toEqual(unknown("CRL_NOT_YET_VALID"))
    expect(check(bytes, 4711, THIS_UPDATE).status).toBe("revoked")
    expect(check(bytes, 4711, at("2026-06-08T11:59:59Z")).status).toBe("revoked")
    expect(check(bytes, 4711, NEXT_UPDATE)).toEqual(unknown("CRL_STALE"))
    expect(check(bytes, 4712, NEXT_UPDATE)).toEqual(unknown("CRL_STALE"))
  })

  test("T22: an absent or unreadable list is unknown, never good", () => {
    expect(check(new Uint8Array(0), 4712)).toEqual(unknown("CRL_MALFORMED"))
    expect(check(bytes.subarray(0, -1), 4712)).toEqual(unknown("CRL_MALFORMED"))
  })

  test("T23: a list of another signer says nothing", () => {
    const thief = makeSigner("ecdsa-p256-sha256")
    expect(check(listOf([], {}, thief), 4711)).toEqual(unknown("CRL_ISSUER_MISMATCH"))
    const authorityKeyId = subjectKeyIdentifier(issuer.issuingSigner.keyId)
    expect(check(listOf([], { authorityKeyId }, thief), 4711)).toEqual(unknown("CRL_SIGNATURE_INVALID"))
    expect(check(listOf([], { issuer: nameOf("Test Root") }), 4711)).toEqual(unknown("CRL_ISSUER_MISMATCH"))
    expect(check(listOf([], {}, issuer.rootSigner), 4711)).toEqual(unknown("CRL_ISSUER_MISMATCH"))
    const flipped = Uint8Array.from(bytes)
    flipped[flipped.length - 1] = (flipped[flipped.length - 1] as number) ^ 1
    expect(check(flipped, 4711)).toEqual(unknown("CRL_SIGNATURE_INVALID"))
  })

  test("an issuer that may not sign lists, and a certificate of another issuer", () => {
    const spec = {
      signer: issuer.issuingSigner,
      commonName: "Test Issuer",
      basicConstraints: { ca: true },
      keyUsage: [KEY_USAGE.keyCertSign],
    }
    const mute = parseCertificate(certificate(spec, { signer: issuer.rootSigner, commonName: "Test Root" }))
    expect(check(bytes, 4711, THIS_UPDATE, mute)).toEqual(unknown("CRL_ISSUER_KEY_USAGE"))
    expect(runSync(checkCrl(issuing, issuing, bytes, THIS_UPDATE))).toEqual(unknown("CRL_ISSUER_MISMATCH"))
  })

  test("T25: a list for one distribution point covers the certificates that name it", () => {
    const withPoint = (uri: string) => {
      const point = explicit(0, explicit(0, implicit(6, Buffer.from(uri))))
      const tbs = sequence(
        integer(1n),
        schemeRow("ecdsa-p256-sha256").x509,
        nameOf("Test Issuer"),
        time(THIS_UPDATE),
        time(NEXT_UPDATE),
        explicit(0, sequence(extension("2.5.29.28", true, sequence(point)))),
      )
      return assembleCrl(tbs, "ecdsa-p256-sha256", issuer.issuingSigner.sign(tbs))
    }
    expect(check(withPoint(CRL_URL), 4711).status).toBe("good")
    expect(check(withPoint("http://crl.example.test/other.crl"), 4711)).toEqual(unknown("CRL_OUT_OF_SCOPE"))
  })

  test("one opened list answers for many certificates, under WebCrypto too", async () => {
    const opened = await runAsync(openCrl(bytes, issuing, THIS_UPDATE))
    expect("crl" in opened && [4711, 4712].map((number) => lookUp(leafOf(number), opened).status)).toEqual([
      "revoked",
      "good",
    ])
  })
})
