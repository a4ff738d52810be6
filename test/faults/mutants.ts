import type { Condition, Item, Table, TransactResult, Update, Write } from "@sealwright/core/ports"
import type { FaultyPorts } from "../support/fakes-faults.ts"
import type { Mutant } from "./scenario.ts"

/** Changes one port of the actors whose name starts so. */
function of(actor: string, change: (ports: FaultyPorts) => Partial<FaultyPorts>): Mutant {
  return { ports: () => (ports, name) => (name.startsWith(actor) ? { ...ports, ...change(ports) } : ports) }
}

function withTable(table: Table, change: Partial<Table>): { readonly table: Table } {
  return {
    table: {
      get: (key) => table.get(key),
      query: (pk, range) => table.query(pk, range),
      queryIndex: (index, value, range) => table.queryIndex(index, value, range),
      transact: (writes) => table.transact(writes),
      ...change,
    },
  }
}

/** The same writes, with the conditions that `change` leaves. */
function reconditioned(table: Table, change: (write: Write) => Condition | undefined): { readonly table: Table } {
  return withTable(table, {
    transact: (writes) =>
      table.transact(
        writes.map((write) => {
          const { if: _, ...rest } = write as Write & { if?: Condition }
          const condition = change(write)
          return (condition === undefined ? rest : { ...rest, if: condition }) as Write
        }),
      ),
  })
}

const puts = (writes: readonly Write[], prefix: string) =>
  writes.some((write) => "put" in write && write.put.pk.startsWith(prefix))
const updateOf = (write: Write, prefix: string): Update | undefined =>
  "update" in write && write.update.pk.startsWith(prefix) ? write : undefined
const COMMITTED: TransactResult = { committed: true }

/** Each breaks one rule of D3, D4 or D5. */
export const MUTANTS: Readonly<Record<string, Mutant>> = {
  "release before record": of("signer", ({ table }) =>
    withTable(table, {
      async transact(writes) {
        if (!puts(writes, "signature#")) return table.transact(writes)
        table.transact(writes).catch(() => undefined)
        return COMMITTED
      },
    }),
  ),
  "no lease before the key": of("signer", ({ table }) =>
    withTable(table, {
      transact: async (writes) => (puts(writes, "leases#") ? COMMITTED : table.transact(writes)),
    }),
  ),
  "a record does not ask for an open lease": of("signer", ({ table }) =>
    reconditioned(table, (write) => (updateOf(write, "leases#") ? { exists: true } : write.if)),
  ),
  "numbers are taken without compare-and-swap": of("signer", ({ table }) =>
    reconditioned(table, (write) =>
      updateOf(write, "numbers#") || ("put" in write && write.put.pk.startsWith("leases#")) ? undefined : write.if,
    ),
  ),
  "an idempotency key is overwritten": of("signer", ({ table }) =>
    reconditioned(table, (write) => ("put" in write && write.put.pk.startsWith("idempotency#") ? undefined : write.if)),
  ),
  "retry without key": { withoutKeys: true },
  "suspend leaves leases open": of("admin", ({ table }) =>
    withTable(table, {
      query: async (pk, range) => (pk === "open-leases" ? { items: [], next: undefined } : table.query(pk, range)),
    }),
  ),
  "a lease does not ask for the profile's generation": {
    ports: () => (ports, name) =>
      name.startsWith("signer")
        ? {
            ...ports,
            ...reconditioned(ports.table, (write) =>
              "check" in write && write.check.pk === "profiles" ? { exists: true } : write.if,
            ),
          }
        : ports,
  },
  "voids are counted before the lease is closed": {
    ports: () => (ports, name) => {
      if (name.startsWith("signer")) return ports
      const { table } = ports
      const stale = new Map<string, Item | undefined>()
      return {
        ...ports,
        ...withTable(table, {
          async transact(writes) {
            const closing = writes.length === 1 && writes[0] ? updateOf(writes[0], "leases#") : undefined
            if (closing !== undefined)
              stale.set(`${closing.update.pk} ${closing.update.sk}`, await table.get(closing.update))
            return table.transact(writes)
          },
          async get(key) {
            const name = `${key.pk} ${key.sk}`
            const before = stale.get(name)
            stale.delete(name)
            return before ?? table.get(key)
          },
        }),
      }
    },
  },
  "snapshot before close": of("publisher", ({ table }) => {
    let before: Promise<Item[]> = Promise.resolve([])
    return withTable(table, {
      async transact(writes) {
        const closing = writes.length === 1 && writes[0] ? updateOf(writes[0], "publication") : undefined
        if (closing?.set?.open !== undefined) {
          const { items } = await table.query("revocations")
          before = Promise.resolve([...items])
          const result = await table.transact(writes)
          return result
        }
        return table.transact(writes)
      },
      async query(pk, range) {
        return pk === "revocations" ? { items: await before, next: undefined } : table.query(pk, range)
      },
    })
  }),
  "sign again and overwrite": of("publisher", ({ table }) =>
    reconditioned(table, (write) => (updateOf(write, "epochs")?.setIn?.signatures ? { exists: true } : write.if)),
  ),
  "two publishers commit one epoch": of("publisher", ({ table }) =>
    reconditioned(table, (write) => {
      const committing = updateOf(write, "publication")?.set?.committed !== undefined
      return committing || ("put" in write && write.put.pk === "epochs") ? undefined : write.if
    }),
  ),
  "pointer first": of("publisher", ({ objects }) => {
    const held = new Map<string, () => Promise<unknown>>()
    const bodies = new Map<string, Uint8Array>()
    return {
      objects: {
        async get(key, maxBytes) {
          const bytes = bodies.get(key)
          return bytes === undefined ? objects.get(key, maxBytes) : { bytes, etag: "held" }
        },
        async create(key, bytes, headers) {
          if (!key.startsWith("tuf/")) return objects.create(key, bytes, headers)
          held.set(key, () => objects.create(key, bytes, headers))
          bodies.set(key, bytes)
          return { etag: "held" }
        },
        async replace(key, bytes, etag, headers) {
          const result = await objects.replace(key, bytes, etag, headers)
          if (key === "tuf/timestamp.json") for (const write of held.values()) await write()
          return result
        },
      },
    }
  }),
}

/** Seen only when an epoch closes between a revoker's reading of it and its note: too seldom for seeds. */
export const NOTE_WITHOUT_EPOCH: Mutant = of("revoker", ({ table }) =>
  reconditioned(table, (write) => (updateOf(write, "publication") ? undefined : write.if)),
)

/** Seen only when a publisher sleeps between reading a head and replacing it for as long as another one needs for an epoch: too seldom for seeds. */
export const HEAD_WITHOUT_SWAP: Mutant = of("publisher", ({ objects }) => ({
  objects: {
    get: (key, maxBytes) => objects.get(key, maxBytes),
    create: (key, bytes, headers) => objects.create(key, bytes, headers),
    async replace(key, bytes, _, headers) {
      for (;;) {
        const standing = await objects.get(key, Number.MAX_SAFE_INTEGER)
        const result = await objects.replace(key, bytes, standing?.etag, headers)
        if (result !== "changed") return result
      }
    },
  },
}))
