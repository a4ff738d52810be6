import { describe, expect, test } from "vitest"
import { dumpStill } from "../../packages/cli/src/still-dump.ts"

describe("a dump of one moment (R29)", () => {
  /** @param moves attempts during which a head moves while the bucket is read */
  function world(moves: number, moved: "publication" | "log") {
    let at = 0
    let reads = 0
    return {
      reads: () => reads,
      readers: {
        head: async ({ pk }: { readonly pk: string }) => (pk === moved ? { size: at } : undefined),
        items: async () => [{ pk: moved, sk: "head", size: at }],
        objects: async () => {
          reads++
          if (reads <= moves) at++
          return new Map([["log/events/checkpoint", Uint8Array.of(at)]])
        },
      },
    }
  }

  test.each(["publication", "log"] as const)(
    "is read again when a head of %s moved, until it stands",
    async (moved) => {
      const { readers, reads } = world(2, moved)
      const { items, objects, still } = await dumpStill(readers, 0)
      expect({ still, reads: reads() }).toEqual({ still: true, reads: 3 })
      expect(items[0]?.size).toBe(objects.get("log/events/checkpoint")?.[0])
    },
  )

  test("says so when it never stands, and ends", async () => {
    const { readers, reads } = world(Number.POSITIVE_INFINITY, "log")
    expect((await dumpStill(readers, 0)).still).toBe(false)
    expect(reads()).toBe(6)
  })
})
