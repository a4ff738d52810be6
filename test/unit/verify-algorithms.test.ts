import { createIssuer } from "@sealwright/core/admin/ceremony"
import { addRoot } from "@sealwright/core/admin/roots"
import { readDeployment } from "@sealwright/core/ledger/trust"
import { tufDocuments } from "@sealwright/core/ledger/tuf-documents"
import { base64Decode, base64Encode, base64urlDecode, base64urlEncode, utf8 } from "@sealwright/formats/bytes"
import { pemEncode } from "@sealwright/formats/pem"
import { BUNDLE_MARKER, BUNDLE_TYPE, openBundle } from "@sealwright/verifier/bundle"
import { runSync } from "@sealwright/verifier/node-crypto"
import { AlgorithmUnavailable, type CryptoRequest, type Step } from "@sealwright/verifier/requests"
import { loadTrustPolicy, type TrustPolicy } from "@sealwright/verifier/trust-policy"
import type { Verdict } from "@sealwright/verifier/verdict"
import { type VerifyInput, verify } from "@sealwright/verifier/verify"
import { runAsync } from "@sealwright/verifier/web-crypto"
import fc from "fast-check"
import { beforeAll, describe, expect, test } from "vitest"
import { ADMIN, createService, digestOf, NAMES, signRequest } from "../support/service.ts"

const EC = "ecdsa-p256-sha256"
const PQ = "ml-dsa-65"

/** One deployment whose profile signs twice, with three acts on two artifacts. */
async function deploy() {
  const service = createService()
  await service.setUp()
  await addRoot(service.ports, { algorithm: PQ, generation: 1, rootYears: 10 }, ADMIN)
  await createIssuer(service.ports, { name: "pq", algorithm: PQ, days: 1000 }, ADMIN)
  await service.profile("release", { extraIssuer: "pq" })
  const act = async (seed: string) => {
    const [one] = await service.signer()(signRequest([seed]))
    if (one === undefined || !("signed" in one)) throw new Error("not signed")
    const [first, extra] = one.signed.envelopes.map(({ bytes }) => bytes)
    return { id: one.signed.id, first: first as Uint8Array, extra: extra as Uint8Array }
  }
  const acts = { a: await act("artifact"), b: await act("artifact"), other: await act("other") }
  const open = async () => {
    await service.publish(true)
    const objects = service.memory.objects.dump()
    const marker = utf8(JSON.stringify({ mediaType: BUNDLE_TYPE }))
    const [root] = await tufDocuments(service.ports.table, "root")
    return runSync(
      openBundle({
        read: (path) => (path === BUNDLE_MARKER ? marker : objects.get(path)?.bytes),
        pinnedRoot: root?.bytes as Uint8Array,
        now: service.ports.clock(),
      }),
    )
  }
  const { root, extraRoots } = await readDeployment(service.ports.table)
  const pems = [root, ...extraRoots].map(({ certificate }) => ({ root: pemEncode("CERTIFICATE", certificate) }))
  return { service, acts, open, pems, trusted: await open() }
}

let world: Awaited<ReturnType<typeof deploy>>
beforeAll(async () => {
  world = await deploy()
})

function policyOf(more: object = {}, roots: readonly object[] = world.pems): TrustPolicy {
  const identities = [`release@${NAMES.identityHost}`]
  const text = JSON.stringify({
    trustPolicy: { trustStore: [{ trustedRoots: roots }], trustedIdentities: identities, ...more },
  })
  const loaded = loadTrustPolicy(utf8(text), () => undefined)
  if (!loaded.ok) throw new Error(loaded.detail)
  return loaded.policy
}

function inputOf(envelopes: readonly Uint8Array[], policy: object = {}, more: Partial<VerifyInput> = {}): VerifyInput {
  return {
    artifact: { digest: digestOf("artifact"), size: 528 },
    reference: "registry.wabbit-networks.io/net-monitor:v1",
    envelopes,
    policy: policyOf(policy),
    trusted: world.trusted,
    now: world.service.ports.clock(),
    ...more,
  }
}

const verdictOf = (...input: Parameters<typeof inputOf>): Verdict => runSync(verify(inputOf(...input)))
const codeOf = (...input: Parameters<typeof inputOf>): string => verdictOf(...input).code
const BOTH = { requiredAlgorithms: [EC, PQ] }

describe("which algorithms count (R19, R22)", () => {
  test("by default either is enough", () => {
    const { a } = world.acts
    for (const envelopes of [[a.first], [a.extra], [a.first, a.extra]]) expect(codeOf(envelopes)).toBe("ACCEPTED")
  })

  test("the first alone counts", () => {
    const { a } = world.acts
    const policy = { algorithms: [EC] }
    expect(codeOf([a.first, a.extra], policy)).toBe("ACCEPTED")
    expect(codeOf([a.extra], policy)).toBe("ALGORITHM_NOT_ALLOWED")
  })

  test("ML-DSA alone counts", () => {
    const { a } = world.acts
    const policy = { algorithms: [PQ] }
    expect(codeOf([a.extra], policy)).toBe("ACCEPTED")
    expect(codeOf([a.first, a.extra], policy)).toBe("ACCEPTED")
    expect(codeOf([a.first], policy)).toBe("ALGORITHM_NOT_ALLOWED")
  })

  test("both are required: one line each, in any order", () => {
    const { a } = world.acts
    for (const envelopes of [
      [a.first, a.extra],
      [a.extra, a.first],
    ]) {
      const verdict = verdictOf(envelopes, BOTH)
      expect(verdict.code).toBe("ACCEPTED")
      const lines = verdict.checks.filter(({ text }) => /^(ecdsa-p256-sha256|ml-dsa-65): signature/.test(text))
      expect(lines.map(({ check, outcome }) => `${check} ${outcome}`)).toEqual(["algorithm pass", "algorithm pass"])
      expect(verdict.signatures.map(({ algorithm }) => algorithm).sort()).toEqual([EC, PQ])
    }
  })

  test("a stripped one is missed", () => {
    const { a } = world.acts
    for (const envelopes of [[a.first], [a.extra]]) {
      const verdict = verdictOf(envelopes, BOTH)
      expect([verdict.verdict, verdict.code]).toEqual(["rejected", "ALGORITHMS_MISSING"])
      expect(verdict.checks.map(({ check, outcome }) => `${check} ${outcome}`).sort()).toEqual([
        "algorithm fail",
        "algorithm pass",
      ])
    }
  })

  test("one of a set is enough", () => {
    const { a } = world.acts
    const policy = { requiredAlgorithms: [["rsa-pss-sha384", EC], PQ] }
    expect(codeOf([a.first, a.extra], policy)).toBe("ACCEPTED")
    expect(codeOf([a.first], policy)).toBe("ALGORITHMS_MISSING")
  })

  test("one moved from another act, or from another artifact, does not complete it", () => {
    const { a, b, other } = world.acts
    expect(codeOf([a.first, b.extra], BOTH)).toBe("ALGORITHMS_MISSING")
    expect(codeOf([a.first, other.extra], BOTH)).toBe("ALGORITHMS_MISSING")
    expect(codeOf([a.first, b.first, b.extra], BOTH)).toBe("ACCEPTED")
    expect(codeOf([other.extra], { algorithms: [PQ] })).toBe("ARTIFACT_MISMATCH")
  })

  test("its chain under the other root alone is not trusted", () => {
    const { a } = world.acts
    const [first] = world.pems
    const policy = policyOf(BOTH, [first as object])
    expect(codeOf([a.first, a.extra], {}, { policy })).toBe("ALGORITHMS_MISSING")
  })

  test("the two of one act are one signer: never two parties (R22)", () => {
    const { a } = world.acts
    const identities = [`release@${NAMES.identityHost}`]
    const parties = world.pems.map((root, i) => ({ name: `party ${i}`, trustedRoots: [root], identities }))
    for (const optionalChecks of [{}, { signatureRescinded: false }]) {
      const text = utf8(JSON.stringify({ trustPolicy: { parties, require: "all", optionalChecks } }))
      const loaded = loadTrustPolicy(text, () => undefined)
      if (!loaded.ok) throw new Error(loaded.detail)
      const { policy } = loaded
      const trusted = optionalChecks.signatureRescinded === false ? undefined : world.trusted
      expect(codeOf([a.first, a.extra], {}, { policy, trusted })).toBe("PARTIES_MISSING")
    }
  })

  test("a policy can't require what it does not allow", () => {
    expect(() => policyOf({ algorithms: [EC], requiredAlgorithms: [PQ] })).toThrow()
    expect(() => policyOf({ requiredAlgorithms: [] })).toThrow()
    expect(() => policyOf({ requiredAlgorithms: [[]] })).toThrow()
    expect(() => policyOf({ requiredAlgorithms: ["md5"] })).toThrow()
  })

  test("revoked, both fall; what nobody can decide yet stays open", async () => {
    const { acts, service, open, pems } = await deploy()
    await service.revoke({ kind: "signature", signature: acts.a.id })
    const trusted = await open()
    const ask = (envelopes: readonly Uint8Array[], policy: object, more: Partial<VerifyInput> = {}) =>
      codeOf(envelopes, {}, { policy: policyOf(policy, pems), trusted, now: service.ports.clock(), ...more })
    expect(ask([acts.a.first, acts.a.extra], BOTH)).toBe("SIGNATURE_REVOKED")
    expect(ask([acts.a.extra], { algorithms: [PQ] })).toBe("SIGNATURE_REVOKED")
    expect(ask([acts.b.first, acts.b.extra], BOTH)).toBe("ACCEPTED")
  })
})

describe("a platform without ML-DSA", () => {
  /** Node's answers, but for ML-DSA, which it does not know. */
  function runWithout<T>(step: Step<T>): T {
    const answer = (request: CryptoRequest) =>
      runSync(
        (function* (): Step<Uint8Array | boolean> {
          return yield request
        })(),
      )
    let state = step.next()
    while (!state.done) {
      const request = state.value
      const lacking = request.kind === "verify" && request.scheme === PQ
      state = lacking ? step.throw(new AlgorithmUnavailable(PQ)) : step.next(answer(request))
    }
    return state.value
  }

  test("leaves the question open, and accepts nothing by it", () => {
    const { a } = world.acts
    const ask = (envelopes: readonly Uint8Array[], policy: object = {}) => {
      const { verdict, code } = runWithout(verify(inputOf(envelopes, policy)))
      return [verdict, code]
    }
    expect(ask([a.extra])).toEqual(["inconclusive", "ALGORITHM_UNAVAILABLE"])
    expect(ask([a.first, a.extra], BOTH)).toEqual(["inconclusive", "ALGORITHMS_UNDECIDED"])
    expect(ask([a.first, a.extra])).toEqual(["accepted", "ACCEPTED"])
    expect(ask([a.first], BOTH)).toEqual(["rejected", "ALGORITHMS_MISSING"])
  })

  test("WebCrypto of this Node answers as node:crypto does, or says that it can't", async () => {
    const { a } = world.acts
    const { code } = await runAsync(verify(inputOf([a.first, a.extra], BOTH)))
    expect(["ACCEPTED", "ALGORITHMS_UNDECIDED"]).toContain(code)
    const broken = flipped(a.extra, 700)
    const { code: refused } = await runAsync(verify(inputOf([broken], { algorithms: [PQ] })))
    expect(refused).not.toBe("ACCEPTED")
  })

  test("WebCrypto that does not know the name says so", async () => {
    const { subtle } = globalThis.crypto
    const importKey = subtle.importKey
    const unknown = Object.assign(new Error("Unrecognized algorithm name"), { name: "NotSupportedError" })
    subtle.importKey = ((format: string, bytes: never, algorithm: { name: string }, ...rest: [boolean, never]) =>
      algorithm.name === "ML-DSA-65"
        ? Promise.reject(unknown)
        : Reflect.apply(importKey, subtle, [format, bytes, algorithm, ...rest])) as typeof importKey
    try {
      const { verdict, code } = await runAsync(verify(inputOf([world.acts.a.extra])))
      expect([verdict, code]).toEqual(["inconclusive", "ALGORITHM_UNAVAILABLE"])
    } finally {
      Reflect.deleteProperty(subtle, "importKey")
    }
  })
})

function flipped(bytes: Uint8Array, bit: number): Uint8Array {
  const copy = Uint8Array.from(bytes)
  const at = (bit >> 3) % copy.length
  copy[at] = (copy[at] as number) ^ (1 << (bit & 7))
  return copy
}

describe("tampering with an extra envelope", () => {
  const PART = ["payload", "protected", "signature", "leaf", "issuer", "root"] as const

  /** The envelope with one bit of a part's bytes flipped, encoded anew in canonical form. */
  function tampered(part: (typeof PART)[number], bit: number): Uint8Array {
    const envelope = JSON.parse(Buffer.from(world.acts.a.extra).toString())
    const at = ["leaf", "issuer", "root"].indexOf(part)
    if (at >= 0) envelope.header.x5c[at] = base64Encode(flipped(base64Decode(envelope.header.x5c[at]), bit))
    else envelope[part] = base64urlEncode(flipped(base64urlDecode(envelope[part]), bit))
    return utf8(JSON.stringify(envelope))
  }

  test("no flipped bit of any part is accepted", () => {
    fc.assert(
      fc.property(fc.constantFrom(...PART), fc.nat(60_000), (part, bit) => {
        expect(verdictOf([tampered(part, bit)], { algorithms: [PQ] }).verdict).not.toBe("accepted")
        expect(verdictOf([world.acts.a.first, tampered(part, bit)], BOTH).verdict).not.toBe("accepted")
      }),
      { numRuns: process.env.SLOW === "1" ? 2000 : 150 },
    )
  })

  test("neither a signature one byte short or long, nor another algorithm's name over it", () => {
    const envelope = JSON.parse(Buffer.from(world.acts.a.extra).toString())
    const signature = base64urlDecode(envelope.signature)
    for (const wrong of [signature.subarray(1), Uint8Array.of(...signature, 0), new Uint8Array(0)]) {
      const bytes = utf8(JSON.stringify({ ...envelope, signature: base64urlEncode(wrong) }))
      expect(verdictOf([bytes]).verdict).toBe("rejected")
    }
    const header = JSON.parse(Buffer.from(envelope.protected, "base64url").toString())
    for (const alg of ["ES256", "ML-DSA-44", "ML-DSA-87", "none"]) {
      const bytes = utf8(
        JSON.stringify({ ...envelope, protected: base64urlEncode(utf8(JSON.stringify({ ...header, alg }))) }),
      )
      expect(verdictOf([bytes]).verdict).toBe("rejected")
    }
  })
})
