import { spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { bytesEqual, concat, hexDecode, hexEncode, utf8 } from "@sealwright/formats/bytes"
import { parseTimestampToken } from "@sealwright/formats/cms"
import { boolean, der, explicit, integer, octetString, oid, sequence } from "@sealwright/formats/der-write"
import { pemEncode } from "@sealwright/formats/pem"
import {
  FAILURE_INFO,
  type FailureInfo,
  grantedResponse,
  parseTimestampRequest,
  parseTimestampResponse,
  rejectedResponse,
  timestampRequest,
} from "@sealwright/formats/timestamp"
import { extension } from "@sealwright/formats/x509-write"
import { runSync } from "@sealwright/verifier/node-crypto"
import { type TimestampOptions, verifyTimestampToken } from "@sealwright/verifier/timestamp"
import { runAsync } from "@sealwright/verifier/web-crypto"
import { afterAll, describe, expect, test } from "vitest"
import { at, makeIssuer, NOW } from "../support/chains.ts"
import { hashOf, makeAuthority, makeToken, POLICY } from "../support/timestamps.ts"

const STAMPED = utf8("the signature's own bytes")
const issuer = makeIssuer("ecdsa-p256-sha256")
const authority = makeAuthority(issuer, "ecdsa-p256-sha256")
const trusted = { trusted: [issuer.root] }
const verify = (token: Uint8Array, stamped = STAMPED, options: TimestampOptions = trusted) =>
  runSync(verifyTimestampToken(token, stamped, options))
const code = (value: string) => expect.objectContaining({ code: value })

describe("TimeStampReq", () => {
  const digest = hashOf("sha384", STAMPED)

  test("is read back as it was written", () => {
    const written = timestampRequest({
      hash: "sha384",
      digest,
      policy: POLICY,
      nonce: hexDecode("8000"),
      certReq: true,
    })
    expect(parseTimestampRequest(written)).toMatchObject({
      imprint: { hash: "sha384", digest },
      policy: POLICY,
      nonce: hexDecode("008000"),
      certReq: true,
      extensions: [],
    })
    const least = parseTimestampRequest(timestampRequest({ hash: "sha384", digest, certReq: false }))
    expect(least).toMatchObject({ policy: undefined, nonce: undefined, certReq: false })
  })

  const sha256 = sequence(oid("2.16.840.1.101.3.4.2.1"))
  const imprint = sequence(sha256, octetString(hashOf("sha256", STAMPED)))
  const cases: readonly (readonly [what: string, bytes: Uint8Array, code: string])[] = [
    [
      "an imprint that is too short",
      sequence(integer(1n), sequence(sha256, octetString(digest.subarray(0, 31)))),
      "TIMESTAMP_MALFORMED",
    ],
    [
      "a digest of another algorithm",
      sequence(integer(1n), sequence(sha256, octetString(digest))),
      "TIMESTAMP_MALFORMED",
    ],
    ["another version", sequence(integer(2n), imprint), "VERSION_UNKNOWN"],
    ["a nonce of 21 bytes", sequence(integer(1n), imprint, integer(new Uint8Array(21).fill(1))), "TIMESTAMP_MALFORMED"],
    ["a default that is written", sequence(integer(1n), imprint, boolean(false)), "DER_MALFORMED"],
    ["an empty list of extensions", sequence(integer(1n), imprint, explicit(0)), "DER_MALFORMED"],
    ["bytes after it", concat(sequence(integer(1n), imprint), Uint8Array.of(0)), "DER_MALFORMED"],
    ["nothing", new Uint8Array(0), "DER_MALFORMED"],
    ["more than 8 KiB", new Uint8Array(8193), "TOO_LARGE"],
  ]
  test.each(cases)("refuses %s", (_what, bytes, expected) => {
    expect(() => parseTimestampRequest(bytes)).toThrow(code(expected))
  })

  test("tells an unknown algorithm and extensions, for the authority to decide", () => {
    const sha1 = sequence(sequence(oid("1.3.14.3.2.26"), der(5)), octetString(new Uint8Array(20)))
    expect(parseTimestampRequest(sequence(integer(1n), sha1)).imprint.hash).toBeUndefined()
    const extended = sequence(integer(1n), imprint, explicit(0, extension("1.2.3", false, integer(1n))))
    expect(parseTimestampRequest(extended).extensions).toEqual(["1.2.3"])
  })
})

describe("TimeStampResp", () => {
  test.each(Object.keys(FAILURE_INFO) as FailureInfo[])("%s is read back", (failure) => {
    const response = parseTimestampResponse(rejectedResponse(failure, "no"))
    expect(response).toEqual({ granted: false, failure, text: "no" })
  })

  test("a grant holds its token", () => {
    const token = makeToken(authority, STAMPED)
    expect(parseTimestampResponse(grantedResponse(token))).toEqual({ granted: true, token })
    expect(() => parseTimestampResponse(sequence(sequence(integer(0n))))).toThrow(code("TIMESTAMP_MALFORMED"))
    expect(() => parseTimestampResponse(sequence(sequence(integer(2n)), token))).toThrow(code("TIMESTAMP_MALFORMED"))
  })
})

describe("R8: a token proves its time offline", () => {
  const SCHEMES = ["ecdsa-p256-sha256", "ecdsa-p384-sha384", "rsa-pkcs1-sha384", "rsa-pss-sha256"] as const
  test.each(SCHEMES)("%s, under node:crypto and WebCrypto alike", async (scheme) => {
    const token = makeToken(makeAuthority(issuer, scheme), STAMPED, { hash: "sha512" })
    const proven = { ok: true, genTime: NOW, earliest: at("2026-06-01T11:59:59Z"), latest: at("2026-06-01T12:00:01Z") }
    expect(verify(token)).toMatchObject(proven)
    expect(await runAsync(verifyTimestampToken(token, STAMPED, trusted))).toMatchObject(proven)
  })

  test("a root that the token leaves out is the trusted one", () => {
    expect(verify(makeToken(authority, STAMPED, { certificates: [authority.certificate] }))).toMatchObject({ ok: true })
  })

  const other = makeIssuer("ecdsa-p256-sha256")
  const cases: readonly (readonly [what: string, token: Uint8Array, code: string, detail: string])[] = [
    ["other bytes", makeToken(authority, utf8("other")), "TIMESTAMP_IMPRINT_MISMATCH", ""],
    ["no certificate", makeToken(authority, STAMPED, { certificates: [] }), "TIMESTAMP_SIGNER_UNKNOWN", ""],
    [
      "a certificate of another digest than the signed one",
      makeToken(authority, STAMPED, { certificateSha256: hashOf("sha256", issuer.root) }),
      "TIMESTAMP_SIGNER_UNKNOWN",
      "",
    ],
    [
      "a TSTInfo that the signature does not cover",
      makeToken(authority, STAMPED, {
        content: (info) => info.map((byte, at) => (at === info.length - 7 ? byte ^ 1 : byte)),
      }),
      "TIMESTAMP_SIGNATURE_INVALID",
      "the message digest is another",
    ],
    ["an untrusted root", makeToken(makeAuthority(other, "ecdsa-p256-sha256"), STAMPED), "TIMESTAMP_NOT_TRUSTED", ""],
    [
      "a certificate that had expired",
      makeToken(makeAuthority(issuer, "ecdsa-p256-sha256", { notAfter: NOW }), STAMPED),
      "TIMESTAMP_CHAIN_INVALID",
      "CHAIN_EXPIRED, certificate 1 of 2",
    ],
  ]
  test.each(cases)("refuses %s", (_what, token, expected, detail) => {
    expect(verify(token)).toMatchObject({ ok: false, code: expected, detail })
  })

  test("refuses an authority that an issuer's key made: the issuer's purpose is code alone", () => {
    const forged = makeAuthority(issuer, "ecdsa-p256-sha256", { below: "issuer" })
    const token = makeToken(forged, STAMPED, { certificates: [forged.certificate, issuer.issuing, issuer.root] })
    expect(verify(token)).toMatchObject({
      code: "TIMESTAMP_CHAIN_INVALID",
      detail: "CHAIN_KEY_PURPOSE, certificate 2 of 3",
    })
  })

  test("refuses a signing certificate as an authority", () => {
    const certificate = issuer.leaf({ signer: authority.signer, number: 7 })
    const token = makeToken({ ...authority, certificate }, STAMPED, {
      certificates: [certificate, issuer.issuing, issuer.root],
    })
    expect(verify(token)).toMatchObject({
      code: "TIMESTAMP_CHAIN_INVALID",
      detail: "CHAIN_KEY_PURPOSE, certificate 1 of 3",
    })
  })

  test("no flipped bit is accepted with another time", () => {
    const token = makeToken(authority, STAMPED, { certificates: [authority.certificate] })
    const whole = parseTimestampToken(token)
    for (let at = 0; at < token.length; at++) {
      const flipped = Uint8Array.from(token)
      flipped[at] = (flipped[at] as number) ^ (1 << (at & 7))
      const result = verify(flipped)
      // What a token says of itself outside its signature may change: versions of fields that nobody reads.
      if (result.ok) expect(bytesEqual(result.token.content, whole.content)).toBe(true)
    }
  })
})

const version = spawnSync("openssl", ["version"], { encoding: "utf8" })
describe.skipIf(version.status !== 0)(`R8: OpenSSL as the other side (${version.stdout?.trim()})`, () => {
  const folder = mkdtempSync(join(tmpdir(), "sealwright-timestamp-"))
  afterAll(() => rmSync(folder, { recursive: true }))
  const openssl = (...args: readonly string[]) => {
    const { status, stdout, stderr } = spawnSync("openssl", args, { encoding: "utf8", cwd: folder })
    return { status, text: stdout + stderr }
  }
  const EPOCH = String(NOW.getTime() / 1000)

  test("reads our request, and we read its", () => {
    writeFileSync(
      join(folder, "ours.tsq"),
      timestampRequest({ hash: "sha256", digest: hashOf("sha256", STAMPED), nonce: hexDecode("ff00"), certReq: true }),
    )
    const { text } = openssl("ts", "-query", "-in", "ours.tsq", "-text")
    expect(text).toContain("Hash Algorithm: sha256")
    expect(text).toContain("Nonce: 0xFF00")
    expect(text).toContain("Certificate required: yes")
    expect(
      openssl(
        "ts",
        "-query",
        "-digest",
        hexEncode(hashOf("sha512", STAMPED)),
        "-sha512",
        "-cert",
        "-tspolicy",
        POLICY,
        "-out",
        "theirs.tsq",
      ).status,
    ).toBe(0)
    const request = parseTimestampRequest(new Uint8Array(readFileSync(join(folder, "theirs.tsq"))))
    expect(request).toMatchObject({ imprint: { hash: "sha512" }, policy: POLICY, certReq: true })
    expect(request.nonce?.length).toBeGreaterThan(0)
  })

  test.each(["ecdsa-p256-sha256", "ecdsa-p384-sha384", "rsa-pkcs1-sha384"] as const)(
    "accepts our token: %s",
    (scheme) => {
      const mine = makeAuthority(issuer, scheme)
      writeFileSync(join(folder, "data"), STAMPED)
      writeFileSync(join(folder, "root.pem"), pemEncode("CERTIFICATE", issuer.root))
      writeFileSync(join(folder, "good.tsr"), grantedResponse(makeToken(mine, STAMPED)))
      writeFileSync(join(folder, "bad.tsr"), grantedResponse(makeToken(mine, utf8("other"))))
      const check = (file: string) =>
        openssl("ts", "-verify", "-data", "data", "-in", file, "-CAfile", "root.pem", "-attime", EPOCH)
      expect(check("good.tsr")).toMatchObject({ status: 0, text: expect.stringContaining("Verification: OK") })
      expect(check("bad.tsr")).toMatchObject({ status: 1, text: expect.stringContaining("message imprint mismatch") })
    },
  )

  test("says in words why there is none", () => {
    writeFileSync(join(folder, "no.tsr"), rejectedResponse("unacceptedPolicy", "this authority has another policy"))
    const { text } = openssl("ts", "-reply", "-in", "no.tsr", "-text")
    expect(text).toContain("Status: Rejected.")
    expect(text).toContain("this authority has another policy")
    expect(text).toContain("the requested TSA policy is not supported by the TSA")
  })
})
