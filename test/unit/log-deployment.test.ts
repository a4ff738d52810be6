/** The whole way: a deployment signs, its sequencer logs, a deployer verifies from what is published, with witnesses of its own. */
import { digest } from "@sealwright/adapters/platform"
import { createIssuer, holdCeremony } from "@sealwright/core/admin/ceremony"
import { addRoot } from "@sealwright/core/admin/roots"
import { findLogged, readLogCommit } from "@sealwright/core/ledger/log"
import { leavesOfRecord } from "@sealwright/core/log/entry"
import { sequence } from "@sealwright/core/log/flow"
import { utf8 } from "@sealwright/formats/bytes"
import { parseNotaryJws, parseX5c } from "@sealwright/formats/notary-jws"
import { MAX_NOTE_BYTES } from "@sealwright/formats/signed-note"
import { encodeLogProof } from "@sealwright/formats/tlog-proof"
import type { OpenedBundle } from "@sealwright/verifier/bundle"
import type { LogEvidence } from "@sealwright/verifier/log-proof"
import { logEntryOf } from "@sealwright/verifier/log-proof"
import { runSync } from "@sealwright/verifier/node-crypto"
import { loadTrustPolicy } from "@sealwright/verifier/trust-policy"
import { verify } from "@sealwright/verifier/verify"
import { expect, test } from "vitest"
import { logsIn } from "../../packages/cli/src/log-files.ts"
import { ADMIN, createService, NAMES, signRequest } from "../support/service.ts"
import { openShown } from "../support/verdicts.ts"

type Service = ReturnType<typeof createService>

async function signed(service: Service, name: string) {
  const [settled] = await service.signer()(signRequest([name]))
  if (settled === undefined || !("signed" in settled)) throw new Error("not signed")
  return settled.signed
}

async function proofsOf({ ports }: Service, id: string): Promise<Uint8Array[]> {
  const logged = await findLogged(ports.table, id)
  const commit = await readLogCommit(ports.table, "signatures", logged?.epoch ?? 0)
  const checkpoint = commit?.note
  if (logged === undefined || checkpoint === undefined) throw new Error("not logged")
  return logged.proofs.map((hashes, i) => encodeLogProof({ index: logged.index + BigInt(i), hashes, checkpoint }))
}

/** Files as a mirror of the bucket has them. */
const published = (service: Service) => (path: string) => service.memory.objects.dump().get(path)?.bytes

function decide(
  service: Service,
  digestText: string,
  envelopes: readonly Uint8Array[],
  log: LogEvidence,
  trusted: OpenedBundle,
) {
  const trustPolicy = {
    trustStore: [{ trustedRoots: [{ root: NAMES.tufUrl }] }],
    trustedIdentities: [`release@${NAMES.identityHost}`],
    requireLog: true,
  }
  const loaded = loadTrustPolicy(utf8(JSON.stringify({ trustPolicy })), () => undefined)
  if (!loaded.ok) throw new Error(loaded.detail)
  const reference = "registry.wabbit-networks.io/net-monitor:v1"
  const now = service.ports.clock()
  return runSync(
    verify({ artifact: { digest: digestText }, envelopes, policy: loaded.policy, trusted, now, reference, log }),
  )
}

test("what the sequencer logs, a deployer that requires the log accepts, and follows (R28, R30)", async () => {
  const service = createService()
  await service.setUp()
  await service.profile("release")
  const first = await signed(service, "one")
  await sequence(service.ports, "signatures")
  await service.publish()
  const read = published(service)
  expect(read("log/signatures/checkpoint")?.length).toBeLessThan(MAX_NOTE_BYTES)
  const envelopes = first.envelopes.map(({ bytes }) => bytes)
  const trusted = openShown(service)
  const proofs = await proofsOf(service, first.id)
  const digestText = first.subject.digest
  expect(decide(service, digestText, envelopes, { proofs, ...logsIn(read) }, trusted)).toMatchObject({
    code: "ACCEPTED",
    signatures: [{ log: { index: "0", size: "1" } }],
    logs: [{ size: "1" }],
  })
  expect(decide(service, digestText, envelopes, logsIn(read), trusted).code).toBe("LOG_PROOF_MISSING")

  for (let i = 0; i < 5; i++) await signed(service, `more ${i}`)
  await sequence(service.ports, "signatures")
  const second = await signed(service, "last")
  await sequence(service.ports, "signatures")
  const seen = new Map([[trusted.trustBundle.log?.signatures ?? "", { size: 1n, root: digest("sha256", utf8("\0")) }]])
  const evidence = { proofs: await proofsOf(service, second.id), ...logsIn(read) }
  const later = decide(
    service,
    second.subject.digest,
    second.envelopes.map(({ bytes }) => bytes),
    evidence,
    trusted,
  )
  expect(later).toMatchObject({ code: "ACCEPTED", logs: [{ size: "7" }] })
  expect(later.checks.some(({ check }) => check === "log history")).toBe(false)
  const forked = { ...trusted, floors: { ...trusted.floors, logs: seen } }
  expect(
    decide(
      service,
      second.subject.digest,
      second.envelopes.map(({ bytes }) => bytes),
      evidence,
      forked,
    ).code,
  ).toBe("LOG_INCONSISTENT")
})

test("verifier and sequencer build the same entry, under every algorithm of an act (R19, R30)", async () => {
  const service = createService()
  await service.setUp()
  await addRoot(service.ports, { algorithm: "ml-dsa-65", generation: 1, rootYears: 10 }, ADMIN)
  await createIssuer(service.ports, { name: "pq", algorithm: "ml-dsa-65", days: 100 }, ADMIN)
  await service.profile("release", { extraIssuer: "pq" })
  const record = await signed(service, "one")
  const built = record.envelopes.map(({ bytes }) => {
    const jws = parseNotaryJws(bytes)
    return runSync(logEntryOf(jws, parseX5c(jws.x5c[0] ?? "")))
  })
  expect(built).toEqual(leavesOfRecord(digest, record))
  await sequence(service.ports, "signatures")
  await service.publish()
  const evidence = { proofs: await proofsOf(service, record.id) }
  const envelopes = record.envelopes.map(({ bytes }) => bytes)
  const { signatures } = decide(service, record.subject.digest, envelopes, evidence, openShown(service))
  expect(signatures.map(({ log }) => log?.index)).toEqual(["0", "1"])
})

test("a log with a cosigner of its own under ML-DSA-44 is accepted", async () => {
  const service = createService()
  await service.setUp()
  await holdCeremony(
    service.ports,
    { ...NAMES, algorithm: "ecdsa-p256-sha256", rootYears: 10, logCosigner: true },
    ADMIN,
  )
  await service.profile("release")
  const record = await signed(service, "one")
  await sequence(service.ports, "signatures")
  await service.publish()
  const proofs = await proofsOf(service, record.id)
  const trusted = openShown(service)
  expect(trusted.trustBundle.log?.policy.match(/^log /gm)).toHaveLength(4)
  const envelopes = record.envelopes.map(({ bytes }) => bytes)
  expect(decide(service, record.subject.digest, envelopes, { proofs }, trusted).code).toBe("ACCEPTED")
})
