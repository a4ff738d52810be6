/** Witnesses of a deployment: how they are named, what the sequencer shows with and without them, what deployers then accept. */
import { openCosign } from "@sealwright/adapters/witness"
import { setWitnesses } from "@sealwright/core/admin/witnesses"
import { auditOfDay } from "@sealwright/core/ledger/audit"
import { readLogCommit, readLogHead, readWitnessed } from "@sealwright/core/ledger/log"
import { readDeployment } from "@sealwright/core/ledger/trust"
import { newestTargets } from "@sealwright/core/ledger/tuf-documents"
import { askWitnessesAgain, sequence } from "@sealwright/core/log/flow"
import { readProofs } from "@sealwright/core/log/proof"
import { readLogsStatus } from "@sealwright/core/log/status"
import type { Cosign, Cosigned } from "@sealwright/core/log/witness"
import { propose } from "@sealwright/core/tuf/flow"
import { utf8, utf8Decode } from "@sealwright/formats/bytes"
import { encodeVkey, NOTE_TYPE, parseNote } from "@sealwright/formats/signed-note"
import { parseLogPolicy } from "@sealwright/formats/tlog-policy"
import { parseLogProof } from "@sealwright/formats/tlog-proof"
import { parseTrustBundle } from "@sealwright/formats/trust-bundle"
import { checkCheckpoint, type TrustedLogs, trustLogs } from "@sealwright/verifier/log-check"
import { runSync } from "@sealwright/verifier/node-crypto"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { isLocalRun } from "../../functions/http/settings.ts"
import { NoteSigner } from "../support/log.ts"
import { ADMIN, createService, signRequest } from "../support/service.ts"
import { newPerson, signAll } from "../support/tuf-people.ts"
import { FakeWitness } from "../support/witness.ts"

const ONE = new NoteSigner("w1.example", NOTE_TYPE.cosignature)
const TWO = new NoteSigner("w2.example", NOTE_TYPE.mlDsa44)
const ORIGIN = "sig.trust.wabbit-networks.io"

let service: ReturnType<typeof createService>
let one: FakeWitness
let two: FakeWitness
let urls: string[]
let rounds: Cosigned[]

beforeEach(async () => {
  rounds = []
  const asked: { cosign?: Cosign } = {}
  service = createService({
    cosign: async (policy, request) => {
      const round = await asked.cosign?.(policy, request)
      if (round === undefined) throw new Error("not yet")
      rounds.push(round)
      return round
    },
  })
  asked.cosign = openCosign(service.ports.clock, runSync, true)
  await service.setUp()
  await service.profile("release")
  one = new FakeWitness(ONE)
  two = new FakeWitness(TWO)
  urls = []
  const { log } = await readDeployment(service.ports.table)
  for (const witness of [one, two]) {
    witness.clock = service.ports.clock
    for (const { origin, key } of Object.values(log ?? {})) witness.logs.set(origin, key.spki.subarray(-32))
    urls.push(await witness.listen())
  }
})
afterEach(async () => {
  await one.close()
  await two.close()
})

const given = (quorum = "all") =>
  [
    `witness one ${ONE.vkey} ${urls[0]}`,
    `witness two ${TWO.vkey} ${urls[1]}`,
    ...(quorum === "none" ? [] : [`group enough ${quorum} one two`]),
    `quorum ${quorum === "none" ? "none" : "enough"}`,
    "",
  ].join("\n")
const name = (text: string) => setWitnesses(service.ports, text, ADMIN, true)
const standing = async () => {
  const document = await newestTargets(service.ports.table)
  return { version: document?.version, policy: parseTrustBundle(document?.trustBundle ?? utf8("")).log?.policy ?? "" }
}

async function log(seed: string): Promise<string> {
  service.pass(1)
  const [settled] = await service.signer()(signRequest([seed], { idempotencyKey: seed }))
  if (settled === undefined || !("signed" in settled)) throw new Error("not signed")
  await sequence(service.ports, "signatures")
  return settled.signed.id
}

const shown = async () =>
  (await service.ports.objects.get("log/signatures/checkpoint", 65_536))?.bytes ?? new Uint8Array(0)
const lines = (note: Uint8Array) => parseNote(note).signatures.map((line) => line.name)

/** As deployers do who have the published policy. */
async function judged(note: Uint8Array) {
  const trusted = runSync(trustLogs(parseLogPolicy(utf8((await standing()).policy)))) as TrustedLogs
  return runSync(checkCheckpoint(note, trusted, [ORIGIN], service.ports.clock()))
}

async function proofOf(id: string): Promise<Uint8Array> {
  const record = { id, envelopes: [{ format: "notary-jws", mediaType: "", bytes: new Uint8Array(0) }] } as const
  const [proof] = await readProofs(service.ports.table, record)
  return parseLogProof(utf8(proof?.text ?? "")).checkpoint
}

describe("naming witnesses (R30)", () => {
  test("their keys and the quorum join the trust bundle, their addresses do not; the change is audited and an event", async () => {
    const before = await standing()
    service.pass(1)
    await name(`# ours\n${given("2")}`)
    const { version, policy } = await standing()
    expect(version).toBe((before.version ?? 0) + 1)
    expect(policy).toBe(
      before.policy.replace(
        "quorum none\n",
        `witness one ${ONE.vkey}\nwitness two ${TWO.vkey}\ngroup enough 2 one two\nquorum enough\n`,
      ),
    )
    expect(policy).not.toContain("127.0.0.1")
    const { entries } = await auditOfDay(service.ports.table, "2026-11-21", { limit: 100 })
    expect(entries.at(-1)).toMatchObject({ action: "log.witnesses", target: ORIGIN, principal: ADMIN.principal })
    const { items } = await service.ports.table.query("inbox#events")
    const events = items.flatMap(({ leaves }) => (leaves as Uint8Array[]).map((leaf) => JSON.parse(utf8Decode(leaf))))
    expect(events.slice(-2)).toMatchObject([
      {
        kind: "roots",
        witnesses: [`witness one ${ONE.vkey}`, `witness two ${TWO.vkey}`, "group enough 2 one two", "quorum enough"],
      },
      { kind: "tuf", role: "targets" },
    ])
  })

  test("again is no change; another address is none of the trust bundle; nobody any more takes them out", async () => {
    const before = await standing()
    await name(given())
    const { version, policy } = await standing()
    const { version: deployment } = await readDeployment(service.ports.table)
    expect((await name(given())).version).toBe(deployment)
    expect((await standing()).version).toBe(version)
    await name(given().replace(urls[0] as string, "https://elsewhere.example/"))
    expect(await standing()).toEqual({ version, policy })
    expect((await readDeployment(service.ports.table)).witnesses).toContain("https://elsewhere.example/")
    await name("")
    expect((await standing()).policy).toBe(before.policy)
    expect((await readDeployment(service.ports.table)).witnesses).toBeUndefined()
  })

  test("the machine itself over plain http is a witness of a run on one machine alone", async () => {
    await expect(setWitnesses(service.ports, given(), ADMIN, false)).rejects.toMatchObject({
      code: "LOG_WITNESSES_MALFORMED",
    })
    expect((await readDeployment(service.ports.table)).witnesses).toBeUndefined()
  })

  test.each([
    [{}, false],
    [{ AWS_ENDPOINT_URL_DYNAMODB: "https://dynamodb.eu-central-1.amazonaws.com" }, false],
    [{ AWS_ENDPOINT_URL_DYNAMODB: "no address" }, false],
    [{ AWS_ENDPOINT_URL_DYNAMODB: "http://127.0.0.1:4566" }, true],
    [{ AWS_ENDPOINT_URL: "http://localhost:4566" }, true],
  ])("a run on one machine is told by its table's address: %j is %s", (env, local) => {
    expect(isLocalRun(env)).toBe(local)
  })

  test("log lines may stand there when they are ours", async () => {
    await name(`${(await standing()).policy.replace("quorum none\n", "")}${given()}`)
    expect((await standing()).policy).toContain("witness two")
  })

  test.each<[string, (text: string) => string]>([
    ["a log of others", (text) => `log ${new NoteSigner("sig.example").vkey}\n${text}`],
    ["our name with another key", (text) => `log ${new NoteSigner(ORIGIN).vkey}\n${text}`],
    ["no address", (text) => text.replace(/ http\S+/, "")],
    ["plain http", (text) => text.replace(/http:\S+/, "http://w.example/")],
    ["an IP address", (text) => text.replace(/http:\S+/, "https://169.254.169.254/")],
    ["a password in the address", (text) => text.replace(/http:\S+/, "https://a:b@w.example/")],
    ["a long address", (text) => text.replace(/http:\S+/, `https://w.example/${"a".repeat(512)}`)],
    ["no quorum", (text) => text.replace(/quorum.*\n/, "")],
    ["an unknown line", (text) => `threshold 1\n${text}`],
    ["a key with another id", (text) => text.replace(/\+[0-9a-f]{8}\+/, "+00000000+")],
    ["a key of a type that no witness has", (text) => text.replace(ONE.vkey, new NoteSigner("w1.example").vkey)],
    ["much text", (text) => `${"#".repeat(65_536)}\n${text}`],
    [
      "many witnesses",
      (text) =>
        Array.from({ length: 16 }, (_, i) => new NoteSigner(`m${i}.example`, NOTE_TYPE.cosignature))
          .map(({ vkey }, i) => `witness m${i} ${vkey} https://m.example/\n`)
          .join("") + text,
    ],
  ])("refused: %s", async (_, change) => {
    const before = await standing()
    await expect(name(change(given()))).rejects.toMatchObject({ code: "LOG_WITNESSES_MALFORMED" })
    expect(await standing()).toEqual(before)
  })

  test("a log is no witness of itself", async () => {
    const { key } = parseLogPolicy(utf8((await standing()).policy)).logs[0] ?? {}
    if (key === undefined) throw new Error("no log")
    const own = { ...key, type: NOTE_TYPE.cosignature }
    await expect(name(given().replace(ONE.vkey, encodeVkey(own)))).rejects.toMatchObject({
      code: "LOG_WITNESSES_MALFORMED",
    })
  })

  test("where people sign TUF targets, the act waits for them and is done when it is asked for again (R29)", async () => {
    const ann = await newPerson(service, "ann")
    const wish = { role: "targets", keys: ["service", "ann"], threshold: 2, days: undefined } as const
    await propose(service.ports, wish, ADMIN).catch(() => undefined)
    await signAll(service, ann)
    await expect(name(given())).rejects.toMatchObject({ code: "TUF_SIGNATURES_PENDING" })
    expect((await readDeployment(service.ports.table)).witnesses).toBeUndefined()
    await signAll(service, ann)
    await name(given())
    expect((await readDeployment(service.ports.table)).witnesses).toContain("quorum enough")
  })
})

describe("a checkpoint with witnesses (R30)", () => {
  test("both cosign it, deployers' quorum is met, and the proof has their lines", async () => {
    await name(given())
    const id = await log("one")
    expect(rounds).toMatchObject([{ failures: [] }])
    expect(await judged(await shown())).toMatchObject({ ok: true, witnessedAt: service.ports.clock() })
    expect(await proofOf(id)).toEqual(await shown())
    const { logs, witnesses } = await readLogsStatus(
      service.ports.table,
      service.ports.digest,
      await readDeployment(service.ports.table),
    )
    expect(logs[0]).toMatchObject({ cosigned: { names: ["one", "two"], quorum: true } })
    expect(witnesses.map(({ url }) => logs[0]?.witnessed.get(url ?? ""))).toEqual([1n, 1n])
  })

  test("the next one is proven from what they have seen, over the bucket's tiles", async () => {
    await name(given())
    for (const seed of ["a", "b", "c"]) await log(seed)
    expect(rounds.flatMap(({ failures }) => failures)).toEqual([])
    expect(one.requests.map((body) => body.split("\n")[0])).toEqual(["old 0", "old 1", "old 2"])
  })

  test("lost or old memory costs a round trip (409), also from a size of tiles that are long full", async () => {
    await name(given())
    await log("first")
    const leaves = Array.from({ length: 700 }, (_, i) => utf8(`"${i}"`))
    await service.ports.table.transact([
      { put: { pk: "inbox#events", sk: "0".repeat(26), leaves: leaves.slice(0, 300) } },
    ])
    await sequence(service.ports, "events")
    await service.ports.table.transact([{ delete: { pk: "log", sk: "witnessed#events" } }])
    await service.ports.table.transact([{ put: { pk: "inbox#events", sk: "0".repeat(26), leaves } }])
    one.requests.length = 0
    await sequence(service.ports, "events")
    expect(rounds.at(-1)).toMatchObject({ failures: [] })
    expect(one.requests.map((body) => body.split("\n")[0])).toEqual(["old 0", expect.stringMatching(/^old 3\d\d$/)])
    const { size } = await readLogHead(service.ports.table, "events")
    expect([...(await readWitnessed(service.ports.table, "events")).values()]).toEqual([size, size])
  })

  test("a memory of a larger tree than the log's is told, and not kept", async () => {
    await name(given())
    await log("first")
    await service.ports.table.transact([
      { update: { pk: "log", sk: "witnessed#signatures" }, set: { sizes: { [urls[0] as string]: 9 } } },
    ])
    await log("second")
    expect(rounds.at(-1)?.failures).toMatchObject([{ witness: urls[0], code: "WITNESS_AHEAD" }])
    expect(lines(await shown())).toEqual([ORIGIN, "w2.example"])
    await log("third")
    expect(rounds.at(-1)?.failures).toEqual([])
    expect(lines(await shown())).toEqual([ORIGIN, "w1.example", "w2.example"])
  })

  test("a damaged memory is none", async () => {
    await name(given())
    for (const sizes of [
      "x",
      [1],
      { [urls[0] as string]: -1 },
      { [urls[0] as string]: 0.5 },
      { [urls[0] as string]: "1" },
    ]) {
      await service.ports.table.transact([{ update: { pk: "log", sk: "witnessed#signatures" }, set: { sizes } }])
      await log(JSON.stringify(sizes))
      expect(rounds.at(-1)?.failures).toEqual([])
    }
  })

  test.each<[string, (witness: FakeWitness) => unknown, string]>([
    ["slow", (witness) => (witness.misbehave = () => undefined), "WITNESS_LATE"],
    ["gone", (witness) => witness.close(), "WITNESS_UNREACHABLE"],
    ["in trouble", (witness) => (witness.misbehave = (_, reply) => reply.writeHead(500).end()), "WITNESS_REFUSED"],
    [
      "with another key",
      (witness) => {
        const other = new FakeWitness(new NoteSigner("w1.example", NOTE_TYPE.cosignature))
        other.clock = witness.clock
        Object.assign(witness, { signers: other.signers })
      },
      "WITNESS_ANSWER_INVALID",
    ],
    ["that knows no such log", (witness) => witness.logs.clear(), "WITNESS_LOG_UNKNOWN"],
  ])("one that is %s holds nothing up: the checkpoint goes out without its line", async (_, spoil, code) => {
    await name(given())
    await spoil(one)
    const begun = performance.now()
    const id = await log("one")
    expect(performance.now() - begun).toBeLessThan(4_000)
    expect(rounds).toMatchObject([{ failures: [{ witness: urls[0], code }] }])
    expect(lines(await shown())).toEqual([ORIGIN, "w2.example"])
    expect(await judged(await shown())).toMatchObject({ ok: false, code: "LOG_WITNESSES_MISSING" })
    expect(await proofOf(id)).toEqual(await shown())
    expect(await readLogHead(service.ports.table, "signatures")).toMatchObject({ state: "published", size: 1n })
  })

  test("a note of another tree in the table's place is not shown", async () => {
    await name(given())
    await log("one")
    const other = await shown()
    two.misbehave = (_, reply) => void reply.writeHead(503).end()
    await log("two")
    const before = await shown()
    const { items } = await service.ports.table.query("log-epochs#signatures")
    const found = items.find(({ epoch }) => epoch === 2)
    if (found === undefined) throw new Error("no epoch")
    await service.ports.table.transact([{ update: { pk: found.pk, sk: found.sk }, set: { shown: other } }])
    await expect(askWitnessesAgain(service.ports, "signatures")).rejects.toMatchObject({ code: "LOG_UNVERIFIED" })
    expect(await shown()).toEqual(before)
  })

  test("none is asked where none is named, and nothing of it is written", async () => {
    await log("one")
    expect(lines(await shown())).toEqual([ORIGIN])
    expect((await readLogCommit(service.ports.table, "signatures", 1))?.shown).toBeUndefined()
    await askWitnessesAgain(service.ports, "signatures")
    expect(rounds).toEqual([])
  })

  test("a stored policy that can't be used stops nothing", async () => {
    await name(given())
    await service.ports.table.transact([
      { update: { pk: "deployment", sk: "deployment" }, set: { witnesses: "witness\n" } },
    ])
    await log("one")
    expect(rounds).toMatchObject([{ failures: [{ code: "POLICY_UNUSABLE" }] }])
    expect(lines(await shown())).toEqual([ORIGIN])
    await askWitnessesAgain(service.ports, "signatures")
    expect(rounds).toHaveLength(1)
  })
})

describe("a standing checkpoint whose quorum was missed (R30)", () => {
  test("is cosigned later: its lines stay, others are added, and its proofs have them then", async () => {
    await name(given())
    two.misbehave = (_, reply) => void reply.writeHead(503).end()
    const id = await log("one")
    const before = await shown()
    await askWitnessesAgain(service.ports, "signatures")
    expect(await shown()).toEqual(before)
    two.misbehave = undefined
    await askWitnessesAgain(service.ports, "signatures")
    expect(parseNote(await shown()).text).toBe(parseNote(before).text)
    expect(parseNote(await shown()).signatures).toEqual(expect.arrayContaining([...parseNote(before).signatures]))
    expect(lines(await shown())).toEqual([ORIGIN, "w1.example", "w2.example"])
    expect(await judged(await shown())).toMatchObject({ ok: true })
    expect(await proofOf(id)).toEqual(await shown())
    expect(rounds).toHaveLength(3)
    await askWitnessesAgain(service.ports, "signatures")
    expect(rounds).toHaveLength(3)
  })

  test("one from before there were witnesses is cosigned too", async () => {
    const id = await log("one")
    await name(given())
    expect(await judged(await proofOf(id))).toMatchObject({ ok: false, code: "LOG_WITNESSES_MISSING" })
    await askWitnessesAgain(service.ports, "signatures")
    expect(await judged(await proofOf(id))).toMatchObject({ ok: true })
  })

  test("two at once lose no line of what either stored", async () => {
    await name(given("none").replace("quorum none", "group enough all one two\nquorum enough"))
    one.misbehave = (_, reply) => void reply.writeHead(503).end()
    two.misbehave = (_, reply) => void reply.writeHead(503).end()
    await log("one")
    one.misbehave = undefined
    two.misbehave = undefined
    await Promise.all([1, 2, 3].map(() => askWitnessesAgain(service.ports, "signatures")))
    const stored = await readLogCommit(service.ports.table, "signatures", 1)
    expect(stored?.shown).toEqual({ bytes: await shown(), revision: 2 })
    expect(await judged(await shown())).toMatchObject({ ok: true })
  })
})
