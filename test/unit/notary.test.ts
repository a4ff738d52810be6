import type { SignatureScheme } from "@sealwright/formats/algorithms"
import { base64Encode, base64urlDecode, base64urlEncode, hexEncode, utf8, utf8Decode } from "@sealwright/formats/bytes"
import { ecdsaDerToRaw } from "@sealwright/formats/ecdsa"
import { batchSerial } from "@sealwright/formats/leaf-serial"
import { assembleEnvelope, parseNotaryJws, unsignedEnvelope } from "@sealwright/formats/notary-jws"
import { runSync } from "@sealwright/verifier/node-crypto"
import {
  type NotaryCode,
  type NotaryOptions,
  type NotaryResult,
  verifyNotaryEnvelope,
} from "@sealwright/verifier/notary"
import { runAsync } from "@sealwright/verifier/web-crypto"
import { describe, expect, test } from "vitest"
import { at, certificate, makeEnvelope, makeIssuer, makeSigner, NOW, serialOf, TARGET } from "../support/chains.ts"

const issuer = makeIssuer("ecdsa-p256-sha256")
const good = makeEnvelope(issuer, { expiry: at("2027-06-01T12:00:00Z") })
const OPTIONS: NotaryOptions = { trusted: [issuer.root], now: at("2026-11-21T03:00:00Z") }

function verify(bytes: Uint8Array, options: Partial<NotaryOptions> = {}): NotaryResult {
  return runSync(verifyNotaryEnvelope(bytes, { ...OPTIONS, ...options }))
}

function codeOf(result: NotaryResult): NotaryCode | "accepted" {
  return result.ok ? "accepted" : result.code
}

type Json = Record<string, unknown>
const open = (bytes: Uint8Array): Json => JSON.parse(utf8Decode(bytes))
const encode = (value: unknown): Uint8Array => utf8(JSON.stringify(value))

/** The good envelope with other top-level members. */
function withMembers(members: Json, bytes = good.bytes): Uint8Array {
  return encode({ ...open(bytes), ...members })
}

/** A well-signed envelope whose protected header or payload was changed before the signature was made. */
function signed(change: {
  header?: (header: Json) => Json
  payload?: (payload: Json) => Json
  text?: string
  signer?: typeof good.signer
  chain?: readonly Uint8Array[]
}): Uint8Array {
  const header = JSON.parse(utf8Decode(base64urlDecode(good.unsigned.protected)))
  const payload = JSON.parse(utf8Decode(base64urlDecode(good.unsigned.payload)))
  const newHeader = base64urlEncode(encode((change.header ?? ((h) => h))(header)))
  const newPayload = base64urlEncode(
    change.text === undefined ? encode((change.payload ?? ((p) => p))(payload)) : utf8(change.text),
  )
  const signingInput = utf8(`${newHeader}.${newPayload}`)
  const signer = change.signer ?? good.signer
  return assembleEnvelope(
    { payload: newPayload, protected: newHeader, signingInput, scheme: signer.scheme },
    signer.sign(signingInput),
    change.chain ?? good.chain,
    "test",
  )
}

describe("a good envelope", () => {
  test("R27: is verified from its own bytes, with one line per check", () => {
    const result = verify(good.bytes)
    expect(result).toMatchObject({
      ok: true,
      target: TARGET,
      signingScheme: "notary.x509.signingAuthority",
      algorithm: "ecdsa-p256-sha256",
      signingTime: NOW,
      expiry: at("2027-06-01T12:00:00Z"),
      anchor: 2,
      number: 4711,
    })
    expect(result.ok && hexEncode(result.issuerKeyId)).toBe(hexEncode(issuer.issuingSigner.keyId))
    expect(result.checks.map(({ check, ok, code }) => [check, ok, code])).toEqual(
      ["envelope", "scheme", "time", "chain", "algorithm", "signature", "certificate", "expiry"].map((check) => [
        check,
        true,
        undefined,
      ]),
    )
  })

  test.each<[SignatureScheme, number?]>([
    ["ecdsa-p256-sha256"],
    ["ecdsa-p384-sha384"],
    ["ecdsa-p521-sha512"],
    ["rsa-pss-sha256", 2048],
    ["rsa-pss-sha384", 3072],
  ])("R1: %s, under node:crypto and WebCrypto alike", async (scheme, bits) => {
    const own = makeIssuer(scheme, bits)
    const { bytes } = makeEnvelope(own, { signer: makeSigner(scheme, bits) })
    const options = { trusted: [own.root], now: NOW }
    expect(codeOf(verify(bytes, options))).toBe("accepted")
    expect(codeOf(await runAsync(verifyNotaryEnvelope(bytes, options)))).toBe("accepted")
    const other = { ...options, trusted: [issuer.root] }
    expect(codeOf(await runAsync(verifyNotaryEnvelope(bytes, other)))).toBe("CHAIN_NOT_TRUSTED")
  })

  test("holds long after its ten-minute certificate, since its signing time is authentic", () => {
    expect(codeOf(verify(makeEnvelope(issuer).bytes, { now: at("2049-01-01T00:00:00Z") }))).toBe("accepted")
  })

  test("may carry annotations, which are signed", () => {
    const target = { ...TARGET, annotations: { b: "2", a: "1" }, artifactType: "application/x" }
    const result = verify(makeEnvelope(issuer, { target }).bytes)
    expect(result.ok && result.target).toEqual(target)
  })

  test("of another signer may name no certificate", () => {
    const plain = certificate({ signer: good.signer, commonName: "Plain", keyUsage: [0] })
    const bytes = signed({ header: withoutOurs, chain: [plain] })
    const result = verify(bytes, { trusted: [plain] })
    expect(result.ok && result.number).toBeUndefined()
    expect(codeOf(result)).toBe("accepted")
  })
})

function withoutOurs(header: Json): Json {
  return Object.fromEntries(Object.entries(header).filter(([name]) => !name.startsWith("io.sealwright.")))
}

describe("D2: a certificate cannot be swapped for its sibling", () => {
  const sibling = issuer.leaf({ signer: good.signer, number: 4712 })
  const otherIssuer = makeIssuer("ecdsa-p256-sha256")

  test("of the same issuer and key", () => {
    const swapped = withMembers({ header: { x5c: [sibling, issuer.issuing, issuer.root].map(base64Encode) } })
    expect(codeOf(verify(swapped))).toBe("CERTIFICATE_SWAPPED")
  })

  test("of another trusted issuer, same number and key", () => {
    const chain = [otherIssuer.leaf({ signer: good.signer, number: 4711 }), otherIssuer.issuing, otherIssuer.root]
    const swapped = withMembers({ header: { x5c: chain.map(base64Encode) } })
    expect(codeOf(verify(swapped, { trusted: [issuer.root, otherIssuer.root] }))).toBe("CERTIFICATE_SWAPPED")
  })

  test("nor a signature without a number be passed off under this service's identity", () => {
    const unnumbered = (header: Json) => ({ ...header, "io.sealwright.number": undefined })
    expect(codeOf(verify(signed({ header: unnumbered })))).toBe("CERTIFICATE_SWAPPED")
  })

  test("nor for that of another signer who names issuer and serial alone", () => {
    const spec = { signer: good.signer, commonName: "Plain", keyUsage: [0] }
    const [plain, twin] = [certificate(spec), certificate({ ...spec, serial: 78n })]
    const named = (header: Json) => ({
      ...header,
      "io.sealwright.issuer": hexEncode(good.signer.keyId),
      "io.sealwright.serial": "4d",
      "io.sealwright.number": undefined,
    })
    const trusted = [plain, twin]
    expect(codeOf(verify(signed({ header: named, chain: [plain] }), { trusted }))).toBe("accepted")
    expect(codeOf(verify(signed({ header: named, chain: [twin] }), { trusted }))).toBe("CERTIFICATE_SWAPPED")
  })

  test("nor may a batch's certificate stand for a number outside its batch", () => {
    const serial = hexEncode(batchSerial(new Uint8Array(32), 100, 3))
    const plain = certificate({
      signer: good.signer,
      commonName: "Batch",
      keyUsage: [0],
      serial: BigInt(`0x${serial}`),
    })
    const codes = [99, 100, 102, 103].map((number) => {
      const named = (header: Json) => ({
        ...header,
        "io.sealwright.issuer": hexEncode(good.signer.keyId),
        "io.sealwright.serial": serial,
        "io.sealwright.number": String(number),
      })
      return codeOf(verify(signed({ header: named, chain: [plain] }), { trusted: [plain] }))
    })
    expect(codes).toEqual(["CERTIFICATE_SWAPPED", "accepted", "accepted", "CERTIFICATE_SWAPPED"])
  })

  test("nor a signature without those headers be passed off under this service's identity", () => {
    expect(codeOf(verify(signed({ header: withoutOurs })))).toBe("CERTIFICATE_SWAPPED")
  })

  test.each([
    ["another number", { "io.sealwright.number": "4712" }],
    ["another serial", { "io.sealwright.serial": hexEncode(serialOf(4712)) }],
    ["another issuer", { "io.sealwright.issuer": "00".repeat(32) }],
  ])("nor a header with %s be signed", (_, change) => {
    expect(codeOf(verify(signed({ header: (header) => ({ ...header, ...change }) })))).toBe("CERTIFICATE_SWAPPED")
  })
})

describe("what the header must say", () => {
  const SCHEME = "io.cncf.notary.signingScheme"
  const TIME = "io.cncf.notary.authenticSigningTime"
  const EXPIRY = "io.cncf.notary.expiry"
  const CRIT = [TIME, EXPIRY, SCHEME]

  test.each<[string, Json]>([
    ["no crit", { crit: undefined }],
    ["an empty crit", { crit: [] }],
    ["crit without the scheme", { crit: [TIME, EXPIRY] }],
    ["crit without the time", { crit: [SCHEME, EXPIRY] }],
    ["crit without the expiry that is there", { crit: [SCHEME, TIME] }],
    ["crit with a header twice", { crit: [...CRIT, SCHEME] }],
    ["crit with an unknown header", { crit: [...CRIT, "com.example"], "com.example": 1 }],
    ["crit with a header that is not there", { crit: [...CRIT, "io.cncf.notary.verificationPlugin"] }],
    ["crit with alg", { crit: [...CRIT, "alg"] }],
    ["crit with our own header", { crit: [...CRIT, "io.sealwright.number"] }],
    ["no cty", { cty: undefined }],
    ["another cty", { cty: "application/json" }],
    ["another scheme", { [SCHEME]: "notary.x509.other" }],
    ["no scheme", { [SCHEME]: undefined }],
    ["no authentic time", { [TIME]: undefined, crit: [SCHEME, EXPIRY] }],
    ["the time of the other scheme", { "io.cncf.notary.signingTime": "2026-06-01T12:00:00Z" }],
    ["a time that is none", { [TIME]: "2026-06-01" }],
    ["a time that is a number", { [TIME]: 1 }],
    ["an expiry before the time", { [EXPIRY]: "2026-06-01T11:59:59Z" }],
    ["an expiry at the time", { [EXPIRY]: "2026-06-01T12:00:00Z" }],
    ["alg none", { alg: "none" }],
    ["alg HS256", { alg: "HS256" }],
    ["alg RS256", { alg: "RS256" }],
    ["alg EdDSA", { alg: "EdDSA" }],
    ["no alg", { alg: undefined }],
    ["a plugin version without a plugin", { "io.cncf.notary.verificationPluginMinVersion": "1.0.0" }],
    ["our number without our issuer", { "io.sealwright.issuer": undefined }],
    ["our number as a number", { "io.sealwright.number": 4711 }],
    ["our number with a zero before it", { "io.sealwright.number": "04711" }],
    ["our serial in capitals", { "io.sealwright.serial": "AB" }],
  ])("%s is refused", (_, change) => {
    expect(codeOf(verify(signed({ header: (header) => ({ ...header, ...change }) })))).toBe("ENVELOPE_MALFORMED")
  })

  test("an algorithm that is not the key's own is refused, though the signature would fit no other", () => {
    expect(
      codeOf(
        verify(
          withMembers(
            { signature: base64urlEncode(new Uint8Array(96)) },
            signed({ header: (h) => ({ ...h, alg: "ES384" }) }),
          ),
        ),
      ),
    ).toBe("ALGORITHM_KEY_MISMATCH")
    expect(codeOf(verify(signed({ header: (h) => ({ ...h, alg: "PS256" }) })))).toBe("ALGORITHM_KEY_MISMATCH")
  })

  test("RSA keys of 3072 bits sign with PS384 and no other", () => {
    const own = makeIssuer("rsa-pss-sha256")
    const signer = makeSigner("rsa-pss-sha256", 3072)
    expect(codeOf(verify(makeEnvelope(own, { signer }).bytes, { trusted: [own.root] }))).toBe("ALGORITHM_KEY_MISMATCH")
  })

  test("a signature that demands a plugin is refused, since none is run", () => {
    const bytes = signed({
      header: (h) => ({
        ...h,
        "io.cncf.notary.verificationPlugin": "x",
        crit: [...CRIT, "io.cncf.notary.verificationPlugin"],
      }),
    })
    expect(codeOf(verify(bytes))).toBe("PLUGIN_REQUIRED")
  })

  test("fractions, offsets and headers that are not critical pass", () => {
    const bytes = signed({ header: (h) => ({ ...h, [TIME]: "2026-06-01T14:00:00.25+02:00", "com.example": { a: 1 } }) })
    const result = verify(bytes)
    expect(result.ok && result.signingTime).toEqual(at("2026-06-01T12:00:00.250Z"))
    expect(result.ok && result.envelope.protected.extended).toEqual({ "com.example": { a: 1 } })
  })

  test("x509: the chain counts now, not at the signer's own time", () => {
    const header = (h: Json) => ({
      ...h,
      [SCHEME]: "notary.x509",
      [TIME]: undefined,
      "io.cncf.notary.signingTime": "2026-06-01T12:00:00Z",
      crit: [SCHEME, EXPIRY],
    })
    const bytes = signed({ header })
    expect(codeOf(verify(bytes, { now: NOW }))).toBe("accepted")
    expect(codeOf(verify(bytes))).toBe("CHAIN_EXPIRED")
    const critTime = (h: Json) => ({ ...header(h), crit: [SCHEME, EXPIRY, "io.cncf.notary.signingTime"] })
    expect(codeOf(verify(signed({ header: critTime }), { now: NOW }))).toBe("ENVELOPE_MALFORMED")
  })
})

describe("what the envelope and payload must be", () => {
  const text = utf8Decode(good.bytes)

  test.each<[string, Uint8Array]>([
    ["nothing", new Uint8Array(0)],
    ["no object", utf8("[]")],
    ["no JSON", utf8(text.slice(0, -1))],
    ["a second payload", utf8(text.replace("{", '{"payload":"e30",'))],
    ["an unknown member", withMembers({ more: 1 })],
    ["an unknown unsigned header", withMembers({ header: { x5c: good.chain.map(base64Encode), jwk: {} } })],
    ["no chain", withMembers({ header: {} })],
    ["an empty chain", withMembers({ header: { x5c: [] } })],
    ["eleven certificates", withMembers({ header: { x5c: Array(11).fill(base64Encode(good.leaf)) } })],
    ["a padded signature", withMembers({ signature: `${open(good.bytes).signature}==` })],
    ["a signature with stray bits", withMembers({ signature: `${String(open(good.bytes).signature).slice(0, -1)}B` })],
    ["a signature in DER", withMembers({ signature: base64urlEncode(good.signer.sign(good.unsigned.signingInput)) })],
    ["a payload with white space", withMembers({ payload: `${open(good.bytes).payload}\n` })],
    ["a payload of the general serialisation", withMembers({ signatures: [] })],
    ["an envelope above 1 MiB", utf8(`${" ".repeat(2 ** 20)}${text}`)],
    ["deep nesting", utf8("[".repeat(100_000))],
    ["a payload with another member", signed({ payload: (p) => ({ ...p, more: 1 }) })],
    ["a payload without target", signed({ payload: () => ({}) })],
    [
      "a target with an unknown member",
      signed({ payload: (p) => ({ targetArtifact: { ...(p.targetArtifact as Json), urls: [] } }) }),
    ],
    [
      "a digest in capitals",
      signed({
        payload: (p) => ({ targetArtifact: { ...(p.targetArtifact as Json), digest: `sha256:${"5A".repeat(32)}` } }),
      }),
    ],
    [
      "a digest that is a path",
      signed({
        payload: (p) => ({ targetArtifact: { ...(p.targetArtifact as Json), digest: "sha256:../../../etc/passwd" } }),
      }),
    ],
    ["a negative size", signed({ payload: (p) => ({ targetArtifact: { ...(p.targetArtifact as Json), size: -1 } }) })],
    [
      "a digest twice",
      signed({
        text: `{"targetArtifact":{"mediaType":"a/b","digest":"sha256:${"00".repeat(32)}","digest":"sha256:${"11".repeat(32)}","size":1}}`,
      }),
    ],
    ["a payload that is not JSON", signed({ text: "targetArtifact" })],
  ])("%s is refused", (_, bytes) => {
    expect(codeOf(verify(bytes))).toBe("ENVELOPE_MALFORMED")
  })

  test("a certificate that cannot be read is refused as such", () => {
    for (const x5c of [["AAAA"], good.chain.map(base64urlEncode)])
      expect(codeOf(verify(withMembers({ header: { x5c } })))).toBe("CERTIFICATE_MALFORMED")
  })

  test("another payload under the same signature, and another signature over the same payload", () => {
    const other = makeEnvelope(issuer, { target: { ...TARGET, size: 1025 } })
    expect(codeOf(verify(withMembers({ payload: open(other.bytes).payload })))).toBe("SIGNATURE_INVALID")
    expect(codeOf(verify(withMembers({ signature: open(other.bytes).signature })))).toBe("SIGNATURE_INVALID")
    expect(codeOf(verify(withMembers({ protected: open(other.bytes).protected })))).toBe("SIGNATURE_INVALID")
  })

  test("an ECDSA signature of zeros", () => {
    expect(codeOf(verify(withMembers({ signature: base64urlEncode(new Uint8Array(64)) })))).toBe("SIGNATURE_INVALID")
  })
})

describe("what the caller allows", () => {
  test("R7: a signature's own expiry, to the second", () => {
    expect(codeOf(verify(good.bytes, { now: at("2027-06-01T11:59:59Z") }))).toBe("accepted")
    expect(codeOf(verify(good.bytes, { now: at("2027-06-01T12:00:00Z") }))).toBe("SIGNATURE_EXPIRED")
    expect(codeOf(verify(good.bytes, { now: at("2027-06-01T12:00:01Z") }))).toBe("SIGNATURE_EXPIRED")
  })

  test("R19: algorithms and schemes", () => {
    expect(codeOf(verify(good.bytes, { algorithms: ["ecdsa-p384-sha384"] }))).toBe("ALGORITHM_NOT_ALLOWED")
    expect(codeOf(verify(good.bytes, { algorithms: ["ecdsa-p256-sha256"] }))).toBe("accepted")
    expect(codeOf(verify(good.bytes, { algorithms: [] }))).toBe("ALGORITHM_NOT_ALLOWED")
    expect(codeOf(verify(good.bytes, { signingSchemes: ["notary.x509"] }))).toBe("SCHEME_NOT_ALLOWED")
  })

  test("a signing time outside the certificate's ten minutes", () => {
    expect(codeOf(verify(makeEnvelope(issuer, { signingTime: at("2026-06-01T11:54:59Z") }).bytes))).toBe(
      "CHAIN_NOT_YET_VALID",
    )
    expect(codeOf(verify(makeEnvelope(issuer, { signingTime: at("2026-06-01T12:05:01Z") }).bytes))).toBe(
      "CHAIN_EXPIRED",
    )
  })
})

describe("the writer", () => {
  const sealwright = { issuerKeyId: new Uint8Array(32), serial: Uint8Array.of(1), number: 1 }

  test("writes equal bytes for equal fields, critical headers in order", () => {
    const fields = { scheme: "ecdsa-p256-sha256", authenticSigningTime: NOW, target: TARGET, sealwright } as const
    expect(unsignedEnvelope(fields)).toEqual(unsignedEnvelope(fields))
    const header = utf8Decode(base64urlDecode(unsignedEnvelope(fields).protected))
    expect(JSON.parse(header).crit).toEqual(["io.cncf.notary.authenticSigningTime", "io.cncf.notary.signingScheme"])
    expect(header).not.toContain("expiry")
  })

  test("writes a time that nobody vouches for under the other scheme, and no number where there is none", () => {
    const unnumbered = { ...sealwright, number: undefined }
    const fields = { scheme: "ecdsa-p256-sha256", signingTime: NOW, target: TARGET, sealwright: unnumbered } as const
    expect(JSON.parse(utf8Decode(base64urlDecode(unsignedEnvelope(fields).protected)))).toEqual({
      alg: "ES256",
      cty: "application/vnd.cncf.notary.payload.v1+json",
      crit: ["io.cncf.notary.signingScheme"],
      "io.cncf.notary.signingTime": "2026-06-01T12:00:00Z",
      "io.cncf.notary.signingScheme": "notary.x509",
      "io.sealwright.issuer": "00".repeat(32),
      "io.sealwright.serial": "01",
    })
  })

  test("refuses Ed25519, which Notary has no name for, and an expiry that is not after the time", () => {
    const fields = { authenticSigningTime: NOW, target: TARGET, sealwright }
    expect(() => unsignedEnvelope({ ...fields, scheme: "ed25519" })).toThrow(
      expect.objectContaining({ code: "ALGORITHM_UNSUPPORTED" }),
    )
    expect(() => unsignedEnvelope({ ...fields, scheme: "ecdsa-p256-sha256", expiry: NOW })).toThrow(
      expect.objectContaining({ code: "ENVELOPE_MALFORMED" }),
    )
  })

  test("writes r‖s of the curve's length", () => {
    const parsed = parseNotaryJws(good.bytes)
    expect(parsed.signatureRaw.length).toBe(64)
    expect(ecdsaDerToRaw(parsed.signature, 32)).toEqual(parsed.signatureRaw)
    expect(() => assembleEnvelope(good.unsigned, new Uint8Array(64), good.chain, "x")).toThrow(
      expect.objectContaining({ code: "SIGNATURE_MALFORMED" }),
    )
  })
})
