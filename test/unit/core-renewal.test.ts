import { holdCeremony } from "@sealwright/core/admin/ceremony"
import { tufDocuments } from "@sealwright/core/ledger/tuf-documents"
import { nextExpiry } from "@sealwright/core/publish/expiry"
import { decodeMetadata } from "@sealwright/formats/tuf"
import { expect, test } from "vitest"
import { ADMIN, createService, NAMES } from "../support/service.ts"

const DAY = 86_400
const again = (service: ReturnType<typeof createService>) =>
  holdCeremony(service.ports, { ...NAMES, algorithm: "ecdsa-p256-sha256", rootYears: 10 }, ADMIN)

test("a repeated ceremony renews TUF root and targets in their second half, one version up (R18)", async () => {
  const service = createService()
  await service.setUp()
  await service.publish()
  service.pass(100 * DAY)
  await again(service)
  expect(await tufDocuments(service.ports.table, "root")).toHaveLength(1)

  service.pass(100 * DAY)
  await again(service)
  await again(service)
  const versions = async (role: "root" | "targets") =>
    (await tufDocuments(service.ports.table, role)).map(({ version }) => version)
  expect(await versions("root")).toEqual([1, 2])
  expect(await versions("targets")).toEqual([1, 2])

  await service.publish()
  const published = service.memory.objects.dump()
  const root = published.get("tuf/2.root.json")?.bytes ?? new Uint8Array(0)
  expect(decodeMetadata(root, "root", root.length).signed.version).toBe(2)
  expect(published.has("tuf/2.targets.json")).toBe(true)
})

test("what ends first is named: the TUF root before certificates of years (R18)", async () => {
  const service = createService()
  expect(await nextExpiry(service.ports.table)).toBeUndefined()
  await service.setUp()
  expect(await nextExpiry(service.ports.table)).toMatchObject({ name: "tuf/root" })
  await service.profile("held", { keyMode: "held" })
  service.pass(200 * DAY)
  await again(service)
  service.pass(200 * DAY)
  await again(service)
  service.pass(300 * DAY)
  await again(service)
  expect((await nextExpiry(service.ports.table))?.name).toMatch(/^(issuer\/ci|profile\/held)$/)
})
