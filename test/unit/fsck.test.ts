import { sequence } from "@sealwright/core/log/flow"
import { LOG_KINDS } from "@sealwright/core/model"
import { describe, expect, test } from "vitest"
import { fsck } from "../../packages/cli/src/fsck/check.ts"
import type { Dump, FsckCode, StoredItem } from "../../packages/cli/src/fsck/state.ts"
import { createService, digestOf, signRequest } from "../support/service.ts"

async function busyService() {
  const service = createService()
  await service.setUp()
  await service.profile("release")
  await service.profile("held", { keyMode: "held" })
  const sign = service.signer()
  const [first] = await sign(signRequest(["one"], { idempotencyKey: "k1" }))
  await sign(signRequest(["two", "three", "four", "five", "six"], { idempotencyKey: "k2" }))
  await sign(signRequest(["held"], { profile: "held" }))
  await service.publish()
  for (const kind of LOG_KINDS) await sequence(service.ports, kind)
  service.pass(30)
  if (first === undefined || !("signed" in first)) throw new Error("not signed")
  await service.revoke({ kind: "signature", signature: first.signed.id })
  await service.revoke({ kind: "artifact", digest: digestOf("two") }, "certificateHold")
  await service.publish()
  service.pass(30)
  await sign(signRequest(["seven"]))
  await service.publish(true)
  return { service, dump: dumpOf(service) }
}

function dumpOf(service: ReturnType<typeof createService>): { items: StoredItem[]; objects: Map<string, Uint8Array> } {
  const objects = new Map([...service.memory.objects.dump()].map(([key, { bytes }]) => [key, bytes]))
  return { items: [...service.memory.table.dump()] as StoredItem[], objects }
}

const codes = (dump: Dump) => [...new Set(fsck(dump).findings.map(({ code }) => code))]

describe("fsck", () => {
  test("finds nothing in a sound service (I1-I3, I5, I7)", async () => {
    const { dump } = await busyService()
    expect(fsck(dump)).toEqual({ findings: [], records: 8 })
  })

  const damages: {
    readonly code: FsckCode
    readonly name: string
    readonly damage: (dump: ReturnType<typeof dumpOf>) => void
  }[] = [
    {
      code: "NUMBER_WITHOUT_RECORD",
      name: "a record that was deleted",
      damage: ({ items }) => remove(items, (item) => item.sk === "record"),
    },
    {
      code: "RECORD_WITHOUT_NUMBER",
      name: "a number that a lease does not know",
      damage: ({ items }) =>
        change(
          items,
          (item) => item.pk.startsWith("leases#"),
          () => ({ used: {} }),
        ),
    },
    {
      code: "RECORD_ENVELOPE_INVALID",
      name: "an envelope with a flipped bit",
      damage: ({ items }) =>
        change(
          items,
          (item) => item.sk === "record",
          (item) => {
            const [envelope] = item.envelopes as unknown as { bytes: Uint8Array }[]
            const bytes = new Uint8Array(envelope?.bytes ?? [])
            bytes[200] = (bytes[200] ?? 0) ^ 1
            return { envelopes: [{ ...envelope, bytes }] as never }
          },
        ),
    },
    {
      code: "RECORD_ENVELOPE_INVALID",
      name: "a record with another's number",
      damage: ({ items }) =>
        change(
          items,
          (item) => item.sk === "record",
          (item) => ({ number: (item.number as number) + 1000 }),
        ),
    },
    {
      code: "ARTIFACT_LIST_WRONG",
      name: "an artifact that lost a signature",
      damage: ({ items }) =>
        change(
          items,
          (item) => item.sk === "artifact",
          () => ({ signatures: new Set<string>() }),
        ),
    },
    {
      code: "INBOX_MISSING",
      name: "a record without inbox item",
      damage: ({ items }) => remove(items, (item) => item.pk.startsWith("inbox#")),
    },
    {
      code: "INBOX_MISSING",
      name: "a record that left the log",
      damage: ({ items }) => remove(items, (item) => item.pk.startsWith("logged#")),
    },
    {
      code: "LOG_PLACE_WRONG",
      name: "a record that is logged and waits",
      damage: ({ items }) => {
        const logged = items.find((item) => item.pk.startsWith("logged#"))
        items.push({ pk: "inbox#0", sk: logged?.pk.slice("logged#".length) ?? "", leaf: "signature" })
      },
    },
    {
      code: "LOG_PLACE_WRONG",
      name: "a place that is another's",
      damage: ({ items }) =>
        change(
          items,
          (item) => item.pk.startsWith("logged#"),
          () => ({ index: 1 }),
        ),
    },
    {
      code: "LOG_WRONG",
      name: "a leaf with a flipped bit",
      damage: ({ objects }) => {
        const [key = "", bytes = new Uint8Array(0)] =
          [...objects].find(([name]) => name.startsWith("log/signatures/tile/entries/")) ?? []
        objects.set(key, bytes.with(100, (bytes[100] ?? 0) ^ 1))
      },
    },
    {
      code: "LOG_WRONG",
      name: "a lost checkpoint",
      damage: ({ objects }) => void objects.delete("log/signatures/checkpoint"),
    },
    {
      code: "LOG_WRONG",
      name: "a head that was set back",
      damage: ({ items }) =>
        change(
          items,
          (item) => item.pk === "log" && item.sk === "signatures",
          () => ({ size: 3 }),
        ),
    },
    {
      code: "IDEMPOTENCY_WRONG",
      name: "an idempotency key that names no record",
      damage: ({ items }) =>
        change(
          items,
          (item) => item.pk.startsWith("idempotency#") && item.signature !== undefined,
          () => ({ signature: "gone" }),
        ),
    },
    {
      code: "VOIDS_WRONG",
      name: "void numbers that were dropped",
      damage: ({ items }) => remove(items, (item) => item.pk.startsWith("voids#")),
    },
    {
      code: "LEASES_OVERLAP",
      name: "a numbering that was set back",
      damage: ({ items }) =>
        change(
          items,
          (item) => item.pk.startsWith("numbers#"),
          (item) => ({ next: (item.next as number) - 1 }),
        ),
    },
    {
      code: "LEASE_UNSETTLED",
      name: "a marker of a settled lease",
      damage: ({ items }) => {
        const lease = items.find((item) => item.pk.startsWith("voids#"))
        if (lease !== undefined) items.push({ pk: "open-leases", sk: `${lease.pk.slice("voids#".length)}#${lease.sk}` })
      },
    },
    {
      code: "DENIAL_MISSING",
      name: "a revoked artifact that could be signed",
      damage: ({ items }) =>
        void items.splice(
          0,
          items.length,
          ...items.map((item) => {
            const { deniedBy: _, ...rest } = item
            return rest as StoredItem
          }),
        ),
    },
    {
      code: "HEAD_WRONG",
      name: "a head that runs ahead of the bucket",
      damage: ({ items }) =>
        change(
          items,
          (item) => item.pk === "publication",
          () => ({ published: 9, committed: 9, open: 10 }),
        ),
    },
    {
      code: "PUBLICATION_INVALID",
      name: "a list that is missing",
      damage: ({ objects }) => removeObject(objects, /revocations\.json$/),
    },
    {
      code: "REVOCATION_UNPUBLISHED",
      name: "a revocation that no list has",
      damage: ({ items }) => {
        const known = items.find(
          (item) => item.pk === "revocations" && JSON.stringify(item.target).includes('"signature"'),
        )
        if (known !== undefined)
          items.push({ ...known, sk: "rev-0", target: { kind: "artifact", digest: digestOf("another") } })
      },
    },
    {
      code: "LIST_UNFOUNDED",
      name: "a revocation in the list alone",
      damage: ({ items }) => remove(items, (item) => item.pk === "revocations"),
    },
    { code: "CRL_WRONG", name: "a CRL that is missing", damage: ({ objects }) => removeObject(objects, /^crl\//) },
    {
      code: "TABLE_DAMAGED",
      name: "an attribute of another type",
      damage: ({ items }) =>
        change(
          items,
          (item) => item.pk.startsWith("leases#"),
          () => ({ first: "x" }),
        ),
    },
  ]

  test.each(damages)("names $code for $name", async ({ code, damage }) => {
    const { dump } = await busyService()
    damage(dump)
    expect(codes(dump)).toContain(code)
  })
})

function change(
  items: StoredItem[],
  which: (item: StoredItem) => boolean,
  by: (item: StoredItem) => Partial<StoredItem>,
): void {
  const index = items.findIndex(which)
  const item = items[index]
  if (item === undefined) throw new Error("nothing to damage")
  items[index] = { ...item, ...by(item) } as StoredItem
}

function remove(items: StoredItem[], which: (item: StoredItem) => boolean): void {
  const index = items.findIndex(which)
  if (index < 0) throw new Error("nothing to damage")
  items.splice(index, 1)
}

function removeObject(objects: Map<string, Uint8Array>, which: RegExp): void {
  const key = [...objects.keys()].find((name) => which.test(name))
  if (key === undefined) throw new Error("nothing to damage")
  objects.delete(key)
}
