import type { Condition, Item, Table, TransactResult, Write } from "@sealwright/core/ports"
import { expect, test, vi } from "vitest"

/** What every adapter of `Table` must do. Each case works in partitions of its own, so that one table serves all. */
export function tableContract(open: () => Table): void {
  let cases = 0
  const partition = () => `case-${cases++}-${Math.random().toString(36).slice(2)}`
  const outcomesOf = (result: TransactResult) => {
    if (result.committed) throw new Error("committed, though a condition does not hold")
    return result.outcomes
  }

  test("an item comes back as it was put, every type of attribute in it", async () => {
    const table = open()
    const item: Item = {
      pk: partition(),
      sk: "all",
      text: "käse \u{1f9c0}",
      empty: "",
      number: 2 ** 47 + 1,
      fraction: -0.125,
      flag: false,
      bytes: Uint8Array.of(0, 255, 128),
      none: new Uint8Array(0),
      set: new Set(["b", "a"]),
      list: ["x", 1, Uint8Array.of(7), [true], {}],
      map: { inner: { "odd name.with [dots]": "y" }, size: 1 },
    }
    expect(await table.transact([{ put: item }])).toEqual({ committed: true })
    expect(await table.get(item)).toEqual(item)
    expect((await table.query(item.pk)).items).toEqual([item])
    expect(await table.get({ pk: item.pk, sk: "other" })).toBeUndefined()
  })

  test("what was read and what was written are copies", async () => {
    const table = open()
    const bytes = Uint8Array.of(1)
    const key = { pk: partition(), sk: "a" }
    await table.transact([{ put: { ...key, bytes } }])
    bytes[0] = 2
    const read = (await table.get(key)) as { bytes?: Uint8Array } | undefined
    expect(read?.bytes).toEqual(Uint8Array.of(1))
    read?.bytes?.fill(3)
    expect((await table.get(key))?.bytes).toEqual(Uint8Array.of(1))
  })

  const present = { state: "open", count: 3, on: true, used: { 1: "id" }, set: new Set(["a", "b"]) }
  const CONDITIONS: readonly [string, Condition, { readonly absent: boolean; readonly present: boolean }][] = [
    ["absent", { absent: true }, { absent: true, present: false }],
    ["exists", { exists: true }, { absent: false, present: true }],
    ["equals", { equals: { state: "open", count: 3, on: true } }, { absent: false, present: true }],
    ["equals another value", { equals: { state: "open", count: 4 } }, { absent: false, present: false }],
    ["equals another type", { equals: { count: "3" } }, { absent: false, present: false }],
    ["equals a missing attribute", { equals: { missing: 1 } }, { absent: false, present: false }],
    ["absentOrEquals", { absentOrEquals: { state: "open" } }, { absent: true, present: true }],
    ["absentOrEquals another", { absentOrEquals: { state: "open", count: 4 } }, { absent: true, present: false }],
    ["lacks", { lacks: ["missing", "gone"] }, { absent: true, present: true }],
    ["lacks what is there", { lacks: ["missing", "on"] }, { absent: true, present: false }],
    ["lacksIn", { lacksIn: { used: ["0", "2"] } }, { absent: true, present: true }],
    ["lacksIn what is there", { lacksIn: { used: ["0", "1"] } }, { absent: true, present: false }],
    ["lacksIn a missing map", { lacksIn: { missing: ["0"] } }, { absent: true, present: true }],
    ["fewerThan", { fewerThan: { set: 3 } }, { absent: true, present: true }],
    ["fewerThan its size", { fewerThan: { set: 2 } }, { absent: true, present: false }],
    ["fewerThan of a missing set", { fewerThan: { missing: 1 } }, { absent: true, present: true }],
    ["several parts", { equals: { state: "open" }, lacks: ["on"] }, { absent: false, present: false }],
  ]

  test.each(CONDITIONS)("condition %s", async (_, condition, holds) => {
    const table = open()
    const pk = partition()
    const there: Item = { pk, sk: "present", ...present }
    await table.transact([{ put: there }])
    for (const [sk, expected] of [
      ["absent", holds.absent],
      ["present", holds.present],
    ] as const) {
      const result = await table.transact([{ check: { pk, sk }, if: condition }])
      expect(result.committed, sk).toBe(expected)
      if (!result.committed)
        expect(result.outcomes).toEqual([{ failed: true, item: sk === "present" ? there : undefined }])
    }
  })

  test("a condition guards every kind of write alike", async () => {
    const table = open()
    const pk = partition()
    const item: Item = { pk, sk: "a", state: "open" }
    await table.transact([{ put: item }])
    const refused: Write[] = [
      { put: { pk, sk: "a", state: "new" }, if: { absent: true } },
      { update: item, set: { state: "new" }, if: { equals: { state: "closed" } } },
      { delete: item, if: { equals: { state: "closed" } } },
      { check: item, if: { lacks: ["state"] } },
    ]
    for (const write of refused) expect(outcomesOf(await table.transact([write]))).toEqual([{ failed: true, item }])
    expect(await table.get(item)).toEqual(item)
    expect(await table.transact([{ delete: item, if: { exists: true } }])).toEqual({ committed: true })
    expect(await table.get(item)).toBeUndefined()
    expect(await table.transact([{ delete: item }])).toEqual({ committed: true })
  })

  test("all or nothing, and the outcomes stand in the order of the writes", async () => {
    const table = open()
    const pk = partition()
    const taken: Item = { pk, sk: "taken", n: 1 }
    await table.transact([{ put: taken }])
    const result = await table.transact([
      { put: { pk, sk: "first" } },
      { put: { pk, sk: "taken" }, if: { absent: true } },
      { update: { pk, sk: "third" }, add: { n: 1 } },
      { check: { pk, sk: "fourth" }, if: { exists: true } },
    ])
    expect(outcomesOf(result)).toEqual([
      { failed: false },
      { failed: true, item: taken },
      { failed: false },
      { failed: true, item: undefined },
    ])
    expect((await table.query(pk)).items).toEqual([taken])
  })

  test("an update sets, removes, sets in maps, joins and adds, and makes an absent item", async () => {
    const table = open()
    const key = { pk: partition(), sk: "a" }
    await table.transact([
      { update: key, set: { name: "n", used: {}, old: 1 }, join: { set: ["x"] }, add: { total: 5 } },
    ])
    await table.transact([
      {
        update: key,
        set: { name: { first: "reserved words: size, state" } },
        remove: ["old", "never"],
        setIn: { used: { 0: "zero", "a.b": Uint8Array.of(1) } },
        join: { set: ["x", "y"] },
        add: { total: -7, other: 1 },
      },
    ])
    expect(await table.get(key)).toEqual({
      ...key,
      name: { first: "reserved words: size, state" },
      used: { 0: "zero", "a.b": Uint8Array.of(1) },
      set: new Set(["x", "y"]),
      total: -2,
      other: 1,
    })
  })

  test("setting a key of a map that is not there is refused", async () => {
    const table = open()
    const key = { pk: partition(), sk: "a" }
    await expect(table.transact([{ update: key, setIn: { used: { 0: "x" } } }])).rejects.toThrow()
    expect(await table.get(key)).toBeUndefined()
  })

  test("a transaction of no writes, of two on one item, or of more than 100 is refused", async () => {
    const table = open()
    const pk = partition()
    const many = (count: number) => Array.from({ length: count }, (_, i): Write => ({ put: { pk, sk: `s${i}` } }))
    await expect(table.transact([])).rejects.toThrow(TypeError)
    await expect(table.transact(many(101))).rejects.toThrow(TypeError)
    await expect(table.transact([...many(1), { delete: { pk, sk: "s0" } }])).rejects.toThrow(TypeError)
    expect(await table.transact(many(100))).toEqual({ committed: true })
    expect((await table.query(pk)).items).toHaveLength(100)
  })

  test("an item above 400 KB is refused", async () => {
    const table = open()
    const key = { pk: partition(), sk: "a" }
    await expect(table.transact([{ put: { ...key, bytes: new Uint8Array(400 * 1024) } }])).rejects.toThrow()
    expect(await table.get(key)).toBeUndefined()
    expect(await table.transact([{ put: { ...key, bytes: new Uint8Array(390 * 1024) } }])).toEqual({ committed: true })
  })

  test("queries go in sort-key order, both ways, within bounds, page by page", async () => {
    const table = open()
    const pk = partition()
    const names = ["a", "b", "c", "d", "e"]
    await table.transact([...names].reverse().map((sk): Write => ({ put: { pk, sk } })))
    const found = async (range: Parameters<Table["query"]>[1]) =>
      (await table.query(pk, range)).items.map((item) => item.sk).join("")
    expect(await found({})).toBe("abcde")
    expect(await found({ descending: true })).toBe("edcba")
    expect(await found({ from: "b", to: "d" })).toBe("bcd")
    expect(await found({ from: "bb" })).toBe("cde")
    expect(await found({ to: "bb", descending: true })).toBe("ba")
    expect(await found({ from: "d", to: "b" })).toBe("")
    expect(await found({ after: "b" })).toBe("cde")
    expect(await found({ after: "bb", limit: 2 })).toBe("cd")
    expect(await found({ after: "b", from: "a", to: "d" })).toBe("cd")
    expect(await found({ after: "d", descending: true, from: "b", to: "e" })).toBe("cb")
    expect(await found({ after: "e" })).toBe("")
    for (const descending of [false, true]) {
      const seen: string[] = []
      let after: string | undefined
      do {
        const page = await table.query(pk, { limit: 2, descending, ...(after !== undefined && { after }) })
        expect(page.items.length).toBeLessThanOrEqual(2)
        seen.push(...page.items.map((item) => item.sk))
        after = page.next
      } while (after !== undefined)
      expect(seen).toEqual(descending ? [...names].reverse() : names)
    }
  })

  test("a partition larger than a page of the store is read to its end", async () => {
    const table = open()
    const pk = partition()
    const names = Array.from({ length: 12 }, (_, i) => `n${String(i).padStart(2, "0")}`)
    for (const sk of names) await table.transact([{ put: { pk, sk, bytes: new Uint8Array(200 * 1024) } }])
    const seen: string[] = []
    for (let after: string | undefined; ; ) {
      const page = await table.query(pk, after === undefined ? {} : { after })
      seen.push(...page.items.map((item) => item.sk))
      after = page.next
      if (after === undefined) break
    }
    expect(seen).toEqual(names)
  })

  test("the index byProfile holds the items with both its attributes, by its sort key", async () => {
    const table = open()
    const pk = partition()
    const profile = partition()
    const item = (sk: string, at: string): Item => ({ pk, sk, byProfile: profile, byProfileAt: at, extra: "kept" })
    await table.transact([
      { put: item("x", "3") },
      { put: item("y", "1") },
      { put: item("z", "2") },
      { put: { pk, sk: "w", byProfile: profile } },
    ])
    const expectFound = (range: Parameters<Table["query"]>[1], expected: string) =>
      vi.waitFor(async () => {
        const page = await table.queryIndex("byProfile", profile, range)
        expect(page.items.map((entry) => `${entry.sk}${entry.byProfileAt}${entry.extra}`).join()).toBe(expected)
      }, 5_000)
    await expectFound({}, "y1kept,z2kept,x3kept")
    await expectFound({ descending: true, limit: 2 }, "x3kept,z2kept")
    await expectFound({ from: "2", to: "2" }, "z2kept")
    const first = await table.queryIndex("byProfile", profile, { limit: 1 })
    expect(first.next).toBe("1")
    await expectFound({ after: "1" }, "z2kept,x3kept")
  })

  test("of many that add under one condition, each is applied once or tells why not", async () => {
    const table = open()
    const key = { pk: partition(), sk: "n" }
    await table.transact([{ put: { ...key, n: 0 } }])
    const tryOnce = async (): Promise<boolean> => {
      for (;;) {
        const n = (await table.get(key))?.n as number
        const result = await table.transact([{ update: key, add: { n: 1 }, if: { equals: { n } } }])
        if (result.committed) return true
        expect(result.outcomes[0]?.failed).toBe(true)
      }
    }
    await Promise.all(Array.from({ length: 8 }, tryOnce))
    expect((await table.get(key))?.n).toBe(8)
  })

  test("of two that take one key, one wins and the other sees the winner", async () => {
    const table = open()
    const pk = partition()
    const take = (who: string) =>
      table.transact([{ put: { pk, sk: "head", who }, if: { absent: true } }, { put: { pk, sk: who } }])
    const results = await Promise.all([take("a"), take("b"), take("c")])
    const winners = results.filter((result) => result.committed)
    expect(winners).toHaveLength(1)
    const head = (await table.get({ pk, sk: "head" })) as Item
    for (const result of results)
      if (!result.committed) expect(result.outcomes).toEqual([{ failed: true, item: head }, { failed: false }])
    expect((await table.query(pk)).items.map((item) => item.sk).sort()).toEqual([head.who, "head"].sort())
  })
}
