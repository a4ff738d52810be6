import type { ObjectHeaders, Objects } from "@sealwright/core/ports"
import { utf8 } from "@sealwright/formats/bytes"
import { expect, test } from "vitest"

const HEADERS: ObjectHeaders = { contentType: "application/json", cacheControl: "max-age=60" }
const MAX = 1024 * 1024

/** What every adapter of `Objects` must do. Each case works on keys of its own. */
export function objectsContract(open: () => Objects): void {
  let cases = 0
  const newKey = () => `case-${cases++}-${Math.random().toString(36).slice(2)}/a b+c.json`
  const etagOf = (result: { etag: string } | string): string => {
    if (typeof result === "string") throw new Error(`not written: ${result}`)
    return result.etag
  }

  test("an object is created once and read back", async () => {
    const objects = open()
    const key = newKey()
    expect(await objects.get(key, MAX)).toBeUndefined()
    const etag = etagOf(await objects.create(key, utf8("one"), HEADERS))
    expect(await objects.get(key, MAX)).toEqual({ bytes: utf8("one"), etag })
    expect(await objects.create(key, utf8("one"), HEADERS)).toBe("exists")
    expect(await objects.create(key, utf8("two"), HEADERS)).toBe("exists")
    expect((await objects.get(key, MAX))?.bytes).toEqual(utf8("one"))
  })

  test("an empty object and one of a megabyte come back as they were", async () => {
    const objects = open()
    for (const bytes of [new Uint8Array(0), Uint8Array.from({ length: MAX }, (_, i) => i * 31)]) {
      const key = newKey()
      await objects.create(key, bytes, HEADERS)
      const read = await objects.get(key, MAX)
      expect(Buffer.compare(read?.bytes ?? utf8("missing"), bytes)).toBe(0)
    }
  })

  test("an object larger than asked for is refused", async () => {
    const objects = open()
    const key = newKey()
    await objects.create(key, new Uint8Array(101), HEADERS)
    await expect(objects.get(key, 100)).rejects.toMatchObject({ code: "PUBLICATION_MISMATCH" })
    expect((await objects.get(key, 101))?.bytes).toHaveLength(101)
  })

  test("an object is replaced only over what was read", async () => {
    const objects = open()
    const key = newKey()
    const first = etagOf(await objects.replace(key, utf8("one"), undefined, HEADERS))
    expect(await objects.replace(key, utf8("two"), undefined, HEADERS)).toBe("changed")
    const second = etagOf(await objects.replace(key, utf8("two"), first, HEADERS))
    expect(second).not.toBe(first)
    expect(await objects.replace(key, utf8("three"), first, HEADERS)).toBe("changed")
    expect(await objects.get(key, MAX)).toEqual({ bytes: utf8("two"), etag: second })
  })

  test("replacing what is not there any more answers changed", async () => {
    const objects = open()
    const etag = etagOf(await objects.replace(newKey(), utf8("one"), undefined, HEADERS))
    const key = newKey()
    expect(await objects.replace(key, utf8("two"), etag, HEADERS)).toBe("changed")
    expect(await objects.get(key, MAX)).toBeUndefined()
  })

  test("of many that create one object, one wins", async () => {
    const objects = open()
    const key = newKey()
    const results = await Promise.all(
      Array.from({ length: 6 }, async (_, i) => ({ i, result: await objects.create(key, utf8(`${i}`), HEADERS) })),
    )
    const winners = results.filter(({ result }) => result !== "exists")
    expect(winners).toHaveLength(1)
    expect((await objects.get(key, MAX))?.bytes).toEqual(utf8(`${winners[0]?.i}`))
  })

  test("of many that replace what they read, one wins", async () => {
    const objects = open()
    const key = newKey()
    const read = etagOf(await objects.replace(key, utf8("start"), undefined, HEADERS))
    const results = await Promise.all(
      Array.from({ length: 6 }, async (_, i) => ({
        i,
        result: await objects.replace(key, utf8(`${i}`), read, HEADERS),
      })),
    )
    const winners = results.filter(({ result }) => result !== "changed")
    expect(winners).toHaveLength(1)
    expect((await objects.get(key, MAX))?.bytes).toEqual(utf8(`${winners[0]?.i}`))
  })
}
