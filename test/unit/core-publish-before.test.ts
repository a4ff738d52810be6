import type { Table } from "@sealwright/core/ports"
import { beforeEach, describe, expect, test } from "vitest"
import { createService, signRequest } from "../support/service.ts"
import { expectSound, published, type Service } from "./core-published.ts"

const PLAN = /^staging\/plan\//

/** Which lease the reading of void numbers began with, one entry a query. */
function watched(): { readonly service: Service; readonly begins: string[] } {
  const begins: string[] = []
  const table = (inner: Table): Table => ({
    ...inner,
    query: (pk, range) => {
      if (pk.startsWith("voids#")) begins.push(range?.from ?? "all")
      return inner.query(pk, range)
    },
  })
  return { service: createService({ table }), begins }
}

const numbers = (service: Service) => [...published(service).list().issuers.values()][0]

/** What the ledger itself says is void below a number, joined. */
function voidsOf(service: Service, below: number): [number, number][] {
  const ranges = service.memory.table
    .dump()
    .filter(({ pk }) => pk.startsWith("voids#"))
    .flatMap(({ ranges }) => ranges as [string, string][])
    .map(([from, to]): [number, number] => [Number(from), Number(to)])
    .filter(([from]) => from < below)
    .sort(([a], [b]) => a - b)
  const joined: [number, number][] = []
  for (const [from, to] of ranges) {
    const last = joined.at(-1)
    if (last !== undefined && last[1] + 1 === from) last[1] = to
    else joined.push([from, to])
  }
  return joined
}

function expectLedgersVoids(service: Service): void {
  const listed = numbers(service)
  if (listed === undefined) throw new Error("no issuer is listed")
  expect(listed.void).toEqual(voidsOf(service, listed.coveredBelow))
  expect(listed.void.length).toBeGreaterThan(0)
  expectSound(service)
}

describe("void numbers of settled leases are read once (D3, D5)", () => {
  let service: Service
  let begins: string[]

  async function signs(name: string): Promise<void> {
    await service.signer()(signRequest([name]))
  }

  beforeEach(async () => {
    ;({ service, begins } = watched())
    await service.setUp()
    await service.profile("release")
    await signs("one")
    await service.publish()
    begins.length = 0
  })

  test("an epoch reads what came after the one before, and lists what all of it says", async () => {
    const covered = numbers(service)?.coveredBelow as number
    for (const name of ["two", "three"]) {
      await signs(name)
      await service.publish(true)
      expectLedgersVoids(service)
    }
    expect(begins).toHaveLength(2)
    expect(Number(begins[0])).toBe(covered)
    expect(Number(begins[1])).toBeGreaterThan(covered)
  })

  test("a lease that stays open over an epoch is read when it is settled", async () => {
    const signer = service.signer()
    const inner = service.ports.table.query
    // This publisher does not see the lease when it settles, as one that is taken right after: it is open in the snapshot.
    await signer(signRequest(["kept open"]))
    let asked = 0
    service.ports.table.query = (pk, range) =>
      pk === "open-leases" && ++asked === 1 ? Promise.resolve({ items: [], next: undefined }) : inner(pk, range)
    const covered = numbers(service)?.coveredBelow
    await service.publish(true)
    expect(numbers(service)?.coveredBelow).toBe(covered)
    await service.publish(true)
    expect(numbers(service)?.coveredBelow).toBeGreaterThan(covered as number)
    expectLedgersVoids(service)
  })

  test.each([
    ["gone", undefined],
    ["cut", (bytes: Uint8Array) => bytes.subarray(0, 100)],
    [
      "another one",
      (bytes: Uint8Array) =>
        new TextEncoder().encode(new TextDecoder().decode(bytes).replace(/"void":\["/, `"void":["0","`)),
    ],
    ["longer", (bytes: Uint8Array) => new Uint8Array([...bytes, 0x20])],
  ] as const)("the plan of the epoch before is %s: all is read anew", async (_, change) => {
    await signs("two")
    for (const [key, { bytes, ...headers }] of service.memory.objects.lose((name) => PLAN.test(name)))
      if (change !== undefined) await service.memory.objects.create(key, change(bytes), headers)
    await service.publish(true)
    expect(begins.map(Number)).toEqual([0])
    expectLedgersVoids(service)
    await service.publish(true)
    expect(Number(begins[1])).toBeGreaterThan(0)
    expectLedgersVoids(service)
  })

  test("a plan that cannot be read, as by a store that refuses its size, stops nothing", async () => {
    const { service: other } = watched()
    await other.setUp()
    await other.profile("release")
    await other.signer()(signRequest(["one"]))
    await other.publish()
    const [key] = [...other.memory.objects.dump().keys()].filter((name) => PLAN.test(name)).slice(-1)
    const inner = other.ports.objects.get
    other.ports.objects.get = (name, maxBytes) => inner(name, name === key ? 1 : maxBytes)
    await other.publish(true)
    expectLedgersVoids(other)
  })
})
