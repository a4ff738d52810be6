import { createIssuer, holdCeremony } from "@sealwright/core/admin/ceremony"
import { ServiceError } from "@sealwright/core/errors"
import { tufDocuments } from "@sealwright/core/ledger/tuf-documents"
import { nextExpiry } from "@sealwright/core/publish/expiry"
import { parseCrl } from "@sealwright/formats/crl"
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
  expect(await nextExpiry(service.ports.table, service.ports.clock())).toBeUndefined()
  await service.setUp()
  expect(await nextExpiry(service.ports.table, service.ports.clock())).toMatchObject({ name: "tuf/root" })
  await service.profile("held", { keyMode: "held" })
  service.pass(200 * DAY)
  await again(service)
  service.pass(200 * DAY)
  await again(service)
  service.pass(300 * DAY)
  await again(service)
  expect((await nextExpiry(service.ports.table, service.ports.clock()))?.name).toMatch(/^(issuer\/ci|profile\/held)$/)
})

test("a renewal between the commit of an epoch and its end waits for the next epoch (R18)", async () => {
  let down = true
  const service = createService({
    objects: (objects) => ({
      ...objects,
      replace: async (...move) => {
        if (down) throw new ServiceError("STORE_UNAVAILABLE", "down")
        return await objects.replace(...move)
      },
    }),
  })
  await service.setUp()
  service.pass(200 * DAY)
  await expect(service.publish()).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" })
  await again(service)
  down = false
  expect(await service.publish()).toMatchObject({ epoch: 2, published: true })
  expect([...service.memory.objects.dump().keys()].filter((key) => /[12]\.(root|targets)\.json/.test(key))).toEqual([
    "tuf/1.targets.json",
    "tuf/1.root.json",
    "tuf/2.targets.json",
    "tuf/2.root.json",
  ])
})

test("an issuer that has ended stops no publication, and its list stays in force for signatures that outlive it (R7, R18)", async () => {
  const service = createService()
  await service.setUp()
  const { issuerKeyId } = await createIssuer(
    service.ports,
    { name: "short", algorithm: "ecdsa-p256-sha256", days: 10 },
    ADMIN,
  )
  await service.publish()
  service.pass(12 * DAY)
  expect(await service.publish()).toMatchObject({ epoch: 2, published: true })
  const list = parseCrl(service.memory.objects.dump().get(`crl/${issuerKeyId}.crl`)?.bytes ?? new Uint8Array(0))
  expect(list.crlNumber).toBe(2n)
  expect(list.nextUpdate.getTime() - list.thisUpdate.getTime()).toBe(7 * DAY * 1000)
})
