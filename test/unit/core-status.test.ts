import { requestIssuer } from "@sealwright/core/admin/external"
import { levelOf } from "@sealwright/core/publish/expiry"
import { ISSUER_LIMITS, loadLevel, readStatus } from "@sealwright/core/publish/status"
import { describe, expect, test } from "vitest"
import { statusView } from "../../functions/http/views.ts"
import { COMPONENTS } from "../../scripts/docs/responses.ts"
import { ADMIN, createService, signRequest } from "../support/service.ts"

const DAY = 86_400
const AT = new Date("2026-11-21T09:00:00Z")
const after = (seconds: number) => new Date(AT.getTime() + seconds * 1000)

async function ready() {
  const service = createService()
  await service.setUp()
  await service.profile("release")
  await service.profile("held", { keyMode: "held" })
  await service.publish()
  const status = async () => {
    const found = await readStatus(service.ports.table, service.ports.clock())
    if (found === undefined) throw new Error("no status")
    return found
  }
  return { service, status }
}

test.each([
  [90 * DAY + 1, "ok"],
  [90 * DAY, "90"],
  [30 * DAY + 1, "90"],
  [30 * DAY, "30"],
  [7 * DAY + 1, "30"],
  [7 * DAY, "7"],
  [1, "7"],
  [0, "expired"],
  [-1, "expired"],
])("R18: %i seconds before its end a thing is %s", (seconds, level) => {
  expect(levelOf(after(seconds), AT)).toBe(level)
})

describe("R18: status", () => {
  test("names every certificate and TUF role, the first to end first", async () => {
    const { status } = await ready()
    const { expiries, level } = await status()
    expect(expiries.map(({ name, daysLeft }) => [name, daysLeft])).toEqual([
      ["tuf/timestamp", 3],
      ["tuf/root", 366],
      ["tuf/targets", 366],
      ["tuf/lists", 366],
      ["tuf/registry", 366],
      ["tuf/snapshot", 366],
      ["issuer/ci", 1000],
      ["profile/held", 1000],
      ["root", 3660],
    ])
    expect(level).toBe("ok")
  })

  test("what a publication renews is urgent only when publications fail", async () => {
    const { service, status } = await ready()
    service.pass(13 * 3600)
    const timestamp = (await status()).expiries.find(({ name }) => name === "tuf/timestamp")
    expect(timestamp).toMatchObject({ level: "7" })
    await service.publish()
    expect(await status()).toMatchObject({ level: "ok" })
  })

  test("the most urgent of all is the whole's", async () => {
    const { service, status } = await ready()
    service.pass(350 * DAY)
    await service.publish(true)
    expect(await status()).toMatchObject({ level: "30" })
    service.pass(17 * DAY)
    expect(await status()).toMatchObject({ level: "expired" })
  })

  test("what is revoked ends without urgency", async () => {
    const { service, status } = await ready()
    await service.revoke({ kind: "profile", profile: "held", from: AT })
    await service.revoke({ kind: "issuer", issuer: "ci" })
    const finished = (await status()).expiries.filter(({ renewedBy }) => renewedBy === "finished")
    expect(finished.map(({ name }) => name)).toEqual(["issuer/ci", "profile/held"])
  })

  test("issuers that wait and issuers that fill up are named", async () => {
    const { service, status } = await ready()
    await requestIssuer(service.ports, { name: "corp", algorithm: "ecdsa-p256-sha256" }, ADMIN)
    const [outcome] = await service.signer()(signRequest(["a"]))
    if (outcome === undefined || !("signed" in outcome)) throw new Error("not signed")
    await service.revoke({ kind: "signature", signature: outcome.signed.id })
    await service.publish()
    const { issuers, pending } = await status()
    expect(issuers).toMatchObject([{ name: "ci", certificates: 4, revoked: 1, level: "ok" }])
    expect(pending.map(({ name }) => name)).toEqual(["corp"])
  })

  test.each([
    [ISSUER_LIMITS.certificates * 0.75 - 1, 0, "ok"],
    [ISSUER_LIMITS.certificates * 0.75, 0, "soon"],
    [0, ISSUER_LIMITS.revoked * 0.75, "soon"],
    [ISSUER_LIMITS.certificates, 0, "full"],
    [0, ISSUER_LIMITS.revoked, "full"],
  ])("an issuer of %i certificates, %i revoked, is %s (D7)", (certificates, revoked, level) => {
    expect(loadLevel(certificates, revoked)).toBe(level)
  })

  test("is answered as it is described", async () => {
    const { service, status } = await ready()
    await requestIssuer(service.ports, { name: "corp", algorithm: "ecdsa-p256-sha256" }, ADMIN)
    const view = statusView(await status())
    expect(Object.keys(view).sort()).toEqual(Object.keys(COMPONENTS.Status.properties as object).sort())
  })

  test("there is none before the ceremony", async () => {
    expect(await readStatus(createService().ports.table, AT)).toBeUndefined()
  })
})
