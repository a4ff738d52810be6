import { base64Encode, concat, hexEncode, utf8, utf8Decode } from "@sealwright/formats/bytes"
import { checkpointText, type TreeHead } from "@sealwright/formats/checkpoint"
import { parseNotaryJws, parseX5c } from "@sealwright/formats/notary-jws"
import { encodeNote, encodeVkey, NOTE_TYPE } from "@sealwright/formats/signed-note"
import { encodeLogProof, MAX_LOG_PROOF_BYTES } from "@sealwright/formats/tlog-proof"
import { trustBundleJson } from "@sealwright/formats/trust-bundle"
import type { OpenedBundle } from "@sealwright/verifier/bundle"
import { type LogEvidence, logEntryOf, MAX_LOG_PROOFS } from "@sealwright/verifier/log-proof"
import { runSync } from "@sealwright/verifier/node-crypto"
import type { CryptoRequest, Step } from "@sealwright/verifier/requests"
import { AlgorithmUnavailable } from "@sealwright/verifier/requests"
import { encodeState, parseState, raiseLogFloors } from "@sealwright/verifier/state"
import { loadTrustPolicy } from "@sealwright/verifier/trust-policy"
import { VERDICT_CODES, type Verdict } from "@sealwright/verifier/verdict"
import { verify } from "@sealwright/verifier/verify"
import { runAsync } from "@sealwright/verifier/web-crypto"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { NOW, sha256, TARGET } from "../support/chains.ts"
import { afterSec, ask, Deployment, policyOf, REFERENCE, TUF_URL } from "../support/deployment.ts"
import { edited, flipBit, NoteSigner, TestLog } from "../support/log.ts"

const ours = new Deployment()
const STORE = [{ trustedRoots: [{ root: ours.rootPem }] }]
const BASE = { trustStore: STORE, trustedIdentities: ["web@sign.example.test"] }
const relaxed = policyOf(BASE)
const strict = policyOf({ ...BASE, requireLog: true })

const entryOf = (envelope: Uint8Array): Uint8Array => {
  const jws = parseNotaryJws(envelope)
  return runSync(logEntryOf(jws, parseX5c(jws.x5c[0] as string))) as Uint8Array
}

const first = new NoteSigner("w1.example.test", NOTE_TYPE.cosignature)
const second = new NoteSigner("w2.example.test/key", NOTE_TYPE.mlDsa44)
const WITNESSES = [first, second]
const both = [
  { by: first, at: afterSec(-60) },
  { by: second, at: afterSec(-30) },
]

const envelope = ours.sign()
const another = ours.sign({ number: 4712 })
const log = new TestLog().fill(5).append(entryOf(envelope)).fill(300).append(entryOf(another)).fill(7)
const INDEX = 5
const events = new TestLog("events.example.test").fill(3)

/** A bundle whose publisher names its logs. */
function bundleWith(policy: string, floors?: OpenedBundle["floors"]): OpenedBundle {
  const change = (targets: Map<string, Uint8Array>) => {
    const json = JSON.parse(utf8Decode(targets.get("trust-bundle.json") as Uint8Array))
    json.log = { signatures: log.origin, events: events.origin, policy }
    targets.set("trust-bundle.json", utf8(JSON.stringify(json)))
  }
  return ours.opened(ours.publish({ change }), floors && { floors })
}

const policyText = `log ${events.signer.vkey}\n${log.policy(WITNESSES)}`
const trusted = bundleWith(policyText)
const bare = ours.opened(ours.publish())
const checkpoint = log.checkpoint(both)
const proof = log.proofFile(INDEX, checkpoint)

function decide(evidence: LogEvidence, policy = strict, bundle = trusted, envelopes = [envelope]): Verdict {
  const verdict = ask({ policy, envelopes, trusted: bundle, log: evidence })
  expect(JSON.parse(JSON.stringify(verdict))).toEqual(verdict)
  expect(verdict.verdict).toBe(VERDICT_CODES[verdict.code].verdict)
  return verdict
}

const lineOf = ({ checks }: Verdict, name = "log") => checks.find(({ check }) => check === name)

describe("a signature's log proof (R30)", () => {
  test("is checked offline: entry, inclusion, the log's signature, the witnesses", () => {
    const verdict = decide({ proofs: [proof] })
    expect(verdict.code).toBe("ACCEPTED")
    expect(lineOf(verdict)).toEqual({
      check: "log",
      outcome: "pass",
      text: "entry 5 of 314 in sig.example.test, seen at 2026-06-01T11:59:00Z by w1, w2",
    })
    expect(verdict.signatures[0]?.log).toEqual({ origin: log.origin, index: "5", size: "314" })
    expect(verdict.logs).toEqual([{ bundle: 0, origin: log.origin, size: "314", root: hexEncode(log.head.root) }])
  })

  test("R34: its place in the log is in the decision log", () => {
    const { events: lines } = decide({ proofs: [proof] })
    expect(lines[0]).toMatchObject({ event: "signature", logOrigin: log.origin, logIndex: "5", logSize: "314" })
  })

  test("node:crypto and WebCrypto come to one verdict", async () => {
    const plain = bundleWith(log.policy([first]))
    const input = {
      artifact: TARGET,
      reference: REFERENCE,
      envelopes: [envelope],
      policy: strict,
      trusted: plain,
      now: NOW,
      log: { proofs: [log.proofFile(INDEX, log.checkpoint([{ by: first, at: NOW }]))] },
    }
    const verdict = await runAsync(verify(input))
    expect(verdict).toEqual(runSync(verify(input)))
    expect(verdict.code).toBe("ACCEPTED")
  })

  test("an entry names the signature's own certificate, digest and bytes", () => {
    const { spec } = JSON.parse(utf8Decode(entryOf(envelope)))
    const { data, signature } = spec.hashedRekordV002
    const jws = parseNotaryJws(envelope)
    expect(data.digest).toBe(base64Encode(sha256(jws.signingInput)))
    expect(signature.content).toBe(base64Encode(jws.signature))
    expect(signature.verifier.x509Certificate.rawBytes).toBe(jws.x5c[0])
  })

  test("proofs and envelopes find each other, whatever the order", () => {
    const proofs = [log.proofFile(306, checkpoint), proof]
    const verdict = decide({ proofs }, strict, trusted, [envelope, another])
    expect(verdict.signatures.map(({ log: at }) => at?.index)).toEqual(["5", "306"])
  })

  test("one good proof is enough beside a bad one of the same signature", () => {
    const forged = log.proofFile(INDEX, new TestLog(log.origin, new NoteSigner(log.origin)).checkpoint([], log.head))
    expect(decide({ proofs: [forged, proof] }).code).toBe("ACCEPTED")
    expect(decide({ proofs: [forged] }).code).toBe("LOG_UNKNOWN")
  })

  test("a log of one entry, and one that signs under each kind of key", () => {
    for (const type of [NOTE_TYPE.ed25519, NOTE_TYPE.ecdsa, NOTE_TYPE.mlDsa44]) {
      const small = new TestLog(log.origin, new NoteSigner(log.origin, type)).append(entryOf(envelope))
      expect(decide({ proofs: [small.proofFile(0)] }, strict, bundleWith(small.policy())).code).toBe("ACCEPTED")
    }
  })
})

describe("the policy requireLog (R30)", () => {
  test("without a proof nothing is accepted", () => {
    expect(decide({}).code).toBe("LOG_PROOF_MISSING")
    expect(decide({}, strict, bare).code).toBe("LOG_PROOF_MISSING")
  })

  test("without it, a missing proof is said and changes nothing", () => {
    const verdict = decide({}, relaxed)
    expect(verdict.code).toBe("ACCEPTED")
    expect(lineOf(verdict)?.outcome).toBe("skip")
  })

  test("each signature needs a proof of its own", () => {
    const parties = { parties: [{ name: "a", identities: ["web@sign.example.test"] }], trustStore: STORE }
    const wanted = policyOf({ ...parties, requireLog: true })
    const verdict = ask({ policy: wanted, envelopes: [envelope, another], trusted, log: { proofs: [proof] } })
    expect(verdict.signatures.map(({ code }) => code)).toEqual(["ACCEPTED", "LOG_PROOF_MISSING"])
  })

  test("a publisher that names no log, or names it unreadably, leaves it open", () => {
    expect(decide({ proofs: [proof] }, strict, bare).code).toBe("LOG_POLICY_MISSING")
    expect(decide({ proofs: [proof] }, relaxed, bare)).toMatchObject({ code: "ACCEPTED" })
    for (const text of ["quorum\n", "", log.policy().replace(/\+[0-9a-f]{8}\+/, "+00000000+")]) {
      expect(decide({ proofs: [proof] }, strict, bundleWith(text)).code).toBe("LOG_POLICY_MALFORMED")
      expect(lineOf(decide({ proofs: [proof] }, relaxed, bundleWith(text)))?.outcome).toBe("warn")
    }
  })

  test("the deployer's own logPolicy stands in place of the publisher's", () => {
    const third = new NoteSigner("w3.example.test", NOTE_TYPE.cosignature)
    const own = (text: string, files = {}) => policyOf({ ...BASE, requireLog: true, logPolicy: text }, files)
    const stricter = log.policy([first, second, third])
    expect(decide({ proofs: [proof] }, own(stricter)).code).toBe("LOG_WITNESSES_MISSING")
    expect(decide({ proofs: [proof] }, own("log.policy", { "log.policy": log.policy([first]) })).code).toBe("ACCEPTED")
    expect(decide({ proofs: [proof] }, own(log.policy([first])), bare).code).toBe("ACCEPTED")
  })

  test.each([
    ["a file that is not there", "nowhere", "STORE_MISSING"],
    ["no policy", "quorum nobody\n", "POLICY_MALFORMED"],
    ["not a text", 7, "POLICY_MALFORMED"],
  ])("a logPolicy that is %s is refused", (_, logPolicy, code) => {
    const bytes = utf8(JSON.stringify({ trustPolicy: { ...BASE, logPolicy } }))
    expect(loadTrustPolicy(bytes, () => undefined)).toMatchObject({ ok: false, code })
  })
})

const forger = new NoteSigner(log.origin)
const note = (head: TreeHead, ...signers: readonly NoteSigner[]) =>
  encodeNote({ text: checkpointText(head), signatures: signers.map((signer) => signer.sign(head, NOW)) })
const OTHER_ROOT = { ...log.head, root: sha256(utf8("another")) }

describe("hostile proofs (R30)", () => {
  test.each([
    ["another signature's", log.proofFile(306, checkpoint), "LOG_PROOF_INVALID"],
    ["another entry's path", edited(proof, "index 5\n", "index 4\n"), "LOG_PROOF_INVALID"],
    ["an index beyond the tree", edited(proof, "index 5\n", "index 9007199254740991\n"), "LOG_PROOF_INVALID"],
    ["an index of many digits", edited(proof, "index 5\n", `index ${"9".repeat(60_000)}\n`), "LOG_PROOF_INVALID"],
    ["a hash too many", edited(proof, "\n\n", `\n${base64Encode(new Uint8Array(32))}\n\n`), "LOG_PROOF_INVALID"],
    [
      "ten thousand hashes",
      edited(proof, "\n\n", `\n${`${base64Encode(new Uint8Array(32))}\n`.repeat(10_000)}\n`),
      "LOG_PROOF_INVALID",
    ],
    ["more bytes than the limit", new Uint8Array(MAX_LOG_PROOF_BYTES + 1).fill(0x61), "LOG_PROOF_INVALID"],
    ["nothing", new Uint8Array(0), "LOG_PROOF_INVALID"],
    ["signed by an unknown key of the log's name", log.proofFile(INDEX, note(log.head, forger)), "LOG_UNKNOWN"],
    ["signed by witnesses alone", log.proofFile(INDEX, note(log.head, ...WITNESSES)), "LOG_UNKNOWN"],
    [
      "an empty tree's",
      encodeLogProof({ ...log.proof(INDEX), checkpoint: note({ ...log.head, size: 0n }, log.signer) }),
      "LOG_PROOF_INVALID",
    ],
    ["a root nobody computed", log.proofFile(INDEX, log.checkpoint(both, OTHER_ROOT)), "LOG_PROOF_INVALID"],
  ])("%s", (_, bytes, code) => {
    expect(decide({ proofs: [bytes] }).code).toBe(code)
    expect(decide({ proofs: [bytes] }, relaxed).code).toBe(code)
  })

  test("a known key's wrong signature spoils the checkpoint, the log's and a witness's alike", () => {
    const wrong = { ...log.signer.sign(OTHER_ROOT) }
    const text = checkpointText(log.head)
    const good = [log.signer.sign(log.head), ...both.map(({ by, at }) => by.sign(log.head, at))]
    for (const bad of [wrong, first.sign(OTHER_ROOT, NOW), second.sign(OTHER_ROOT, NOW)]) {
      const file = log.proofFile(INDEX, encodeNote({ text, signatures: [...good, bad] }))
      expect(decide({ proofs: [file] }).code).toBe("LOG_CHECKPOINT_INVALID")
      expect(decide({ proofs: [file] }, relaxed).code).toBe("LOG_CHECKPOINT_INVALID")
    }
  })

  test("a checkpoint with ten thousand signature lines is not read", () => {
    const line = utf8Decode(log.checkpoint()).split("\n\n")[1] as string
    const flood = utf8(`${checkpointText(log.head)}\n${line.repeat(10_000)}`)
    expect(decide({ proofs: [log.proofFile(INDEX)], checkpoints: [flood] }).code).toBe("LOG_CHECKPOINT_INVALID")
    expect(decide({ proofs: [encodeLogProof({ ...log.proof(INDEX), checkpoint: flood })] }).code).toBe(
      "LOG_PROOF_INVALID",
    )
  })

  test("lines of unknown keys are overlooked", () => {
    const text = checkpointText(log.head)
    const good = [log.signer.sign(log.head), ...both.map(({ by, at }) => by.sign(log.head, at))]
    const strangers = Array.from({ length: 90 }, (_, i) => new NoteSigner(`stranger${i}.example`).sign(OTHER_ROOT))
    const file = log.proofFile(INDEX, encodeNote({ text, signatures: [...strangers, ...good] }))
    expect(decide({ proofs: [file] }).code).toBe("ACCEPTED")
  })

  test("another log's proof: one that the policy does not know, and the publisher's other one", () => {
    const foreign = new TestLog("log.example.org").append(entryOf(envelope))
    expect(decide({ proofs: [foreign.proofFile(0)] }).code).toBe("LOG_UNKNOWN")
    const inEvents = new TestLog(events.origin, events.signer).append(entryOf(envelope))
    expect(decide({ proofs: [inEvents.proofFile(0, inEvents.checkpoint(both))] }).code).toBe("LOG_UNKNOWN")
  })

  test("a key that signs under another log's origin", () => {
    const borrowed = new TestLog(log.origin, events.signer).append(entryOf(envelope))
    expect(decide({ proofs: [borrowed.proofFile(0)] }).code).toBe("LOG_UNKNOWN")
  })

  test("the proof of a signature whose certificate was swapped", () => {
    const signed = ours.signature({ number: 4713 })
    const twin = ours.issuer.leaf({
      signer: signed.signer,
      number: 4714,
      profile: "web",
      notBefore: afterSec(-600),
      notAfter: afterSec(600),
    })
    const swapped = signed.assemble([twin, ours.issuer.issuing, ours.issuer.root])
    const small = new TestLog(log.origin, log.signer).append(entryOf(signed.bytes))
    const verdict = decide({ proofs: [small.proofFile(0, small.checkpoint(both))] }, strict, trusted, [swapped])
    expect(verdict.verdict).toBe("rejected")
    expect(entryOf(swapped)).not.toEqual(entryOf(signed.bytes))
  })

  test("too many proofs are not read", () => {
    const proofs = Array.from({ length: MAX_LOG_PROOFS + 1 }, () => proof)
    expect(decide({ proofs }).code).toBe("LOG_PROOF_INVALID")
  })

  test("a stray proof hinders no signature that has its own", () => {
    expect(decide({ proofs: [utf8("garbage"), log.proofFile(306, checkpoint), proof] }).code).toBe("ACCEPTED")
  })

  test("property: no flipped bit of a proof is accepted", () => {
    const plain = bundleWith(log.policy([first]))
    const file = log.proofFile(INDEX, log.checkpoint([{ by: first, at: NOW }]))
    expect(decide({ proofs: [file] }, strict, plain).code).toBe("ACCEPTED")
    fc.assert(
      fc.property(fc.nat(file.length * 8 - 1), (bit) => {
        expect(decide({ proofs: [flipBit(file, bit)] }, strict, plain).verdict).not.toBe("accepted")
      }),
      { numRuns: process.env.SLOW ? 4_000 : 300 },
    )
  })

  test("property: no flipped bit of an envelope keeps its proof", () => {
    fc.assert(
      fc.property(fc.nat(envelope.length * 8 - 1), (bit) => {
        const verdict = decide({ proofs: [proof] }, strict, trusted, [flipBit(envelope, bit)])
        const text = utf8Decode(envelope).slice(0, bit >> 3)
        if (!/"io\.cncf\.notary\.signingAgent":"[^"]*$/.test(text)) expect(verdict.verdict).not.toBe("accepted")
      }),
      { numRuns: process.env.SLOW ? 2_000 : 100 },
    )
  })

  test("misuse is a TypeError", () => {
    for (const bad of [{ proofs: "x" }, { proofs: ["x"] }, { checkpoints: [1] }])
      expect(() => decide(bad as unknown as LogEvidence)).toThrow(TypeError)
  })
})

describe("witnesses (R28, R30)", () => {
  const at = (...cosigned: Parameters<TestLog["checkpoint"]>[0] & {}) => log.proofFile(INDEX, log.checkpoint(cosigned))
  test("a quorum that is not met leaves it open, and is only said where no log is required", () => {
    for (const file of [at(), at({ by: first, at: NOW }), at({ by: second, at: NOW })]) {
      expect(decide({ proofs: [file] })).toMatchObject({ verdict: "inconclusive", code: "LOG_WITNESSES_MISSING" })
      const verdict = decide({ proofs: [file] }, relaxed)
      expect(verdict.code).toBe("ACCEPTED")
      expect(lineOf(verdict)?.outcome).toBe("warn")
      expect(verdict.logs).toEqual([])
    }
  })

  test("a cosignature of the future does not count: the clock is wrong, or the witness is", () => {
    const ahead = at({ by: first, at: afterSec(3_600) }, { by: second, at: NOW })
    expect(decide({ proofs: [ahead] }).code).toBe("CLOCK_BEHIND")
    expect(decide({ proofs: [at({ by: first, at: afterSec(59) }, { by: second, at: NOW })] }).code).toBe("ACCEPTED")
  })

  test("nor does one without a time", () => {
    expect(decide({ proofs: [at({ by: first, at: new Date(0) }, { by: second, at: NOW })] }).code).toBe(
      "LOG_WITNESSES_MISSING",
    )
  })

  test("a witness's key that makes plain signatures is no witness's", () => {
    const plain = new NoteSigner("w9.example.test")
    expect(decide({ proofs: [proof] }, strict, bundleWith(log.policy([plain]))).code).toBe("LOG_POLICY_MALFORMED")
  })

  test("two keys of one name and id make the policy unusable", () => {
    const twin = encodeVkey({ ...first.key, publicKey: new NoteSigner("x").key.publicKey })
    const text = log.policy([first]).replace("group", `witness w2 ${twin}\ngroup`)
    expect(decide({ proofs: [proof] }, strict, bundleWith(text)).code).toBe("LOG_POLICY_MALFORMED")
  })

  test("the time that a quorum vouches for is the latest that enough of them reached", () => {
    const cosigned = [
      { by: first, at: afterSec(-7_200) },
      { by: second, at: afterSec(-10) },
    ]
    const file = log.proofFile(INDEX, log.checkpoint(cosigned))
    expect(lineOf(decide({ proofs: [file] }))?.text).toContain("seen at 2026-06-01T10:00:00Z by w1, w2")
    expect(lineOf(decide({ proofs: [file] }, strict, bundleWith(log.policy(WITNESSES, "any"))))?.text).toContain(
      "seen at 2026-06-01T11:59:50Z",
    )
  })

  test("a platform without ML-DSA leaves open what only that could tell", () => {
    const input = { artifact: TARGET, reference: REFERENCE, envelopes: [envelope], policy: strict, now: NOW }
    const without = (bundle: OpenedBundle) =>
      lacking("ml-dsa-44", verify({ ...input, trusted: bundle, log: { proofs: [proof] } })).code
    expect(without(trusted)).toBe("ALGORITHM_UNAVAILABLE")
    expect(without(bundleWith(log.policy(WITNESSES, "any")))).toBe("ACCEPTED")
  })
})

/** Drives a step as a platform that lacks an algorithm. */
function lacking<T>(scheme: string, step: Step<T>): T {
  let state = step.next()
  while (!state.done) {
    const request: CryptoRequest = state.value
    state =
      request.kind === "verify" && request.scheme === scheme
        ? step.throw(new AlgorithmUnavailable(request.scheme))
        : step.next(runSync(once(request)))
  }
  return state.value
}

function* once(request: CryptoRequest): Step<Uint8Array | boolean> {
  return yield request
}

describe("what was seen before (R28)", () => {
  const old = new TestLog(log.origin, log.signer).append(...log.entries.slice(0, 200))
  const seen = (head: Pick<TreeHead, "size" | "root">) =>
    bundleWith(policyText, { ...trusted.floors, logs: new Map([[log.origin, head]]) })
  const { consistency } = log

  test("a larger tree must continue it, where that can be checked", () => {
    const verdict = decide({ proofs: [proof], consistency }, strict, seen(old.head))
    expect(verdict.code).toBe("ACCEPTED")
    expect(lineOf(verdict, "log history")).toBeUndefined()
    const forked = { ...old.head, root: sha256(utf8("fork")) }
    expect(decide({ proofs: [proof], consistency }, strict, seen(forked)).code).toBe("LOG_INCONSISTENT")
  })

  test("where it can't be, the verdict says so", () => {
    for (const none of [undefined, () => undefined]) {
      const verdict = decide({ proofs: [proof], consistency: none }, strict, seen(old.head))
      expect(verdict.code).toBe("ACCEPTED")
      expect(lineOf(verdict, "log history")?.outcome).toBe("warn")
    }
  })

  test("two trees of one size are a fork", () => {
    expect(decide({ proofs: [proof] }, strict, seen({ ...log.head, root: sha256(utf8("fork")) })).code).toBe(
      "LOG_FORKED",
    )
    expect(decide({ proofs: [proof] }, strict, seen(log.head)).code).toBe("ACCEPTED")
  })

  test("two proofs of one question can prove a fork by themselves", () => {
    const twin = new TestLog(log.origin, log.signer).append(entryOf(another)).fill(313, "other")
    const proofs = [proof, twin.proofFile(0, twin.checkpoint(both))]
    const verdict = ask({ policy: strict, envelopes: [envelope, another], trusted, log: { proofs } })
    expect(verdict.signatures.map(({ code }) => code)).toEqual(["ACCEPTED", "LOG_FORKED"])
  })

  test("a proof from an older tree than the one seen still counts, and must be of its history", () => {
    const older = new TestLog(log.origin, log.signer).append(...log.entries.slice(0, 100))
    const proofs = [older.proofFile(INDEX, older.checkpoint(both))]
    expect(decide({ proofs, consistency }, strict, seen(log.head)).code).toBe("ACCEPTED")
    const fork = new TestLog(log.origin, log.signer).append(entryOf(envelope)).fill(50, "other")
    const forked = [fork.proofFile(0, fork.checkpoint(both))]
    expect(decide({ proofs: forked, consistency }, strict, seen(log.head)).code).toBe("LOG_INCONSISTENT")
  })

  test("false consistency proofs are refused, hashes of another length among them", () => {
    const good = consistency(log.origin, old.head.size, log.head.size) as readonly Uint8Array[]
    const bad = [
      [],
      good.slice(1),
      [...good, good[0] as Uint8Array],
      [concat(...good)],
      good.map((hash) => hash.subarray(1)),
    ]
    for (const hashes of bad)
      expect(decide({ proofs: [proof], consistency: () => hashes }, strict, seen(old.head)).code).toBe(
        "LOG_INCONSISTENT",
      )
  })

  test("the newest checkpoint may not be smaller than one that was seen", () => {
    const newest = (head: Pick<TreeHead, "size" | "root">, log_: TestLog) =>
      decide({ proofs: [proof], checkpoints: [log_.checkpoint(both)], consistency }, relaxed, seen(head)).code
    expect(newest(log.head, old)).toBe("LOG_ROLLBACK")
    expect(newest(log.head, log)).toBe("ACCEPTED")
    expect(newest(old.head, log)).toBe("ACCEPTED")
    expect(newest({ ...log.head, root: sha256(utf8("fork")) }, log)).toBe("LOG_FORKED")
  })

  test.each([
    ["malformed", utf8("nothing"), "LOG_CHECKPOINT_INVALID"],
    ["forged", new TestLog(log.origin, forger).fill(1).checkpoint(both, log.head), "LOG_UNKNOWN"],
    ["of an empty tree with a root", log.checkpoint(both, { ...log.head, size: 0n }), "LOG_CHECKPOINT_INVALID"],
    ["of a log that nobody here knows", new TestLog("log.example.org").fill(1).checkpoint(), "ACCEPTED"],
    ["without its witnesses", log.checkpoint(), "ACCEPTED"],
    ["of the events", events.checkpoint(both), "ACCEPTED"],
  ])("a newest checkpoint that is %s", (_, bytes, code) => {
    expect(decide({ proofs: [proof], checkpoints: [bytes] }).code).toBe(code)
  })

  test("the state file keeps the largest tree of each log", () => {
    const evidence = { proofs: [proof], checkpoints: [events.checkpoint(both)], consistency }
    const { logs } = decide(evidence, strict, seen(old.head))
    const raised = raiseLogFloors(trusted.floors, logs)
    expect(raised.logs).toEqual(
      new Map([
        [events.origin, { size: 3n, root: events.head.root }],
        [log.origin, { size: 314n, root: log.head.root }],
      ]),
    )
    const read = parseState(encodeState(raised))
    expect(read).toEqual(raised)
    expect(raiseLogFloors(read, [{ origin: log.origin, size: "7", root: "00".repeat(32) }])).toEqual(read)
    expect(bundleWith(policyText, read).floors.logs).toEqual(raised.logs)
  })

  test("a state file from before logs still reads", () => {
    expect(parseState(encodeState(trusted.floors))).toEqual(trusted.floors)
    expect(utf8Decode(encodeState(trusted.floors))).not.toContain("logs")
    expect(raiseLogFloors(trusted.floors, [])).toBe(trusted.floors)
  })

  test.each([
    ["a size that is no decimal", { size: "1x", root: "00".repeat(32) }],
    ["a short root", { size: "1", root: "00" }],
  ])("a state file with %s is refused", (_, tree) => {
    const state = JSON.parse(utf8Decode(encodeState(trusted.floors)))
    expect(() => parseState(utf8(JSON.stringify({ ...state, logs: { x: tree } })))).toThrow()
  })
})

test("no publisher speaks for another's log, whatever origin it claims (R28)", () => {
  const theirs = new Deployment()
  const twin = new TestLog(log.origin).fill(1_000, "theirs")
  const change = (targets: Map<string, Uint8Array>) => {
    const json = JSON.parse(utf8Decode(targets.get("trust-bundle.json") as Uint8Array))
    json.log = { signatures: log.origin, events: events.origin, policy: twin.policy() }
    targets.set("trust-bundle.json", utf8(JSON.stringify(json)))
  }
  const foreign = theirs.opened(theirs.publish({ change }), { address: TUF_URL })
  const mine = { ...trusted, addressChecked: true }
  for (const both_ of [
    [foreign, mine],
    [mine, foreign],
  ]) {
    const evidence = { proofs: [proof], checkpoints: [twin.checkpoint(), log.checkpoint(both)] }
    const verdict = ask({ policy: strict, envelopes: [envelope], trusted: both_, log: evidence })
    expect(verdict.code).toBe("ACCEPTED")
    const ours_ = both_.indexOf(mine)
    expect(raiseLogFloors(trusted.floors, verdict.logs, ours_).logs?.get(log.origin)?.size).toBe(314n)
    expect(raiseLogFloors(foreign.floors, verdict.logs, 1 - ours_).logs?.get(log.origin)?.size).toBe(1_000n)
  }
})

test("a trust bundle's logs are written as they are read", () => {
  const json = trustBundleJson(trusted.trustBundle)
  expect(json.log).toEqual({ signatures: log.origin, events: events.origin, policy: policyText })
  expect(bare.trustBundle.log).toBeUndefined()
})
