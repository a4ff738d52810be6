import { base64Encode } from "@sealwright/formats/bytes"
import { integer, oid, sequence } from "@sealwright/formats/der-write"
import { parseCertificate } from "@sealwright/formats/x509"
import { KEY_PURPOSE, KEY_USAGE } from "@sealwright/formats/x509-extensions"
import { extension } from "@sealwright/formats/x509-write"
import { ChainCache } from "@sealwright/verifier/chain-cache"
import { runSync } from "@sealwright/verifier/node-crypto"
import type { CryptoRequest } from "@sealwright/verifier/requests"
import { runAsync } from "@sealwright/verifier/web-crypto"
import { type ChainCode, type PathResult, verifyPath } from "@sealwright/verifier/x509-path"
import { describe, expect, test } from "vitest"
import { at, certificate, makeIssuer, makeSigner, NOW, type Spec } from "../support/chains.ts"

const P256 = "ecdsa-p256-sha256"
const [rootSigner, middleSigner, lowerSigner, leafSigner] = [1, 2, 3, 4].map(() => makeSigner(P256)) as [
  ReturnType<typeof makeSigner>,
  ReturnType<typeof makeSigner>,
  ReturnType<typeof makeSigner>,
  ReturnType<typeof makeSigner>,
]
const CA_USAGE = [KEY_USAGE.keyCertSign, KEY_USAGE.cRLSign]
const ROOT: Spec = { signer: rootSigner, commonName: "Root", basicConstraints: { ca: true }, keyUsage: CA_USAGE }
const MIDDLE: Spec = {
  signer: middleSigner,
  commonName: "Middle",
  basicConstraints: { ca: true, pathLength: 0 },
  keyUsage: CA_USAGE,
}
const LEAF: Spec = {
  signer: leafSigner,
  commonName: "Leaf",
  keyUsage: [KEY_USAGE.digitalSignature],
  extKeyUsage: [KEY_PURPOSE.codeSigning],
}

interface Change {
  readonly root?: Partial<Spec>
  readonly middle?: Partial<Spec>
  readonly leaf?: Partial<Spec>
  readonly leafIssuer?: { readonly signer: Spec["signer"]; readonly commonName: string }
}

/** Leaf, middle, root; good but for `change`. */
function chainOf(change: Change = {}): readonly Uint8Array[] {
  const root = { ...ROOT, ...change.root }
  const middle = { ...MIDDLE, ...change.middle }
  return [
    certificate({ ...LEAF, ...change.leaf }, change.leafIssuer ?? middle),
    certificate(middle, root),
    certificate(root),
  ]
}

function verify(
  chain: readonly Uint8Array[],
  options: { trusted?: readonly Uint8Array[]; time?: Date; cache?: ChainCache } = {},
): PathResult {
  const trusted = options.trusted ?? chain.slice(-1)
  const { cache = new ChainCache() } = options
  return runSync(
    verifyPath(
      chain.map((der) => cache.certificate(base64Encode(der))),
      { trusted, time: options.time ?? NOW, cache },
    ),
  )
}

const refused = (code: ChainCode, position: number): PathResult => ({ ok: false, code, at: position })
const ended = { notAfter: at("2026-06-01T11:59:58Z") }

describe("bad chains that general validators let pass", () => {
  test.each<[string, Change, ChainCode, number]>([
    ["an expired leaf", { leaf: ended }, "CHAIN_EXPIRED", 0],
    ["an expired intermediate", { middle: ended }, "CHAIN_EXPIRED", 1],
    ["a leaf that is not valid yet", { leaf: { notBefore: at("2026-06-01T12:00:01Z") } }, "CHAIN_NOT_YET_VALID", 0],
    ["an intermediate with CA:FALSE", { middle: { basicConstraints: { ca: false } } }, "CHAIN_CA_INVALID", 1],
    ["an intermediate without basicConstraints", { middle: { basicConstraints: null } }, "CHAIN_CA_INVALID", 1],
    ["an intermediate without keyCertSign", { middle: { keyUsage: [KEY_USAGE.cRLSign] } }, "CHAIN_KEY_USAGE", 1],
    [
      "a path length that is exceeded",
      { root: { basicConstraints: { ca: true, pathLength: 0 } } },
      "CHAIN_PATH_LENGTH",
      2,
    ],
    [
      "an unknown critical extension",
      { leaf: { more: [extension("1.2.3.4", true, integer(1n))] } },
      "CHAIN_EXTENSION_UNKNOWN",
      0,
    ],
    [
      "a leaf for servers",
      { leaf: { extKeyUsage: [KEY_PURPOSE.codeSigning, KEY_PURPOSE.serverAuth] } },
      "CHAIN_KEY_PURPOSE",
      0,
    ],
    ["a leaf without digitalSignature", { leaf: { keyUsage: [KEY_USAGE.nonRepudiation] } }, "CHAIN_KEY_USAGE", 0],
    ["an intermediate for timestamps", { middle: { extKeyUsage: [KEY_PURPOSE.timeStamping] } }, "CHAIN_KEY_PURPOSE", 1],
    [
      "a signature by another key",
      {
        leafIssuer: { signer: rootSigner, commonName: "Middle" },
        leaf: { authorityKeyId: middleSigner.keyId.slice(0, 20) },
      },
      "CHAIN_SIGNATURE_INVALID",
      0,
    ],
    [
      "an issuer of another name",
      { leafIssuer: { signer: middleSigner, commonName: "Muddle" } },
      "CHAIN_NAME_MISMATCH",
      0,
    ],
  ])("%s", (_, change, code, position) => {
    expect(verify(chainOf(change))).toEqual(refused(code, position))
  })
})

describe("more bad chains", () => {
  const sibling = makeSigner(P256)

  test.each<[string, Change, ChainCode, number]>([
    ["an expired root", { root: ended }, "CHAIN_EXPIRED", 2],
    ["a root that is not valid yet", { root: { notBefore: at("2026-07-01T00:00:00Z") } }, "CHAIN_NOT_YET_VALID", 2],
    ["a root with CA:FALSE", { root: { basicConstraints: { ca: false } } }, "CHAIN_CA_INVALID", 2],
    [
      "basicConstraints that are not critical",
      { middle: { basicConstraints: { ca: true, critical: false } } },
      "CHAIN_CA_INVALID",
      1,
    ],
    ["a CA's keyUsage that is not critical", { middle: { keyUsageCritical: false } }, "CHAIN_KEY_USAGE", 1],
    ["a CA without keyUsage", { middle: { keyUsage: null } }, "CHAIN_KEY_USAGE", 1],
    ["a leaf without keyUsage", { leaf: { keyUsage: null } }, "CHAIN_KEY_USAGE", 0],
    ["a leaf's keyUsage that is not critical", { leaf: { keyUsageCritical: false } }, "CHAIN_KEY_USAGE", 0],
    [
      "a leaf that may sign lists",
      { leaf: { keyUsage: [KEY_USAGE.digitalSignature, KEY_USAGE.cRLSign] } },
      "CHAIN_KEY_USAGE",
      0,
    ],
    [
      "a leaf that may only decipher",
      { leaf: { keyUsage: [KEY_USAGE.digitalSignature, KEY_USAGE.keyAgreement, KEY_USAGE.decipherOnly] } },
      "CHAIN_KEY_USAGE",
      0,
    ],
    ["a leaf that is a CA", { leaf: { basicConstraints: { ca: true } } }, "CHAIN_LEAF_INVALID", 0],
    ["a leaf for any purpose", { leaf: { extKeyUsage: [KEY_PURPOSE.any] } }, "CHAIN_KEY_PURPOSE", 0],
    [
      "another authority key identifier",
      { leaf: { authorityKeyId: sibling.keyId.slice(0, 20) } },
      "CHAIN_KEY_ID_MISMATCH",
      0,
    ],
    [
      "name constraints, critical or not",
      { middle: { more: [extension("2.5.29.30", false, sequence())] } },
      "CHAIN_EXTENSION_UNKNOWN",
      1,
    ],
    [
      "policy constraints",
      { middle: { more: [extension("2.5.29.36", true, sequence())] } },
      "CHAIN_EXTENSION_UNKNOWN",
      1,
    ],
    [
      "critical certificate policies",
      { middle: { more: [extension("2.5.29.32", true, sequence(sequence(oid("1.2.3"))))] } },
      "CHAIN_EXTENSION_UNKNOWN",
      1,
    ],
    ["an RSA key of 1024 bits", { leaf: { signer: makeSigner("rsa-pss-sha256", 1024) } }, "CHAIN_ALGORITHM", 0],
  ])("%s", (_, change, code, position) => {
    expect(verify(chainOf(change))).toEqual(refused(code, position))
  })

  test("the last second of a validity still counts, the next does not", () => {
    const chain = chainOf({ leaf: { notAfter: at("2026-06-01T12:00:00Z") } })
    expect(verify(chain, { time: at("2026-06-01T11:59:59Z") })).toEqual({ ok: true, anchor: 2 })
    expect(verify(chain, { time: at("2026-06-01T12:00:00.999Z") })).toEqual({ ok: true, anchor: 2 })
    expect(verify(chain, { time: at("2026-06-01T12:00:01Z") })).toEqual(refused("CHAIN_EXPIRED", 0))
  })

  test("a chain that is out of order, has no root, holds a certificate twice, is empty or too long", () => {
    const [leaf, middle, root] = chainOf() as [Uint8Array, Uint8Array, Uint8Array]
    expect(verify([middle, leaf, root])).toEqual(refused("CHAIN_NAME_MISMATCH", 0))
    expect(verify([leaf, middle], { trusted: [middle] })).toEqual(refused("CHAIN_NAME_MISMATCH", 1))
    expect(verify([leaf, middle, root, root])).toEqual(refused("CHAIN_NAME_MISMATCH", 2))
    expect(verify([], { trusted: [root] })).toEqual(refused("CHAIN_LENGTH", 0))
    expect(verify([leaf, middle, root, root, root, root, root])).toEqual(refused("CHAIN_LENGTH", 0))
    expect(verify([root])).toEqual(refused("CHAIN_LEAF_INVALID", 0))
  })

  test("a root that another key of the same name signed", () => {
    const forged = certificate(
      { ...ROOT, authorityKeyId: rootSigner.keyId.slice(0, 20) },
      { signer: sibling, commonName: "Root" },
    )
    const [leaf, middle] = chainOf() as [Uint8Array, Uint8Array]
    expect(verify([leaf, middle, forged], { trusted: [middle] })).toEqual(refused("CHAIN_SIGNATURE_INVALID", 2))
  })

  test("R23: a trusted root needs no signature over itself, and its key must still have signed the next", () => {
    const [leaf, middle, root] = chainOf() as [Uint8Array, Uint8Array, Uint8Array]
    const bare = Uint8Array.from(root)
    bare[bare.length - 1] = (bare[bare.length - 1] as number) ^ 1
    expect(verify([leaf, middle, bare], { trusted: [bare] })).toEqual({ ok: true, anchor: 2 })
    expect(verify([leaf, middle, bare], { trusted: [root] })).toEqual(refused("CHAIN_NOT_TRUSTED", 2))
    const strange = certificate(MIDDLE, { ...ROOT, signer: sibling })
    expect(verify([leaf, strange, bare], { trusted: [bare] }).ok).toBe(false)
  })

  test("R23: nothing is trusted by itself", () => {
    const chain = chainOf()
    const other = certificate({ ...ROOT, signer: sibling })
    expect(verify(chain, { trusted: [] })).toEqual(refused("CHAIN_NOT_TRUSTED", 2))
    expect(verify(chain, { trusted: [other] })).toEqual(refused("CHAIN_NOT_TRUSTED", 2))
  })
})

describe("good chains", () => {
  test("R20: root, intermediate or the signer's own certificate may be the trusted one", () => {
    const chain = chainOf()
    expect(chain.map((trusted) => verify(chain, { trusted: [trusted] }))).toEqual([
      { ok: true, anchor: 0 },
      { ok: true, anchor: 1 },
      { ok: true, anchor: 2 },
    ])
  })

  test("a self-signed signer that is trusted itself", () => {
    expect(verify([certificate(LEAF)])).toEqual({ ok: true, anchor: 0 })
  })

  test("four certificates within their path lengths", () => {
    const upper = { ...MIDDLE, basicConstraints: { ca: true, pathLength: 1 } }
    const lower = { ...MIDDLE, signer: lowerSigner, commonName: "Lower" }
    const chain = [certificate(LEAF, lower), certificate(lower, upper), certificate(upper, ROOT), certificate(ROOT)]
    expect(verify(chain)).toEqual({ ok: true, anchor: 3 })
    const tight = { ...MIDDLE, basicConstraints: { ca: true, pathLength: 0 } }
    const long = [certificate(LEAF, lower), certificate(lower, tight), certificate(tight, ROOT), certificate(ROOT)]
    expect(verify(long)).toEqual(refused("CHAIN_PATH_LENGTH", 2))
  })

  test("a leaf with basicConstraints of FALSE, with own purposes or with none", () => {
    for (const leaf of [{ basicConstraints: { ca: false } }, { extKeyUsage: ["1.2.3.4"] }, { extKeyUsage: null }])
      expect(verify(chainOf({ leaf }))).toEqual({ ok: true, anchor: 2 })
  })

  test.each(["ecdsa-p256-sha256", "ecdsa-p384-sha384", "rsa-pss-sha384", "ed25519"] as const)(
    "%s, under node:crypto and WebCrypto alike",
    async (scheme) => {
      const issuer = makeIssuer(scheme)
      const chain = [issuer.leaf({ signer: makeSigner(scheme), number: 1 }), issuer.issuing, issuer.root]
      expect(verify(chain)).toEqual({ ok: true, anchor: 2 })
      const options = { trusted: [issuer.root], time: NOW }
      expect(await runAsync(verifyPath(chain.map(parseCertificate), options))).toEqual({ ok: true, anchor: 2 })
    },
  )
})

describe("the cache of issuer signatures", () => {
  const chain = chainOf()
  const count = (cache: ChainCache, given: readonly Uint8Array[]) => {
    const asked: CryptoRequest["kind"][] = []
    const known = given.map((der) => cache.certificate(base64Encode(der)))
    const step = verifyPath(known, { trusted: given.slice(-1), time: NOW, cache })
    function* watched() {
      let state = step.next()
      while (!state.done) {
        asked.push(state.value.kind)
        state = step.next(yield state.value)
      }
      return state.value
    }
    const result = runSync(watched())
    return { result, verified: asked.filter((kind) => kind === "verify").length }
  }

  test("spares what did verify, and trusts nothing for longer", () => {
    const cache = new ChainCache()
    expect(count(cache, chain)).toEqual({ result: { ok: true, anchor: 2 }, verified: 2 })
    expect(count(cache, chain)).toEqual({ result: { ok: true, anchor: 2 }, verified: 0 })
    expect(verify(chain, { cache, trusted: [] })).toEqual(refused("CHAIN_NOT_TRUSTED", 2))
    expect(verify(chain, { cache, time: at("2050-01-01T00:00:00Z") })).toEqual(refused("CHAIN_EXPIRED", 0))
  })

  test("knows neither another certificate nor another key", () => {
    const cache = new ChainCache()
    count(cache, chain)
    const fresh = certificate({ ...LEAF, serial: 78n }, MIDDLE)
    expect(count(cache, [fresh, ...chain.slice(1)]).verified).toBe(1)
    const flipped = Uint8Array.from(chain[0] as Uint8Array)
    flipped[flipped.length - 1] = (flipped[flipped.length - 1] as number) ^ 1
    expect(count(cache, [flipped, ...chain.slice(1)]).result).toEqual(refused("CHAIN_SIGNATURE_INVALID", 0))
    expect(count(cache, [flipped, ...chain.slice(1)]).verified).toBe(1)
  })

  test("stays within its bound", () => {
    const cache = new ChainCache(8)
    count(cache, chain)
    for (let serial = 100n; serial < 108n; serial++)
      expect(count(cache, [certificate({ ...LEAF, serial }, MIDDLE), ...chain.slice(1)]).verified).toBe(1)
    expect(count(cache, chain).verified).toBe(1)
  })
})
