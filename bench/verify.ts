import { createPublicKey, verify } from "node:crypto"
import { parseNotaryJws, parseX5c } from "@sealwright/formats/notary-jws"
import type { Certificate } from "@sealwright/formats/x509"
import { ChainCache } from "@sealwright/verifier/chain-cache"
import { importEcKey, runSync } from "@sealwright/verifier/node-crypto"
import { verifyNotaryEnvelope } from "@sealwright/verifier/notary"
import { makeEnvelope, makeIssuer, NOW } from "../test/support/chains.ts"
import { type Figure, interleave } from "./measure.ts"

/** More than any cache of the verifier holds, so that going round never meets one that is known. */
const DISTINCT = 400

/** Verification in this process against one raw verification under a key that is imported already. */
export function verifyFigures(): Figure[] {
  const issuer = makeIssuer("ecdsa-p256-sha256")
  const first = makeEnvelope(issuer)
  const parsed = parseNotaryJws(first.bytes)
  const key = createPublicKey({ key: Buffer.from(first.signer.spki), format: "der", type: "spki" })
  const leaves = Array.from({ length: DISTINCT }, (_, i) => makeEnvelope(issuer, { number: i }).bytes)
  const strangers = Array.from({ length: DISTINCT }, () => {
    const other = makeIssuer("ecdsa-p256-sha256")
    const { bytes } = makeEnvelope(other)
    const { x5c, signingInput: tbs, signature } = parseNotaryJws(bytes)
    const [leaf, issuing, root] = x5c.map(parseX5c) as [Certificate, Certificate, Certificate]
    const signed = [
      { spki: leaf.spki, tbs, signature },
      { spki: issuing.spki, tbs: leaf.tbs, signature: leaf.signature },
      { spki: root.spki, tbs: issuing.tbs, signature: issuing.signature },
    ]
    return { bytes, root: other.root, signed }
  })
  const check = (bytes: Uint8Array, root: Uint8Array, cache: ChainCache) => {
    const { ok } = runSync(verifyNotaryEnvelope(bytes, { trusted: [root], now: NOW, cache }))
    if (!ok) throw new Error("a good envelope was refused")
  }
  const cache = new ChainCache()
  const [nextBare, nextFresh, nextCold] = [rotation(strangers), rotation(leaves), rotation(strangers)] as const
  const raw = () => {
    if (!verify("sha256", parsed.signingInput, key, parsed.signature)) throw new Error("a good signature was refused")
  }
  const us = interleave(
    {
      raw,
      bare: () => {
        for (const { spki, tbs, signature } of nextBare().signed)
          if (!verify("sha256", tbs, importEcKey(spki), signature)) throw new Error("a good signature was refused")
      },
      seen: () => check(first.bytes, issuer.root, cache),
      fresh: () => check(nextFresh(), issuer.root, cache),
      cold: () => {
        const { bytes, root } = nextCold()
        check(bytes, root, new ChainCache())
      },
    },
    { rounds: 60, perRound: 40, warmUp: 120 },
  )
  const ratio = (name: "bare" | "seen" | "fresh" | "cold") => us[name] / us.raw
  return [
    { figure: "verify: one raw P-256 verification", value: us.raw, unit: "us" },
    { figure: "verify: signature seen before", value: ratio("seen"), unit: "x", atMost: 2.0 },
    { figure: "verify: fresh leaf under a cached issuer", value: ratio("fresh"), unit: "x", atMost: 3.6 },
    {
      figure: "verify: cold",
      value: ratio("cold"),
      unit: "x",
      atMost: 5.5,
      note: "three certificates and three keys that were never seen",
    },
    { figure: "verify: of it, importing three keys and verifying three signatures", value: ratio("bare"), unit: "x" },
  ]
}

/** One after the other, over and over. */
function rotation<T>(items: readonly T[]): () => T {
  let at = 0
  return () => items[at++ % items.length] as T
}
