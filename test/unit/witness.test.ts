import { createLookup, openWitnesses, postToWitness } from "@sealwright/adapters/witness"
import {
  AddressRefused,
  type CosignRequest,
  createWitnesses,
  type WitnessCode,
  withCosignatures,
} from "@sealwright/core/log/witness"
import { utf8, utf8Decode } from "@sealwright/formats/bytes"
import { checkpointText } from "@sealwright/formats/checkpoint"
import { encodeNote, NOTE_TYPE, parseNote } from "@sealwright/formats/signed-note"
import { type LogPolicy, parseLogPolicy } from "@sealwright/formats/tlog-policy"
import { encodeAddCheckpoint, parseCosignatures, parseWitnessedSize } from "@sealwright/formats/tlog-witness"
import { checkCheckpoint, type TrustedLogs, trustLogs } from "@sealwright/verifier/log-check"
import { runSync } from "@sealwright/verifier/node-crypto"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { sha256 } from "../support/chains.ts"
import { NoteSigner, TestLog } from "../support/log.ts"
import { FakeWitness, type Misbehaviour } from "../support/witness.ts"

const log = new TestLog()
const ED = new NoteSigner("w1.example", NOTE_TYPE.cosignature)
const PQ = new NoteSigner("w1.example", NOTE_TYPE.mlDsa44)
const OTHER = new NoteSigner("w2.example", NOTE_TYPE.cosignature)
log.fill(20)

let one: FakeWitness
let two: FakeWitness
let addresses: string[]
let policy: LogPolicy

const policyFor = (first: string, second: string) =>
  parseLogPolicy(
    utf8(
      [
        `log ${log.signer.vkey}`,
        `witness one ${ED.vkey} ${first}`,
        `witness one-pq ${PQ.vkey} ${first}`,
        `witness two ${OTHER.vkey} ${second}`,
        "group enough all one one-pq two",
        "quorum enough",
        "",
      ].join("\n"),
    ),
  )

beforeEach(async () => {
  one = new FakeWitness(ED, PQ)
  two = new FakeWitness(OTHER)
  for (const witness of [one, two]) witness.logs.set(log.origin, log.signer.key.publicKey)
  addresses = [await one.listen(), await two.listen()]
  policy = policyFor(addresses[0] as string, addresses[1] as string)
})
afterEach(async () => {
  await one.close()
  await two.close()
})

const cosign = (request: Partial<CosignRequest> = {}) =>
  openWitnesses(policy, () => new Date(), runSync, true).cosign({
    note: log.checkpoint(),
    known: new Map(),
    proveFrom: (size) => log.tiles.consistencyProof(size),
    ...request,
  })
const known = (size: bigint) => new Map(addresses.map((address) => [address, size]))
const accepted = (note: Uint8Array) =>
  runSync(checkCheckpoint(note, runSync(trustLogs(policy)) as TrustedLogs, [log.origin], new Date()))

describe("asking witnesses (C2SP tlog-witness, R30)", () => {
  test("every key's cosignature comes back, and the checkpoint then meets its quorum", async () => {
    const note = log.checkpoint()
    const { signatures, seen, failures } = await cosign({ note })
    expect(failures).toEqual([])
    expect(signatures).toHaveLength(3)
    expect(seen).toEqual(known(log.head.size))
    expect(accepted(note)).toMatchObject({ ok: false, code: "LOG_WITNESSES_MISSING" })
    expect(accepted(withCosignatures(note, signatures))).toMatchObject({ ok: true })
  })

  test("what a witness has seen is the start of the next proof", async () => {
    const { seen } = await cosign()
    log.fill(300)
    const next = await cosign({ known: seen })
    expect(next).toMatchObject({ failures: [] })
    expect(next.signatures).toHaveLength(3)
    expect(one.requests).toHaveLength(2)
    expect(one.requests[1]).toMatch(/^old 20\n(?:[A-Za-z0-9+/]{43}=\n)+\nsig\.example\.test\n320\n/)
    log.fill(1)
    expect((await cosign({ known: next.seen })).failures).toEqual([])
  })

  test("the same checkpoint may be cosigned again", async () => {
    const { seen } = await cosign()
    expect((await cosign({ known: seen })).signatures).toHaveLength(3)
    expect(one.requests[1]).toMatch(/^old [0-9]+\n\n/)
  })

  test("a wrong memory costs one round trip (409)", async () => {
    await cosign()
    const { signatures, failures, seen } = await cosign({ known: known(3n) })
    expect(failures).toEqual([])
    expect(signatures).toHaveLength(3)
    expect(seen).toEqual(known(log.head.size))
    expect(one.requests).toHaveLength(3)
  })

  test("an empty log's checkpoint can be cosigned", async () => {
    const empty = new TestLog(log.origin, log.signer)
    expect(await cosign({ note: empty.checkpoint() })).toMatchObject({ failures: [], seen: known(0n) })
  })
})

/** Witness one does this, witness two behaves. */
async function failing(misbehave: Misbehaviour, request: Partial<CosignRequest> = {}) {
  one.misbehave = misbehave
  const result = await cosign(request)
  expect(result.signatures.map(({ name }) => name)).toContain("w2.example")
  expect(accepted(withCosignatures(log.checkpoint(), result.signatures))).not.toMatchObject({
    code: "LOG_CHECKPOINT_INVALID",
  })
  return result
}

const answer =
  (status: number, body: string | Uint8Array = "", headers = {}): Misbehaviour =>
  (_, reply) =>
    void reply.writeHead(status, headers).end(body)
const size = { "content-type": "text/x.tlog.size" }

describe("a witness that misbehaves holds nothing up (R30)", () => {
  test.each<[string, Misbehaviour, WitnessCode]>([
    ["403", answer(403), "WITNESS_KEY_UNKNOWN"],
    ["404", answer(404), "WITNESS_LOG_UNKNOWN"],
    ["422", answer(422), "WITNESS_INCONSISTENT"],
    ["400", answer(400), "WITNESS_REFUSED"],
    ["500", answer(500, "x"), "WITNESS_REFUSED"],
    ["204", answer(204), "WITNESS_REFUSED"],
    ["a redirection", answer(307, "", { location: "/prefix/add-checkpoint" }), "WITNESS_REFUSED"],
    ["a redirection to GET", answer(302, "", { location: "/" }), "WITNESS_REFUSED"],
    ["409 twice", answer(409, "7\n", size), "WITNESS_CONFLICT"],
    ["409 with a larger size", answer(409, "9999\n", size), "WITNESS_AHEAD"],
    ["409 without its media type", answer(409, "7\n"), "WITNESS_ANSWER_INVALID"],
    ["409 without a line end", answer(409, "7", size), "WITNESS_ANSWER_INVALID"],
    ["409 with a leading zero", answer(409, "07\n", size), "WITNESS_ANSWER_INVALID"],
    ["409 with a sign", answer(409, "-7\n", size), "WITNESS_ANSWER_INVALID"],
    ["409 with much text", answer(409, "9".repeat(60_000), size), "WITNESS_ANSWER_INVALID"],
    ["nothing", answer(200), "WITNESS_ANSWER_INVALID"],
    ["garbage", answer(200, "garbage\n"), "WITNESS_ANSWER_INVALID"],
    ["bytes that are no text", answer(200, new Uint8Array([0xff, 0x0a])), "WITNESS_ANSWER_INVALID"],
    ["a line without its end", answer(200, "\u2014 w1.example AAAAAAAA"), "WITNESS_ANSWER_INVALID"],
    ["more lines than a note has", answer(200, "\u2014 w1.example AAAAAAA=\n".repeat(101)), "WITNESS_ANSWER_INVALID"],
    ["more than 64 KiB", answer(200, "x".repeat(65_537)), "WITNESS_ANSWER_INVALID"],
    ["a broken connection", (_, reply) => void reply.destroy(), "WITNESS_UNREACHABLE"],
    [
      "half an answer",
      (_, reply) => {
        reply.writeHead(200, { "content-length": "100" }).write("half")
        setTimeout(() => reply.destroy(), 20)
      },
      "WITNESS_UNREACHABLE",
    ],
  ])("%s", async (_, misbehave, code) => {
    const { failures, signatures } = await failing(misbehave)
    expect(failures).toMatchObject([{ witness: addresses[0], code }])
    expect(signatures).toHaveLength(1)
  })

  test("endless bytes are cut off", async () => {
    const { failures } = await failing((_, reply) => {
      reply.writeHead(200)
      const more = () => void (reply.destroyed || reply.write("x".repeat(16_384), more))
      more()
    })
    expect(failures).toMatchObject([{ code: "WITNESS_ANSWER_INVALID" }])
  })

  test("what it signed of another tree, another log or without a time is not taken, and spoils no checkpoint", async () => {
    const line = (signer: NoteSigner, head = log.head, time = new Date()) =>
      utf8Decode(encodeNote({ text: checkpointText(head), signatures: [signer.sign(head, time)] })).split(
        "\n\n",
      )[1] as string
    const bad = [
      line(ED, { ...log.head, root: sha256(utf8("another")) }),
      line(ED, { ...log.head, size: 1n }),
      line(ED, { ...log.head, origin: "log.example" }),
      line(PQ, { ...log.head, origin: "log.example" }),
      line(ED, log.head, new Date(0)),
      line(ED, log.head, new Date(Date.now() + 3_600_000)),
      line(log.signer),
      line(new NoteSigner("w1.example", NOTE_TYPE.cosignature)),
    ]
    for (const body of bad) {
      const { failures, signatures, seen } = await failing(answer(200, body))
      expect(failures).toMatchObject([{ code: "WITNESS_ANSWER_INVALID" }])
      expect(signatures).toHaveLength(1)
      expect(seen.has(addresses[0] as string)).toBe(false)
    }
    const mixed = await failing(answer(200, `${bad[7]}${line(PQ)}${line(PQ)}`))
    expect(mixed.failures).toEqual([])
    expect(mixed.signatures).toHaveLength(2)
  })

  test("a slow one is not waited for beyond the deadline, whatever the others do", async () => {
    const begun = performance.now()
    const { failures } = await failing(() => undefined)
    expect(failures).toMatchObject([{ witness: addresses[0], code: "WITNESS_LATE" }])
    expect(performance.now() - begun).toBeLessThan(2_500)
  })

  test("the deadline holds for both round trips, and what was learned is kept", async () => {
    await cosign()
    log.fill(3)
    const { failures, seen } = await failing(
      (body, _, behave) => void (body.startsWith("old 0\n") ? behave() : undefined),
    )
    expect(failures).toMatchObject([{ code: "WITNESS_LATE" }])
    expect(seen.get(addresses[0] as string)).toBe(log.head.size - 3n)
  })

  test("a proof that can't be made, or never ends, ends in a failure too", async () => {
    await cosign()
    log.fill(1)
    const throwing = await cosign({
      known: known(log.head.size - 1n),
      proveFrom: () => {
        throw new RangeError("no tile")
      },
    })
    expect(throwing.failures.map(({ code }) => code)).toEqual(["PROOF_UNAVAILABLE", "PROOF_UNAVAILABLE"])
    const endless = await cosign({ known: known(log.head.size - 1n), proveFrom: () => new Promise(() => undefined) })
    expect(endless.failures.map(({ code }) => code)).toEqual(["WITNESS_LATE", "WITNESS_LATE"])
  })

  test("a log that went back is told by its own memory, and asks nobody", async () => {
    const { failures } = await cosign({ known: known(log.head.size + 1n) })
    expect(failures.map(({ code }) => code)).toEqual(["WITNESS_AHEAD", "WITNESS_AHEAD"])
    expect(one.requests).toEqual([])
  })

  test("a fork is refused by the witness", async () => {
    await cosign()
    const fork = new TestLog(log.origin, log.signer).fill(log.entries.length + 5, "other")
    const { failures, signatures } = await cosign({
      note: fork.checkpoint(),
      known: known(log.head.size),
      proveFrom: (from) => fork.tiles.consistencyProof(from),
    })
    expect(failures.map(({ code }) => code)).toEqual(["WITNESS_INCONSISTENT", "WITNESS_INCONSISTENT"])
    expect(signatures).toEqual([])
  })

  test.each([
    "http://witness.example/",
    "http://127.0.0.1.example/",
    "https://user:word@witness.example/",
    "https://witness.example/?a=b",
    "https://witness.example/#a",
    "ftp://127.0.0.1/",
    "file:///etc/passwd",
    "witness.example",
    "https://127.0.0.1/",
    "https://169.254.169.254/latest/meta-data",
    "https://0xa9fea9fe/",
    "https://2852039166/",
    "https://169.254.169.254./",
    "https://[fd00:ec2::254]/",
    "https://[::ffff:169.254.169.254]/",
    "https://203.0.113.7/",
    "http://169.254.169.254/",
    "http://localhost.example/",
  ])("the address %s is not asked", (address) => refusesToAsk(address, true))

  test.each(["http://127.0.0.1:9001/2018-06-01/runtime", "http://localhost:8080/", "http://[::1]/"])(
    "the address %s of the machine itself is not asked where the service is deployed",
    (address) => refusesToAsk(address, false),
  )

  async function refusesToAsk(address: string, local: boolean) {
    const asked: string[] = []
    const witnesses = createWitnesses(
      {
        post: async (url) => {
          asked.push(url)
          throw new Error("asked")
        },
        deadline: () => AbortSignal.timeout(1_000),
        clock: () => new Date(),
        run: runSync,
        local,
      },
      policyFor(address, "https://two.example/some/"),
    )
    const result = await witnesses.cosign({ note: log.checkpoint(), known: new Map(), proveFrom: () => [] })
    expect(result.failures).toMatchObject([
      { witness: address, code: "WITNESS_ADDRESS_REFUSED" },
      { code: "WITNESS_UNREACHABLE" },
    ])
    expect(asked).toEqual(["https://two.example/some/add-checkpoint"])
  }

  test("a name that leads to where no stranger lives is told so", async () => {
    const witnesses = createWitnesses(
      {
        post: () => Promise.reject(new AddressRefused("w leads to 169.254.169.254")),
        deadline: () => AbortSignal.timeout(1_000),
        clock: () => new Date(),
        run: runSync,
        local: false,
      },
      policyFor("https://one.example/", "https://two.example/"),
    )
    const { failures } = await witnesses.cosign({ note: log.checkpoint(), known: new Map(), proveFrom: () => [] })
    expect(failures.map(({ code }) => code)).toEqual(["WITNESS_ADDRESS_REFUSED", "WITNESS_ADDRESS_REFUSED"])
  })

  test("nobody listens", async () => {
    await one.close()
    expect((await cosign()).failures).toMatchObject([{ witness: addresses[0], code: "WITNESS_UNREACHABLE" }])
  })

  test("a checkpoint or policy that is none asks nobody and throws nothing", async () => {
    expect((await cosign({ note: utf8("none") })).failures).toMatchObject([{ witness: "", code: "POLICY_UNUSABLE" }])
    policy = {
      ...policy,
      witnesses: policy.witnesses.map((each) => ({ ...each, key: { ...each.key, keyId: "00000000" } })),
    }
    expect((await cosign()).failures).toMatchObject([{ witness: "", code: "POLICY_UNUSABLE" }])
    expect(one.requests).toEqual([])
  })

  test("witnesses without an address are not asked", async () => {
    policy = { ...policy, witnesses: policy.witnesses.map(({ name, key }) => ({ name, key })) }
    expect(await cosign()).toEqual({ signatures: [], seen: new Map(), failures: [] })
  })

  test("no proxy of the environment is asked", async () => {
    const before = process.env.HTTP_PROXY
    process.env.HTTP_PROXY = "http://127.0.0.1:9"
    process.env.NODE_USE_ENV_PROXY = "1"
    try {
      const reply = await postToWitness(`${addresses[0]}/elsewhere`, utf8("x"), 100, AbortSignal.timeout(5_000))
      expect(reply.status).toBe(405)
    } finally {
      if (before === undefined) delete process.env.HTTP_PROXY
      else process.env.HTTP_PROXY = before
      delete process.env.NODE_USE_ENV_PROXY
    }
  })
})

describe("addresses of a witness's name (R30)", () => {
  /** @returns what net.connect gets for the name */
  const found = (four: readonly string[] | undefined, six: readonly string[] | undefined, all = true) =>
    new Promise((resolve, reject) => {
      const answer = (addresses: readonly string[] | undefined) => async () => {
        if (addresses === undefined) throw new Error("ENODATA")
        return [...addresses]
      }
      const resolver = { resolve4: answer(four), resolve6: answer(six) } as unknown as Parameters<
        typeof createLookup
      >[0]
      createLookup(resolver)("w.example", { all }, (error, address, family) =>
        error === null ? resolve(all ? address : { address, family }) : reject(error),
      )
    })

  test("IPv4 comes first, IPv6 where there is nothing else", async () => {
    expect(await found(["203.0.113.7", "10.0.0.1"], ["2001:db8::1"])).toEqual([
      { address: "203.0.113.7", family: 4 },
      { address: "10.0.0.1", family: 4 },
    ])
    expect(await found(undefined, ["2001:db8::1"])).toEqual([{ address: "2001:db8::1", family: 6 }])
    expect(await found(["203.0.113.7"], undefined, false)).toEqual({ address: "203.0.113.7", family: 4 })
    await expect(found(undefined, undefined)).rejects.toThrow("ENODATA")
    await expect(found([], [])).rejects.toThrow("no address")
  })

  test("strangers' names are not looked up on the threads of the system's own look-ups", async () => {
    const asked = postToWitness("https://witness.invalid/x", utf8("x"), 100, AbortSignal.timeout(10_000))
    await expect(asked).rejects.toMatchObject({ syscall: expect.stringMatching(/^query/) })
  })

  test.each([
    ["127.0.0.1", 4],
    ["127.8.8.8", 4],
    ["0.0.0.0", 4],
    ["169.254.169.254", 4],
    ["169.254.170.2", 4],
    ["::", 6],
    ["::1", 6],
    ["fe80::1", 6],
    ["febf::1", 6],
    ["fd00:ec2::254", 6],
    ["::ffff:169.254.169.254", 6],
    ["::ffff:7f00:1", 6],
  ])("%s is refused, and so is whatever else the name has", async (address, family) => {
    const lookup = family === 4 ? found(["203.0.113.7", address], undefined) : found([], ["2001:db8::1", address])
    await expect(lookup).rejects.toBeInstanceOf(AddressRefused)
  })
})

describe("bytes of the protocol (C2SP tlog-witness)", () => {
  test("a request is an old size, a proof, an empty line and the checkpoint", () => {
    const proof = [new Uint8Array(32), new Uint8Array(32).fill(1)]
    expect(utf8Decode(encodeAddCheckpoint({ old: 7n, proof, checkpoint: utf8("note\n") }))).toBe(
      "old 7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\nAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n\nnote\n",
    )
    expect(utf8Decode(encodeAddCheckpoint({ old: 0n, proof: [], checkpoint: utf8("note\n") }))).toBe("old 0\n\nnote\n")
    const long = Array.from({ length: 64 }, () => new Uint8Array(32))
    expect(() => encodeAddCheckpoint({ old: 1n, proof: long, checkpoint: utf8("n") })).toThrow(
      expect.objectContaining({ code: "TOO_LARGE" }),
    )
  })

  test("the specification's example answer is read", () => {
    const lines =
      "— witness.example/w1 CMp+6LWBU0anHGH5aNDTJkH/gj79sG+T6+iP2ThYN5krrDJbR1HDnucjL39QsZTSvVjyQLrdk3DXDqI5G2HgLatVs0pWh6Up69HVOw==\n" +
      "— witness.example/w2 AWui8Sk55XjYLOijihBjhqEH6nS1ndDymE0a+6idX7pLcnoB+dhnz0854aLZgrrKbYKA7nC3HNJhm/kWl7oJlqU3rXXvpysAdyP3wQ==\n"
    expect(parseCosignatures(utf8(lines)).map(({ name }) => name)).toEqual(["witness.example/w1", "witness.example/w2"])
    expect(parseWitnessedSize(utf8("20852014\n"))).toBe(20852014n)
  })

  test("cosignatures are added as far as a note may grow, and no key's twice", () => {
    const note = log.checkpoint()
    const lines = Array.from({ length: 30 }, (_, i) =>
      new NoteSigner(`w${i}`, NOTE_TYPE.mlDsa44).sign(log.head, new Date()),
    )
    const grown = withCosignatures(note, [...lines, ED.sign(log.head, new Date())])
    expect(grown.length).toBeLessThanOrEqual(65_536)
    const names = parseNote(grown).signatures.map(({ name }) => name)
    expect(names.slice(0, 2)).toEqual([log.origin, "w1.example"])
    expect(names.length).toBeGreaterThan(15)
    expect(withCosignatures(grown, [ED.sign(log.head, new Date())])).toEqual(grown)
  })
})
