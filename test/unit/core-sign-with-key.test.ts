import { digest } from "@sealwright/adapters/platform"
import { ServiceError } from "@sealwright/core/errors"
import { type KeySigningRequest, signWithKey } from "@sealwright/core/sign/with-key"
import type { SignatureScheme } from "@sealwright/formats/algorithms"
import { bytesEqual, hexEncode } from "@sealwright/formats/bytes"
import { parseNotaryJws } from "@sealwright/formats/notary-jws"
import { runSync } from "@sealwright/verifier/node-crypto"
import { verifyNotaryEnvelope } from "@sealwright/verifier/notary"
import { describe, expect, test } from "vitest"
import { at, certificate, makeSigner, NOW, type Signer, type Spec, serialOf, TARGET } from "../support/chains.ts"
import { withCode } from "./core-published.ts"

const CODE_SIGNING = ["1.3.6.1.5.5.7.3.3"]
const CA = { basicConstraints: { ca: true }, keyUsage: [5, 6] }
const LEAF = { commonName: "release", keyUsage: [0], extKeyUsage: CODE_SIGNING } as const
const CA_SIGNER = makeSigner("ecdsa-p256-sha256")
const ROOT = { signer: CA_SIGNER, commonName: "Corporate Root" }
const root = certificate({ ...ROOT, ...CA })
const signer = makeSigner("ecdsa-p256-sha256")
const leaf = (spec: Partial<Spec> = {}) => certificate({ signer, ...LEAF, ...spec }, ROOT)

/** A home that holds these keys and counts their use. */
function homeOf(...signers: readonly Signer[]) {
  const used: SignatureScheme[] = []
  return {
    used,
    keys: {
      async sign({ scheme, spki }: { scheme: SignatureScheme; spki: Uint8Array }, message: Uint8Array) {
        used.push(scheme)
        const found = signers.find((each) => bytesEqual(each.spki, spki))
        if (found === undefined) throw new ServiceError("KEY_NOT_USABLE", "no such key")
        return found.sign(message)
      },
    },
    digest,
    run: runSync,
  }
}

function request(change: Partial<KeySigningRequest> = {}, by = signer): KeySigningRequest {
  return {
    key: { keyId: "local:release", scheme: by.scheme, spki: by.spki },
    chain: [leaf(), root],
    target: TARGET,
    signedAt: NOW,
    expiresAt: undefined,
    signingAgent: "test/1",
    ...change,
  }
}

describe("R1, R2: signing with a key of one's own", () => {
  test("claims its time, names its certificate, has no number, and verifies", async () => {
    const made = await signWithKey(homeOf(signer), request({ expiresAt: at("2027-06-01T12:00:00Z") }))
    const { protected: header } = parseNotaryJws(made.envelope)
    expect(header).toMatchObject({
      signingScheme: "notary.x509",
      signingTime: NOW,
      expiry: at("2027-06-01T12:00:00Z"),
      sealwright: { issuerKeyId: digest("sha256", CA_SIGNER.spki), serial: made.leaf.serialBytes, number: undefined },
    })
    expect(hexEncode(made.issuerKeyId)).toBe(hexEncode(CA_SIGNER.keyId))
    const verified = runSync(verifyNotaryEnvelope(made.envelope, { trusted: [root], now: NOW }))
    expect(verified).toMatchObject({ ok: true, number: undefined, signingScheme: "notary.x509", target: TARGET })
  })

  test.each<[SignatureScheme, number?]>([
    ["ecdsa-p384-sha384"],
    ["ecdsa-p521-sha512"],
    ["rsa-pss-sha256", 2048],
    ["rsa-pss-sha384", 3072],
  ])("%s", async (scheme, bits) => {
    const own = makeSigner(scheme, bits)
    const home = homeOf(own)
    await signWithKey(home, request({ chain: [leaf({ signer: own }), root] }, own))
    expect(home.used).toEqual([scheme])
  })

  test("under a certificate that signs itself and is no CA", async () => {
    const alone = certificate({ signer, ...LEAF })
    const made = await signWithKey(homeOf(signer), request({ chain: [alone] }))
    expect(made.issuerKeyId).toEqual(digest("sha256", signer.spki))
  })

  test("under a serial that looks like one of a numbered leaf", async () => {
    const serial = BigInt(`0x${hexEncode(serialOf(7))}`)
    await signWithKey(homeOf(signer), request({ chain: [leaf({ serial }), root] }))
  })
})

describe("refuses before the key is used", () => {
  const other = makeSigner("ecdsa-p256-sha256")
  const edwards = makeSigner("ed25519")
  test.each<[string, string, Partial<KeySigningRequest>, Signer?]>([
    ["R5: a root's own key", "CA_KEY_REFUSED", { chain: [root] }, CA_SIGNER],
    ["R5: an intermediate's key", "CA_KEY_REFUSED", { chain: [leaf(CA), root] }],
    ["another key's certificate", "CERTIFICATE_NOT_OF_KEY", { chain: [leaf({ signer: other }), root] }],
    ["a chain in reverse", "CERTIFICATE_NOT_OF_KEY", { chain: [root, leaf()] }],
    ["no chain", "CERTIFICATE_CHAIN_INVALID", { chain: [] }],
    ["a chain without its root", "CERTIFICATE_CHAIN_INVALID", { chain: [leaf()] }],
    [
      "a root of the same name",
      "CERTIFICATE_CHAIN_INVALID",
      { chain: [leaf(), certificate({ ...ROOT, ...CA, signer: other })] },
    ],
    [
      "an expired certificate",
      "CERTIFICATE_CHAIN_INVALID",
      { chain: [leaf({ notAfter: at("2026-06-01T11:00:00Z") }), root] },
    ],
    [
      "a certificate of the future",
      "CERTIFICATE_CHAIN_INVALID",
      { chain: [leaf({ notBefore: at("2026-06-02T00:00:00Z") }), root] },
    ],
    [
      "a certificate for servers",
      "CERTIFICATE_CHAIN_INVALID",
      { chain: [leaf({ extKeyUsage: ["1.3.6.1.5.5.7.3.1"] }), root] },
    ],
    ["a certificate without keyUsage", "CERTIFICATE_CHAIN_INVALID", { chain: [leaf({ keyUsage: null }), root] }],
    [
      "Ed25519, which Notary has no name for",
      "KEY_ALGORITHM_UNSUPPORTED",
      { chain: [leaf({ signer: edwards }), root] },
      edwards,
    ],
    ["an expiry that is not after now", "EXPIRY_INVALID", { expiresAt: NOW }],
  ])("%s: %s", async (_, code, change, by = signer) => {
    const home = homeOf(signer, CA_SIGNER, edwards)
    await expect(signWithKey(home, request(change, by))).rejects.toThrow(withCode(code))
    expect(home.used).toEqual([])
  })
})

test("a home that signs something else gets no signature out", async () => {
  const faulty = homeOf(signer)
  const keys = { sign: async () => signer.sign(new Uint8Array([1])) }
  await expect(signWithKey({ ...faulty, keys }, request())).rejects.toThrow(withCode("SIGNATURE_SELF_CHECK_FAILED"))
})
