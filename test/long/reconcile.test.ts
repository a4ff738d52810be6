import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { DynamoDBClient } from "@aws-sdk/client-dynamodb"
import { KMSClient, SignCommand } from "@aws-sdk/client-kms"
import { createDynamoTable } from "@sealwright/adapters/dynamodb"
import { randomBytes } from "@sealwright/adapters/platform"
import { readIssuer } from "@sealwright/core/ledger/trust"
import type { Table } from "@sealwright/core/ports"
import { settleUses } from "@sealwright/core/reconcile/settle"
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest"
import type { TrailEvent } from "../../localstack/kms/trail.ts"
import { functionRole, REGION, roleArn } from "../../localstack/people.ts"
import { type LocalService, startService } from "../../localstack/service.ts"
import { environmentOf, keysOf, type Outcome, REPOSITORY, runCli, temporaryFolder } from "../e2e/local.ts"

/** Uses of keys through the embedded KMS, its CloudTrail events, the function `reconcile` and the command. */

const REFERENCE = `${REPOSITORY}:v1`
const folder = temporaryFolder()
const work = join(folder.path, "work")
const lines: string[] = []
const held: TrailEvent[] = []
let service: LocalService
let onTheWay: (event: TrailEvent, deliver: (event: TrailEvent) => void) => void = (event, deliver) => deliver(event)

async function done(role: string, ...args: readonly string[]): Promise<Outcome["json"]> {
  const { status, stdout, stderr, json } = await runCli(work, environmentOf(service, role), [...args, "--json"])
  if (status !== 0) throw new Error(`exit ${status}: ${stdout}${stderr}`)
  return json
}

const sign = (name: string) => done("pipeline", "sign", name, "--profile", "release", "--reference", REFERENCE)

function tableOf(name: string): Table {
  const credentials = keysOf(service, functionRole(name))
  const client = new DynamoDBClient({ endpoint: service.endpoints.dynamodb, region: REGION, credentials })
  return createDynamoTable(client, service.table)
}

/** As the function does on its schedule, an hour later. */
let hours = 0
async function settle() {
  await service.trailDelivered()
  hours += 1
  const clock = () => new Date(Date.now() + hours * 3_600_000)
  const table = tableOf("reconcile")
  const ports = { table, clock, random: randomBytes, users: new Map() }
  return (await settleUses(ports, { delaySec: 1800, until: new Date(clock().getTime() + 60_000) })).open
}

/** The issuer's key, used by who holds the credentials of a function. */
async function steal(name: string, dryRun = false): Promise<string> {
  const credentials = keysOf(service, functionRole(name))
  const { key } = await readIssuer(tableOf(name), "ci")
  const client = new KMSClient({ endpoint: service.endpoints.kms, region: REGION, credentials })
  const request = new SignCommand({
    KeyId: key.keyId,
    Message: randomBytes(32),
    MessageType: "DIGEST",
    SigningAlgorithm: "ECDSA_SHA_256",
    DryRun: dryRun,
  })
  const { $metadata } = await client.send(request).finally(() => client.destroy())
  return $metadata.requestId ?? ""
}

async function findings(): Promise<{ id: string; kind: string }[]> {
  return (await done("auditor", "reconcile")).findings
}

beforeAll(async () => {
  mkdirSync(work)
  service = await startService({
    folder: join(folder.path, "service"),
    apiPort: 0,
    trustPort: 0,
    log: (line) => lines.push(line),
    schedule: false,
    bundles: inject("built").functions,
    trail: (event, deliver) => onTheWay(event, deliver),
  })
  const names = ["--country", "US", "--state", "Washington", "--organisation", "Wabbit Networks"]
  const hosts = ["--identity-host", "trust.wabbit-networks.io", "--crl-host", new URL(service.trustUrl).host]
  const tuf = ["--tuf-url", `${service.trustUrl}/tuf`, "--root-out", "tuf-root.json"]
  hours = -1
  await settle()
  await done("admin", "ceremony", ...names, ...hosts, ...tuf)
  await done("admin", "issuer", "create", "ci")
  const who = ["--issuer", "ci", "--principal", roleArn("pipeline"), "--repository", REPOSITORY]
  await done("admin", "profile", "create", "release", ...who)
  for (const name of ["a", "b"]) writeFileSync(join(work, name), `the file ${name}`)
}, 120_000)

afterAll(async () => {
  await service?.close()
  folder.remove()
})

describe("uses of keys are reconciled with records (R12, R29, D13)", { timeout: 120_000 }, () => {
  test("what the service itself does explains itself, though events come twice; a lost event is missed, and a late one takes that back", async () => {
    onTheWay = (event, deliver) => {
      deliver(event)
      deliver(event)
    }
    await sign("a")
    await done("admin", "publish")
    onTheWay = (event) => void held.push(event)
    await sign("b")
    onTheWay = (event, deliver) => deliver(event)
    expect(await settle()).toEqual({ UnexplainedKeyUses: 0, KeyUsesWithoutEvent: 1 })
    expect(await findings()).toMatchObject([{ kind: "missing", count: held.length }])
    for (const event of held) service.deliverTrail(event)
    expect(await settle()).toEqual({ UnexplainedKeyUses: 0, KeyUsesWithoutEvent: 0 })
    expect(await findings()).toEqual([])
  })

  test("a signature with stolen credentials is found; calls that KMS refused are none", async () => {
    await expect(steal("sign", true)).rejects.toMatchObject({ name: "DryRunOperationException" })
    const requestId = await steal("sign")
    expect(await settle()).toEqual({ UnexplainedKeyUses: 1, KeyUsesWithoutEvent: 0 })
    expect(await findings()).toMatchObject([
      { id: requestId, kind: "unexplained", key: "issuer/ci", principal: roleArn(functionRole("sign")) },
    ])
    const { status } = await runCli(work, environmentOf(service, "auditor"), ["reconcile", "--check"])
    expect(status).toBe(1)
  })

  test("it rings until somebody says what it was", async () => {
    const [finding] = await findings()
    const args = ["reconcile", "acknowledge", finding?.id ?? "", "--comment", "a drill"]
    const refused = await runCli(work, environmentOf(service, "auditor"), args)
    expect(refused.status).toBe(4)
    expect((await done("admin", ...args)).finding).toMatchObject({
      comment: "a drill",
      acknowledgedBy: roleArn("admin"),
    })
    expect(await findings()).toEqual([])
    const { entries } = await done("auditor", "audit")
    expect(entries.map(({ action }: { action: string }) => action)).toContain("reconciliation.acknowledge")
    const unknown = await runCli(work, environmentOf(service, "admin"), [
      ...args.slice(0, 2),
      "nothing",
      ...args.slice(3),
    ])
    expect(`${unknown.status} ${unknown.stderr}`).toMatch(/^1 .*FINDING_UNKNOWN/)
  })

  test("a role that has no business with the key rings at once", async () => {
    const before = lines.length
    const requestId = await steal("publish")
    await service.trailDelivered()
    expect(await findings()).toMatchObject([{ id: requestId, kind: "wrong-role" }])
    const metric = lines.slice(before).find((line) => line.includes('"UnexplainedKeyUses":1'))
    expect(metric).toContain('"_aws"')
    await done("admin", "reconcile", "acknowledge", requestId, "--comment", "a drill")
  })
})
