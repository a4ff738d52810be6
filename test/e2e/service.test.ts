import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { roleArn } from "../../localstack/people.ts"
import type { LocalService } from "../../localstack/service.ts"
import {
  callApi,
  environmentOf,
  keysOf,
  type Outcome,
  REPOSITORY,
  runCli,
  startLocal,
  storeEnvironment,
  temporaryFolder,
  unlogged,
} from "./local.ts"

/** The command end to end against the service on this machine, in the order of a deployment's life. */

const FILES = "downloads.wabbit-networks.io/tool"
const folder = temporaryFolder()
const work = join(folder.path, "work")
let service: LocalService

beforeAll(async () => {
  mkdirSync(work)
  service = await startLocal(folder.path)
}, 60_000)

afterAll(async () => {
  await service?.close()
  folder.remove()
})

function as(role: string, ...args: readonly string[]): Promise<Outcome> {
  return runCli(work, environmentOf(service, role), [...args, "--json"])
}

/** What a deployer keeps, and what it was brought. */
const KEPT = ["--policy", "bundle/policy/trustpolicy.json", "--bundle", "bundle", "--root", "tuf-root.json"]

/** Verifying knows no endpoint and no credentials. */
function offline(...args: readonly string[]): Promise<Outcome> {
  return runCli(work, {}, ["verify", ...args, ...KEPT, "--no-state", "--json"])
}

async function done(outcome: Promise<Outcome>): Promise<Outcome> {
  const { status, stdout, stderr } = await outcome
  if (status !== 0) throw new Error(`exit ${status}: ${stdout}${stderr}`)
  return await outcome
}

function fsckCommand(): Promise<Outcome> {
  const args = ["fsck", "--table", service.table, "--bucket", service.bucket, "--json"]
  return runCli(work, storeEnvironment(service), args)
}

const signed = new Map<string, { id: string; envelopes: { content: string }[] }>()

describe("a deployment's life (R2, R11, R24, R26)", () => {
  test("ceremony, issuer and profiles; each may be repeated", async () => {
    const names = ["--country", "US", "--state", "Washington", "--organisation", "Wabbit Networks"]
    const hosts = ["--identity-host", "trust.wabbit-networks.io", "--crl-host", new URL(service.trustUrl).host]
    const rest = ["--tuf-url", `${service.trustUrl}/tuf`, "--root-out", "tuf-root.json"]
    const ceremony = () => done(as("admin", "ceremony", ...names, ...hosts, ...rest))
    expect((await ceremony()).json.deployment.organisation).toBe("Wabbit Networks")
    const pinned = readFileSync(join(work, "tuf-root.json"))
    await ceremony()
    expect(readFileSync(join(work, "tuf-root.json"))).toEqual(pinned)
    for (let i = 0; i < 2; i++) await done(as("admin", "issuer", "create", "ci"))
    for (const [name, repository] of [
      ["release", REPOSITORY],
      ["files", FILES],
    ] as const) {
      const profile = ["--issuer", "ci", "--principal", roleArn("pipeline"), "--repository", repository]
      await done(as("admin", "profile", "create", name, ...profile))
    }
    const list = await done(as("auditor", "profile", "list"))
    expect(list.json.profiles.map(({ name }: { name: string }) => name).sort()).toEqual(["files", "release"])
  }, 60_000)

  test("a pipeline signs files, and what it got is what the record holds", async () => {
    for (const name of ["good", "bad"]) {
      writeFileSync(join(work, `${name}.bin`), `the ${name} tool`)
      const { json } = await done(
        as("pipeline", "sign", `${name}.bin`, "--profile", "files", "--reference", `${FILES}:1.0`),
      )
      signed.set(name, json.signature)
      const stored = readFileSync(join(work, `${name}.bin.jws.sig`))
      expect(stored.toString("base64")).toBe(json.signature.envelopes[0].content)
      const shown = await done(as("auditor", "show", json.signature.id))
      expect(unlogged(shown.json.signature)).toEqual(json.signature)
    }
    const list = await done(as("auditor", "list", "--profile", "files"))
    expect(list.json.signatures.map(({ id }: { id: string }) => id).sort()).toEqual(
      [...signed.values()].map(({ id }) => id).sort(),
    )
  }, 60_000)

  test("published and exported, both are accepted offline (exit 0)", async () => {
    await done(as("admin", "publish"))
    await done(as("auditor", "export", "bundle", "--root", "tuf-root.json", "--no-state"))
    for (const name of ["good", "bad"]) {
      const { status, json } = await offline(`${name}.bin`, "--reference", `${FILES}:1.0`)
      expect({ status, verdict: json.verdict }).toEqual({ status: 0, verdict: "accepted" })
    }
  }, 60_000)

  test("one is revoked: it alone is rejected (exit 1), once the bundle is mirrored", async () => {
    const id = signed.get("bad")?.id ?? ""
    const { json } = await done(as("revoker", "revoke", "--signature", id, "--reason", "keyCompromise", "--wait"))
    expect(json).toMatchObject({ changed: true, published: true, revocation: { reason: "keyCompromise" } })
    expect((await offline("bad.bin", "--reference", `${FILES}:1.0`)).status).toBe(0)
    await done(as("auditor", "export", "bundle", "--root", "tuf-root.json", "--no-state"))
    const bad = await offline("bad.bin", "--reference", `${FILES}:1.0`)
    expect(bad).toMatchObject({ status: 1, json: { verdict: "rejected" } })
    expect(bad.json.signatures[0].code).toBe("SIGNATURE_REVOKED")
    expect((await offline("good.bin", "--reference", `${FILES}:1.0`)).status).toBe(0)
  }, 60_000)

  test("fsck finds nothing (exit 0)", async () => {
    const { status, json } = await fsckCommand()
    expect({ status, findings: json?.findings, records: json?.records }).toEqual({
      status: 0,
      findings: [],
      records: 2,
    })
  }, 60_000)
})

describe("exit codes (D14)", () => {
  test("1 rejected: a changed file, an unknown signature", async () => {
    cpSync(join(work, "good.bin.jws.sig"), join(work, "changed.bin.jws.sig"))
    writeFileSync(join(work, "changed.bin"), "the good tool ")
    expect((await offline("changed.bin", "--reference", FILES)).status).toBe(1)
    const show = await as("auditor", "show", "01JD3Y0V6ZV4Q6D8W9X4K2M7RT")
    expect(show).toMatchObject({ status: 1, json: { error: { code: "SIGNATURE_UNKNOWN" } } })
  }, 60_000)

  test.each([
    [["nonsense"]],
    [["sign"]],
    [["sign", "good.bin"]],
    [["sign", "good.bin", "--refrence", "a/b"]],
    [["show", "x"]],
    [["revoke"]],
    [["revoke", "--signature", "a", "--artifact", "b"]],
    [["verify", "good.bin", "--reference", FILES]],
    [["verify", "good.bin", "--reference", FILES, "--bundle", "bundle", "--root", "tuf-root.json"]],
    [["fsck"]],
  ])("2 usage: %j", async (args) => {
    const outcome = await as("auditor", ...args)
    expect({ status: outcome.status, code: outcome.json?.error?.code }).toEqual({ status: 2, code: "USAGE" })
  })

  test("2 usage: an endpoint over plain http elsewhere, or none", async () => {
    const http = { ...environmentOf(service, "auditor"), SEALWRIGHT_ENDPOINT: "http://example.com" }
    expect((await runCli(work, http, ["status", "--json"])).status).toBe(2)
    expect((await runCli(work, {}, ["status", "--json"])).status).toBe(2)
  })

  test("3 inconclusive: a bundle that is too old", async () => {
    const now = `${new Date(Date.now() + 3 * 86_400_000).toISOString().slice(0, 19)}Z`
    const stale = await offline("good.bin", "--reference", FILES, "--now", now)
    expect(stale).toMatchObject({ status: 3, json: { verdict: "inconclusive" } })
  })

  test("4 denied: what a role may not do, and a wrong secret", async () => {
    const sign = await as("auditor", "sign", "good.bin", "--profile", "files", "--reference", FILES)
    expect({ status: sign.status, code: sign.json.error.code }).toEqual({ status: 4, code: "HTTP_403" })
    const scope = await as("pipeline", "sign", "good.bin", "--profile", "files", "--reference", REPOSITORY)
    expect({ status: scope.status, code: scope.json.error.code }).toEqual({
      status: 4,
      code: "REPOSITORY_OUT_OF_SCOPE",
    })
    const wrong = { ...environmentOf(service, "auditor"), AWS_SECRET_ACCESS_KEY: "x".repeat(40) }
    expect((await runCli(work, wrong, ["status", "--json"])).status).toBe(4)
  }, 60_000)

  test("5 unavailable: nobody answers", async () => {
    const env = { ...environmentOf(service, "auditor"), SEALWRIGHT_ENDPOINT: "http://127.0.0.1:9" }
    const { status, json } = await runCli(work, env, ["status", "--json"])
    expect({ status, code: json.error.code }).toEqual({ status: 5, code: "UNREACHABLE" })
  }, 60_000)

  test("0 for help, of every command, and people get text", async () => {
    const overview = await runCli(work, {}, ["help"])
    const commands = [...overview.stdout.matchAll(/^ {2}([a-z]+(?: [a-z]+)?) {2}/gm)].map(([, name = ""]) => name)
    expect(commands.length).toBeGreaterThan(20)
    for (const name of commands.slice(0, 4)) {
      const { status, stdout } = await runCli(work, {}, [...name.split(" "), "--help"])
      expect(status).toBe(0)
      expect(stdout).toContain("Usage: sealwright")
    }
  }, 60_000)
})

describe("four roles, and what they may not do (D14)", () => {
  const SIGN = "/v1/profiles/release/signatures"
  const subject = { mediaType: "application/octet-stream", digest: `sha256:${"ab".repeat(32)}`, size: 1 }
  const sign = { subject, reference: REPOSITORY }
  const revoke = { target: { kind: "artifact", digest: `sha256:${"cd".repeat(32)}` } }

  test.each<[string, string, string, object?]>([
    ["pipeline", "POST", "/v1/revocations", revoke],
    ["pipeline", "POST", "/v1/profiles", {}],
    ["pipeline", "POST", "/v1/profiles/release/suspend"],
    ["pipeline", "PATCH", "/v1/profiles/release", {}],
    ["pipeline", "POST", "/v1/publications"],
    ["pipeline", "POST", "/v1/ceremony", {}],
    ["pipeline", "GET", "/v1/audit"],
    ["revoker", "POST", SIGN, sign],
    ["revoker", "POST", "/v1/issuers", {}],
    ["revoker", "POST", "/v1/profiles/release/resume"],
    ["revoker", "POST", "/v1/publications"],
    ["auditor", "POST", SIGN, sign],
    ["auditor", "POST", "/v1/revocations", revoke],
    ["auditor", "PUT", "/v1/profiles/release/allowances", {}],
    ["function-sign", "POST", SIGN, sign],
    ["function-publish", "GET", "/v1/audit"],
  ])("%s: %s %s", async (role, method, path, body) => {
    const answer = await callApi(service.apiUrl, keysOf(service, role), method, path, { ...(body && { body }) })
    expect(answer).toMatchObject({ status: 403, contentType: "application/json", json: { message: "Forbidden" } })
  })

  test("an admin reaches everything, but signs only where a profile lists it (D10)", async () => {
    const answer = await callApi(service.apiUrl, keysOf(service, "admin"), "POST", SIGN, { body: sign })
    expect(answer).toMatchObject({ status: 403, json: { code: "CALLER_NOT_LISTED" } })
  })

  test("without a signature nobody gets past the front", async () => {
    const response = await fetch(`${service.apiUrl}/v1/deployment`)
    expect({ status: response.status, body: await response.json() }).toEqual({
      status: 403,
      body: { message: "Forbidden" },
    })
  })

  test("what is published needs no credentials, what names repositories is not published (D9)", async () => {
    expect((await fetch(`${service.trustUrl}/tuf/timestamp.json`)).status).toBe(200)
    for (const path of ["trees/notation.json", "staging/", "", "tuf/../trees/notation.json"])
      expect((await fetch(`${service.trustUrl}/${path}`)).status).not.toBe(200)
  })
})

describe("a restart (D12)", () => {
  test("keeps credentials, records and publications; the old bundle verifies, and the next epoch follows", async () => {
    const before = await done(as("auditor", "status"))
    const keys = JSON.stringify(service.keys)
    await service.close()
    service = await startLocal(folder.path)
    expect(JSON.stringify(service.keys)).toBe(keys)
    expect((await done(as("auditor", "status"))).json).toEqual(before.json)
    for (const [, signature] of signed) {
      const shown = await done(as("auditor", "show", signature.id))
      expect(unlogged(shown.json.signature)).toEqual(unlogged(signature))
    }
    expect((await offline("good.bin", "--reference", FILES)).status).toBe(0)

    const again = await done(as("pipeline", "sign", "good.bin", "--profile", "files", "--reference", FILES))
    expect(again.json.signature.id).not.toBe(signed.get("good")?.id)
    const published = await done(as("admin", "publish"))
    expect(published.json.epoch).toBeGreaterThan(before.json.published)
    await done(
      as("auditor", "export", "bundle", "--root", "tuf-root.json", "--no-state", "--from", `${service.trustUrl}/tuf`),
    )
    expect((await offline("good.bin", "--reference", FILES)).status).toBe(0)
    expect((await offline("bad.bin", "--reference", FILES)).status).toBe(1)
    expect((await fsckCommand()).json).toMatchObject({ findings: [], records: 3 })
    expect(readdirSync(work)).toContain("bundle")
    expect(existsSync(join(work, "bundle", "policy", "trustpolicy.json"))).toBe(true)
  }, 60_000)
})

test("fsck tells damage by its code (exit 1)", async () => {
  const { DynamoDBClient, ScanCommand, DeleteItemCommand } = await import("@aws-sdk/client-dynamodb")
  const client = new DynamoDBClient({
    region: "us-east-1",
    endpoint: service.endpoints.dynamodb,
    credentials: keysOf(service, "function-publish"),
  })
  const { Items = [] } = await client.send(new ScanCommand({ TableName: service.table, ConsistentRead: true }))
  const record = Items.find(({ sk }) => sk?.S === "record")
  if (record?.pk === undefined || record.sk === undefined) throw new Error("no record")
  await client.send(new DeleteItemCommand({ TableName: service.table, Key: { pk: record.pk, sk: record.sk } }))
  client.destroy()
  const { status, json } = await fsckCommand()
  expect(status).toBe(1)
  expect(json.findings.map(({ code }: { code: string }) => code)).toContain("NUMBER_WITHOUT_RECORD")
}, 60_000)
