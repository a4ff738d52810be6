import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { openCosign, postToWitness } from "@sealwright/adapters/witness"
import { setWitnesses } from "@sealwright/core/admin/witnesses"
import { readDeployment } from "@sealwright/core/ledger/trust"
import { newestTargets } from "@sealwright/core/ledger/tuf-documents"
import { sequence } from "@sealwright/core/log/flow"
import { logSigners } from "@sealwright/core/log/origin"
import type { Cosigned } from "@sealwright/core/log/witness"
import { utf8, utf8Decode } from "@sealwright/formats/bytes"
import { parseCheckpoint } from "@sealwright/formats/checkpoint"
import { encodeVkey, type NoteKey, parseNote } from "@sealwright/formats/signed-note"
import { parseLogPolicy } from "@sealwright/formats/tlog-policy"
import { encodeAddCheckpoint } from "@sealwright/formats/tlog-witness"
import { parseTrustBundle } from "@sealwright/formats/trust-bundle"
import { checkCheckpoint, type TrustedLogs, trustLogs } from "@sealwright/verifier/log-check"
import { runSync } from "@sealwright/verifier/node-crypto"
import { afterAll, beforeAll, expect, test } from "vitest"
import { consistencyFrom } from "../../packages/cli/src/log-files.ts"
import { run, withClients } from "../support/clients.ts"
import { type Running, startServer } from "../support/processes.ts"
import { ADMIN, createService, signRequest } from "../support/service.ts"
import { flip, logFiles, withRoot } from "./logged.ts"

const NAME = "witness.example/one"

withClients("R30: a witness that is not ours cosigns our log", ["aics-witness"], (witness) => {
  const work = mkdtempSync(join(tmpdir(), "sealwright-witness-"))
  const rounds: Cosigned[] = []
  const service = createService({
    cosign: async (policy, request) => {
      const round = await openCosign(service.ports.clock, runSync, true)(policy, request)
      rounds.push(round)
      return round
    },
  })
  let running: Running
  let origin: string
  let vkey: string

  /** Under the machine's time, since that is the witness's. */
  const keepTime = () => service.pass(Math.ceil((Date.now() - service.ports.clock().getTime()) / 1000))
  const command = (...args: string[]) => run(witness, [...args, "--config", "witness.json"], { HOME: work }, work)

  const serve = (port: number) => ["serve", "--listen", `127.0.0.1:${port}`, "--config", "witness.json"]

  const log = async (count: number): Promise<Uint8Array> => {
    keepTime()
    const seeds = Array.from({ length: count }, (_, i) => `${rounds.length}-${i}`)
    await service.signer()(signRequest(seeds))
    await sequence(service.ports, "signatures")
    return (await service.ports.objects.get("log/signatures/checkpoint", 65_536))?.bytes as Uint8Array
  }
  const sizeOf = (note: Uint8Array) => parseCheckpoint(parseNote(note).text).size
  /** As a deployer sees it who has the published policy, with the quorum in it. */
  const judged = async (note: Uint8Array) => {
    const { trustBundle } = (await newestTargets(service.ports.table)) ?? {}
    const policy = parseTrustBundle(trustBundle ?? utf8("")).log?.policy ?? ""
    const trusted = runSync(trustLogs(parseLogPolicy(utf8(policy)))) as TrustedLogs
    return runSync(checkCheckpoint(note, trusted, [origin], service.ports.clock()))
  }
  const ask = (old: bigint, proof: readonly Uint8Array[], checkpoint: Uint8Array) =>
    postToWitness(
      `${running.url}/add-checkpoint`,
      encodeAddCheckpoint({ old, proof, checkpoint }),
      65_536,
      AbortSignal.timeout(5_000),
    )

  beforeAll(async () => {
    keepTime()
    await service.setUp()
    await service.profile("release")
    const made = await command("init", "--name", NAME)
    vkey = made.stdout.trim()
    const { log: logs } = await readDeployment(service.ports.table)
    if (logs === undefined) throw new Error("no log")
    origin = logs.signatures.origin
    const key = logSigners(service.ports.digest, logs.signatures)[0]?.note as NoteKey
    const added = await command("add-log", "--origin", origin, "--vkey", encodeVkey(key))
    if (made.status !== 0 || added.status !== 0) throw new Error(`${made.stderr}${added.stderr}`)
    running = await startServer(witness, serve, { cwd: work })
    const policy = `witness one ${vkey} ${running.url}\ngroup enough 1 one\nquorum enough\n`
    await setWitnesses(service.ports, policy, ADMIN, true)
  }, 120_000)

  afterAll(async () => {
    await running?.stop()
    rmSync(work, { recursive: true, force: true })
  })

  test("each checkpoint, from the first on, so that the quorum is met", async () => {
    for (const count of [1, 60, 80, 80, 70]) {
      const note = await log(count)
      expect(rounds.at(-1)).toMatchObject({ failures: [], signatures: [{ name: NAME }] })
      expect(parseNote(note).signatures.map(({ name }) => name)).toEqual([origin, NAME])
      expect(await judged(note)).toMatchObject({
        ok: true,
        head: { size: sizeOf(note) },
        witnesses: new Map([["one", expect.any(Date)]]),
      })
    }
  }, 60_000)

  test("and none that does not continue the last, is not signed by us, or is smaller; and says which size it has", async () => {
    const first = await log(40)
    const size = sizeOf(first)
    await running.stop()
    const next = await log(40)
    expect(parseNote(next).signatures.map(({ name }) => name)).toEqual([origin])
    expect(rounds.at(-1)).toMatchObject({ failures: [{ code: "WITNESS_UNREACHABLE" }], signatures: [] })
    running = await startServer(witness, serve, { cwd: work })
    const files = logFiles(service)
    const proof = consistencyFrom((path) => files.get(path), sizeOf(next), size, sizeOf(next)) ?? []
    expect(proof.length).toBeGreaterThan(1)
    const wrong = proof.map((hash, i) => (i === 0 ? flip(hash, 3) : hash))
    expect(await ask(size, wrong, next)).toMatchObject({ status: 422 })
    expect(await ask(size, proof.slice(1), next)).toMatchObject({ status: 422 })
    expect(await ask(size, proof, withRoot(next))).toMatchObject({ status: 403 })
    const behind = await ask(1n, [], next)
    expect(behind).toMatchObject({ status: 409, contentType: "text/x.tlog.size" })
    expect(utf8Decode(behind.body)).toBe(`${size}\n`)
    expect(await ask(sizeOf(next), [], first)).toMatchObject({ status: 400 })
    expect(await ask(size, proof, next)).toMatchObject({ status: 200 })
    expect(await ask(size, [], first)).toMatchObject({ status: 409 })
  }, 60_000)
})
