import { SCHEMES, type SignatureScheme, schemeRow } from "@sealwright/formats/algorithms"
import { utf8 } from "@sealwright/formats/bytes"
import { DerReader } from "@sealwright/formats/der"
import { der, explicit, integer, namedBits, oid, sequence, set, utf8String } from "@sealwright/formats/der-write"
import { batchSerial, leafSerial, leafSerialInput, numbersOfSerial } from "@sealwright/formats/leaf-serial"
import {
  ATTRIBUTE,
  nameAttribute,
  parseCertificate,
  parsePublicKey,
  readName,
  schemeOf,
} from "@sealwright/formats/x509"
import {
  CERTIFICATE_POLICY,
  EXTENSION,
  KEY_PURPOSE,
  KEY_USAGE,
  readExtension,
} from "@sealwright/formats/x509-extensions"
import { certificateTbs, distinguishedName, extension, leafTbs } from "@sealwright/formats/x509-write"
import { describe, expect, test } from "vitest"
import { at, certificate, makeIssuer, makeSigner, nameOf, serialOf, sha256 } from "../support/chains.ts"

const malformed = expect.objectContaining({ code: "CERTIFICATE_MALFORMED" })
const notDer = expect.objectContaining({ code: "DER_MALFORMED" })
const signer = makeSigner("ecdsa-p256-sha256")
const issuer = makeIssuer("ecdsa-p256-sha256")

describe("R6: the certificate of one signature", () => {
  const leaf = parseCertificate(issuer.leaf({ signer, number: 123_456_789_012, profile: "web-frontend" }))

  test("names its profile and its issuer the same way for every client", () => {
    expect(leaf.subject.rdns.flat().map(({ value }) => value)).toEqual([
      "DE",
      "Berlin",
      "Wabbit Networks",
      "web-frontend",
    ])
    expect(nameAttribute(leaf.subject, ATTRIBUTE.commonName)).toBe("web-frontend")
    expect(readExtension(leaf.extensions, EXTENSION.subjectAltName)).toEqual([
      { type: "rfc822Name", value: "web-frontend@sign.example.test" },
    ])
    expect(readExtension(leaf.extensions, EXTENSION.fulcioIssuer)).toBe("https://sign.example.test")
    expect(readExtension(leaf.extensions, EXTENSION.fulcioIssuerV2)).toBe("https://sign.example.test")
    expect(leaf.extensions.get(EXTENSION.fulcioIssuer.oid)?.value).toEqual(utf8("https://sign.example.test"))
    expect(leaf.extensions.get(EXTENSION.fulcioIssuerV2.oid)?.value).toEqual(utf8String("https://sign.example.test"))
  })

  test("may sign code, and nothing else", () => {
    expect(leaf.keyUsage).toBe(1 << KEY_USAGE.digitalSignature)
    expect(leaf.extensions.get(EXTENSION.keyUsage.oid)?.critical).toBe(true)
    expect(leaf.extKeyUsage).toEqual([KEY_PURPOSE.codeSigning])
    expect(leaf.basicConstraints).toBeUndefined()
    expect(leaf.unknownCritical).toEqual([])
  })

  test("links to its issuer and its list", () => {
    const issuing = parseCertificate(issuer.issuing)
    expect(leaf.issuer.der).toEqual(issuing.subject.der)
    expect(leaf.authorityKeyIdentifier?.keyIdentifier).toEqual(issuing.subjectKeyIdentifier)
    expect(leaf.subjectKeyIdentifier).toEqual(sha256(signer.spki).slice(0, 20))
    expect(readExtension(leaf.extensions, EXTENSION.crlDistributionPoints)).toEqual([
      "http://crl.example.test/issuer.crl",
    ])
    expect(issuing.basicConstraints).toEqual({ ca: true, pathLength: 0 })
    expect(issuing.keyUsage).toBe((1 << KEY_USAGE.keyCertSign) | (1 << KEY_USAGE.cRLSign))
  })

  test("carries its number in its serial", () => {
    expect(leaf.serialBytes).toEqual(serialOf(123_456_789_012))
    expect(numbersOfSerial(leaf.serialBytes)).toEqual({ first: 123_456_789_012, count: 1 })
    expect(numbersOfSerial(leaf.serial)).toEqual({ first: 123_456_789_012, count: 1 })
  })

  test("keeps its own key, times and bytes", () => {
    expect(leaf.spki).toEqual(signer.spki)
    expect(leaf.key).toEqual({ type: "ec", curve: "P-256" })
    expect([leaf.notBefore, leaf.notAfter]).toEqual([at("2026-06-01T11:55:00Z"), at("2026-06-01T12:05:00Z")])
    expect(leaf.signatureScheme).toBe("ecdsa-p256-sha256")
  })
})

describe("serials (D3)", () => {
  const digest = sha256(new Uint8Array(1))

  test("are 01, 8 bytes of the digest, 6 bytes of the number", () => {
    expect(Buffer.from(leafSerial(digest, 0x010203040506)).toString("hex")).toBe(
      `01${Buffer.from(digest.subarray(0, 8)).toString("hex")}010203040506`,
    )
    expect(Buffer.from(leafSerialInput(Uint8Array.of(9), 258)).toString("hex")).toBe("09000000000102")
  })

  test.each([0, 1, 2 ** 32, 2 ** 48 - 1])("give back number %d", (number) => {
    const serial = leafSerial(digest, number)
    expect(numbersOfSerial(serial)).toEqual({ first: number, count: 1 })
    expect(numbersOfSerial(BigInt(`0x${Buffer.from(serial).toString("hex")}`))).toEqual({ first: number, count: 1 })
  })

  test("of a batch are 02, 8 bytes of the digest, 6 bytes of the first number, how many", () => {
    const serial = batchSerial(digest, 0x010203040506, 20)
    expect(Buffer.from(serial).toString("hex")).toBe(
      `02${Buffer.from(digest.subarray(0, 8)).toString("hex")}01020304050614`,
    )
    expect(numbersOfSerial(serial)).toEqual({ first: 0x010203040506, count: 20 })
    for (const count of [0, 256, 1.5]) expect(() => batchSerial(digest, 1, count)).toThrow(malformed)
  })

  test.each([-1, 0.5, 2 ** 48, Number.NaN])("refuse number %d", (number) => {
    expect(() => leafSerial(digest, number)).toThrow(malformed)
  })

  test("of another form have no number", () => {
    expect(() => leafSerial(digest.subarray(1), 1)).toThrow(malformed)
    for (const serial of [0n, 1n, -1n, 2n << 112n, 1n << 120n, 3n << 120n, new Uint8Array(14), new Uint8Array(16)])
      expect(numbersOfSerial(serial)).toBeUndefined()
  })
})

describe("what the writer refuses", () => {
  const fields = {
    serial: 1n as bigint | Uint8Array,
    scheme: "ecdsa-p256-sha256" as const,
    issuer: nameOf("a"),
    notBefore: at("2026-01-01T00:00:00Z"),
    notAfter: at("2026-01-02T00:00:00Z"),
    subject: nameOf("b"),
    spki: signer.spki,
  }
  const leafFields = {
    ...fields,
    subjectKeyId: new Uint8Array(20),
    authorityKeyId: new Uint8Array(20),
    email: "a@b",
    issuerUrl: "https://a",
    crlUrl: "http://a/b",
  }

  test.each([0n, -1n, 1n << 160n, 1n << 159n])("serial %s", (serial) => {
    expect(() => certificateTbs({ ...fields, serial }, [])).toThrow(malformed)
  })

  test("a validity that ends before it begins", () => {
    expect(() => certificateTbs({ ...fields, notAfter: at("2025-12-31T23:59:59Z") }, [])).toThrow(malformed)
  })

  test.each(["https://crl.example/a", "ldap://a", "http://", "http://a b"])(
    "CRL URL %s: clients fetch plain http",
    (crlUrl) => {
      expect(() => leafTbs({ ...leafFields, crlUrl })).toThrow(malformed)
    },
  )

  test("an e-mail name outside ASCII", () => {
    expect(() => leafTbs({ ...leafFields, email: "ä@b" })).toThrow(notDer)
  })

  test.each([{ country: "de" }, { country: "DEU" }, { organization: "" }, { commonName: "x".repeat(65) }])(
    "name with %j",
    (wrong) => {
      const name = { country: "DE", stateOrProvince: "BE", organization: "O", commonName: "C", ...wrong }
      expect(() => distinguishedName(name)).toThrow(malformed)
    },
  )
})

describe("what the reader refuses", () => {
  const base = { signer, commonName: "x", keyUsage: [KEY_USAGE.digitalSignature] }
  const good = certificate(base)
  const hex = Buffer.from(good).toString("hex")
  const read = (text: string) => parseCertificate(new Uint8Array(Buffer.from(text, "hex")))

  test("the good one is good", () => {
    expect(read(hex).keyUsage).toBe(1)
  })

  test.each([
    ["a repeated extension", [extension("1.2.3", false, integer(1n)), extension("1.2.3", false, integer(2n))]],
    ["a keyUsage without bits", [extension("2.5.29.15", true, namedBits([]))]],
    ["a keyUsage of 17 bits", [extension("2.5.29.15", true, namedBits([16]))]],
    ["a keyUsage with trailing zeros", [extension("2.5.29.15", true, der(3, Uint8Array.of(0, 0x80)))]],
    ["a path length without cA", [extension("2.5.29.19", true, sequence(integer(1n)))]],
    ["an authority serial without its issuer", [extension("2.5.29.35", false, sequence(der(0x82, Uint8Array.of(1))))]],
  ])("%s", (_, more) => {
    const spec = { signer, commonName: "x", more }
    const tbs = certificateTbs(
      {
        serial: 1n,
        scheme: signer.scheme,
        issuer: nameOf("x"),
        subject: nameOf("x"),
        notBefore: at("2026-01-01T00:00:00Z"),
        notAfter: at("2026-01-02T00:00:00Z"),
        spki: signer.spki,
      },
      spec.more,
    )
    const bytes = sequence(tbs, schemeRow(signer.scheme).x509, der(3, Uint8Array.of(0, 1)))
    expect(() => parseCertificate(bytes)).toThrow(malformed)
  })

  test.each([
    ["a cA of FALSE that is written out", sequence(Uint8Array.of(1, 1, 0)), malformed],
    ["bytes after the value", Uint8Array.of(0x30, 0, 5, 0), notDer],
    ["cA of 01", sequence(Uint8Array.of(1, 1, 1)), notDer],
  ])("basicConstraints with %s", (_, value, error) => {
    const bytes = certificate({ signer, commonName: "x", more: [extension("2.5.29.19", true, value)] })
    expect(() => parseCertificate(bytes)).toThrow(error)
  })

  test("versions 1 and 2, trailing bytes, a size above 16 KiB", () => {
    expect(() => read(hex.replace("a003020102", "a003020101"))).toThrow(malformed)
    expect(() => read(hex.replace("a003020102", "a003020100"))).toThrow(malformed)
    expect(() => read(`${hex}00`)).toThrow(notDer)
    expect(() => parseCertificate(new Uint8Array(16_385))).toThrow(expect.objectContaining({ code: "TOO_LARGE" }))
  })

  test.each(["020100", "0201ff"])("serial %s, which is not positive", (serial) => {
    expect(hex.split("02014d").length).toBe(2)
    expect(() => read(hex.replace("02014d", serial))).toThrow(malformed)
  })

  test("a keyUsage that is no BIT STRING", () => {
    const more = [extension("2.5.29.15", true, integer(1n))]
    expect(() => parseCertificate(certificate({ signer, commonName: "x", more }))).toThrow(notDer)
  })

  test("two different signature algorithms", () => {
    const p256 = Buffer.from(schemeRow("ecdsa-p256-sha256").x509).toString("hex")
    const p384 = Buffer.from(schemeRow("ecdsa-p384-sha384").x509).toString("hex")
    expect(hex.split(p256).length).toBe(3)
    expect(() => read(hex.replace(p256, p384))).toThrow(malformed)
  })

  test("a critical extension that it does not know is named", () => {
    const more = [extension("1.2.3.4", true, integer(1n)), extension("1.2.3.5", false, integer(1n))]
    expect(parseCertificate(certificate({ ...base, more })).unknownCritical).toEqual(["1.2.3.4"])
  })
})

describe("certificate policies", () => {
  const { timestampRequired } = CERTIFICATE_POLICY
  const read = (value: Uint8Array) =>
    readExtension(new Map([[EXTENSION.certificatePolicies.oid, { value }]]), EXTENSION.certificatePolicies)

  test("are read in their order, and their qualifiers passed over", () => {
    const qualified = sequence(oid("1.2.3.4"), sequence(sequence(oid("1.3.6.1.5.5.7.2.1"), utf8String("text"))))
    expect(read(sequence(qualified, sequence(oid(timestampRequired))))).toEqual(["1.2.3.4", timestampRequired])
  })

  test.each([
    ["an empty list", sequence()],
    ["a bare identifier", sequence(oid(timestampRequired))],
    ["something behind the qualifiers", sequence(sequence(oid("1.2.3.4"), sequence(), sequence()))],
    ["something behind the list", new Uint8Array([...sequence(sequence(oid("1.2.3.4"))), 5, 0])],
  ])("%s is refused", (_what, value) => {
    expect(() => read(value)).toThrow(notDer)
  })

  test("ours has no arc that readers in Go can't hold", () => {
    for (const arc of timestampRequired.split(".")) expect(Number(arc)).toBeLessThan(2 ** 31)
  })
})

describe("names", () => {
  const attribute = (dotted: string, value: Uint8Array) => sequence(oid(dotted), value)
  const parse = (...rdns: readonly Uint8Array[]) => readName(new DerReader(sequence(...rdns)))

  test("an attribute counts when it stands once and alone", () => {
    const cn = attribute(ATTRIBUTE.commonName, utf8String("a"))
    const o = attribute(ATTRIBUTE.organization, utf8String("b"))
    expect(nameAttribute(parse(set(cn), set(o)), ATTRIBUTE.commonName)).toBe("a")
    expect(nameAttribute(parse(set(cn, o)), ATTRIBUTE.commonName)).toBeUndefined()
    expect(nameAttribute(parse(set(cn), set(cn)), ATTRIBUTE.commonName)).toBeUndefined()
    expect(nameAttribute(parse(set(o)), ATTRIBUTE.commonName)).toBeUndefined()
  })

  test("a string of an old type has no text, and a set must be sorted", () => {
    expect(
      parse(set(attribute(ATTRIBUTE.commonName, der(0x14, Uint8Array.of(0x41))))).rdns[0]?.[0]?.value,
    ).toBeUndefined()
    const [a, b] = [attribute("2.5.4.3", utf8String("b")), attribute("2.5.4.3", utf8String("a"))]
    expect(() => parse(der(0x31, a, b))).toThrow(notDer)
    expect(() => parse(der(0x31, a, a))).toThrow(notDer)
    expect(() => parse(der(0x31))).toThrow(notDer)
  })
})

describe("keys and algorithms", () => {
  test.each([
    ["ecdsa-p256-sha256", { type: "ec", curve: "P-256" }],
    ["ecdsa-p384-sha384", { type: "ec", curve: "P-384" }],
    ["ecdsa-p521-sha512", { type: "ec", curve: "P-521" }],
    ["rsa-pss-sha256", { type: "rsa", modulusBits: 2048 }],
    ["ed25519", { type: "ed25519" }],
  ] as const)("%s", (scheme, key) => {
    expect(parsePublicKey(makeSigner(scheme, 2048).spki)).toEqual(key)
  })

  test.each([
    ["an RSA key with an even exponent", rsa(2n ** 2047n + 1n, 2n)],
    ["an RSA key with exponent 1", rsa(2n ** 2047n + 1n, 1n)],
    ["an RSA key with an even modulus", rsa(2n ** 2047n, 65537n)],
    ["a compressed point", ec("1.2.840.10045.3.1.7", new Uint8Array(33).fill(2))],
    ["a point that is too short", ec("1.2.840.10045.3.1.7", new Uint8Array(64).fill(4))],
    [
      "a curve given by its parameters",
      sequence(sequence(oid("1.2.840.10045.2.1"), sequence()), bits(Uint8Array.of(4))),
    ],
    ["an Ed25519 key of 31 bytes", sequence(sequence(oid("1.3.101.112")), bits(new Uint8Array(31)))],
  ])("%s is refused", (_, spki) => {
    expect(() => parsePublicKey(spki)).toThrow(malformed)
  })

  test("other curves and keys are named", () => {
    expect(parsePublicKey(ec("1.3.132.0.10", new Uint8Array(65).fill(4)))).toEqual({
      type: "other",
      oid: "1.3.132.0.10",
    })
    expect(parsePublicKey(sequence(sequence(oid("1.3.101.113")), bits(new Uint8Array(57))))).toEqual({
      type: "other",
      oid: "1.3.101.113",
    })
  })

  test.each(Object.keys(SCHEMES) as SignatureScheme[])("algorithm identifier of %s", (scheme) => {
    expect(schemeOf(schemeRow(scheme).x509)).toBe(scheme)
  })

  test("RSASSA-PSS without the NULLs of its hashes is the same algorithm (RFC 4055 §2.1)", () => {
    const hash = sequence(oid("2.16.840.1.101.3.4.2.1"))
    const mgf = sequence(oid("1.2.840.113549.1.1.8"), hash)
    const salt = (length: bigint) =>
      sequence(
        oid("1.2.840.113549.1.1.10"),
        sequence(explicit(0, hash), explicit(1, mgf), explicit(2, integer(length))),
      )
    expect(schemeOf(salt(32n))).toBe("rsa-pss-sha256")
    expect(schemeOf(salt(20n))).toBeUndefined()
    expect(schemeOf(sequence(oid("1.2.840.113549.1.1.11")))).toBeUndefined()
    expect(schemeOf(sequence(oid("1.2.840.113549.1.1.5"), Uint8Array.of(5, 0)))).toBeUndefined()
  })
})

function bits(bytes: Uint8Array): Uint8Array {
  return der(3, Uint8Array.of(0), bytes)
}

function rsa(modulus: bigint, exponent: bigint): Uint8Array {
  const key = sequence(integer(modulus), integer(exponent))
  return sequence(sequence(oid("1.2.840.113549.1.1.1"), Uint8Array.of(5, 0)), bits(key))
}

function ec(curve: string, point: Uint8Array): Uint8Array {
  return sequence(sequence(oid("1.2.840.10045.2.1"), oid(curve)), bits(point))
}
