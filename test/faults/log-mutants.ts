import type { Item, Table, Update, Write } from "@sealwright/core/ports"
import { utf8 } from "@sealwright/formats/bytes"
import { checkpointText } from "@sealwright/formats/checkpoint"
import type { FaultyPorts } from "../support/fakes-faults.ts"
import { CHEAP_ORIGINS } from "./log-origins.ts"

type Change = (ports: FaultyPorts, actor: string) => FaultyPorts

const updateOf = (write: Write | undefined, pk: string): Update | undefined =>
  write !== undefined && "update" in write && write.update.pk.startsWith(pk) ? write : undefined

function withTable(
  ports: FaultyPorts,
  transact: (table: Table, writes: readonly Write[]) => ReturnType<Table["transact"]>,
) {
  const { table } = ports
  return {
    ...ports,
    table: {
      get: table.get.bind(table),
      query: table.query.bind(table),
      queryIndex: table.queryIndex.bind(table),
      transact: (writes: readonly Write[]) => transact(table, writes),
    },
  }
}

/** The same writes, with those conditions that `keep` leaves. */
function unconditioned(ports: FaultyPorts, keep: (write: Write) => boolean): FaultyPorts {
  return withTable(ports, (table, writes) =>
    table.transact(
      writes.map((write) => {
        if (keep(write)) return write
        const { if: _, ...rest } = write as Write & { if?: unknown }
        return rest as Write
      }),
    ),
  )
}

/** Each breaks one rule of D5. */
export const LOG_MUTANTS: Readonly<Record<string, () => Change>> = {
  "a round of witnesses is stored over another": () => (ports) =>
    unconditioned(ports, (write) => updateOf(write, "log-epochs")?.set?.shown === undefined),
  "a head is signed before it is decided": () => (ports, actor) => {
    if (!actor.startsWith("sequencer")) return ports
    const { keys } = ports
    const signatures = new Map<string, Uint8Array>()
    const mutated = withTable(ports, async (table, writes) => {
      const head = updateOf(writes[0], "log")?.set
      const kind = updateOf(writes[0], "log")?.update.sk
      if (head?.state === "committed") {
        const { origin, key } = CHEAP_ORIGINS[kind === "events" ? "events" : "signatures"]
        const text = checkpointText({ origin, size: BigInt(Number(head.size)), root: head.root as Uint8Array })
        signatures.set(text, await keys.sign(key, utf8(text)))
      }
      return await table.transact(writes)
    })
    return {
      ...mutated,
      keys: {
        sign: async (key, message) =>
          signatures.get(new TextDecoder().decode(message)) ?? (await keys.sign(key, message)),
      },
    }
  },
  "a checkpoint is put without its condition": () => (ports, actor) => {
    if (!actor.startsWith("sequencer")) return ports
    const { objects } = ports
    return {
      ...ports,
      objects: {
        get: objects.get.bind(objects),
        create: objects.create.bind(objects),
        async replace(key, bytes, etag, headers) {
          let present = etag
          for (;;) {
            const result = await objects.replace(key, bytes, present, headers)
            if (result !== "changed") return result
            present = (await objects.get(key, 2 ** 20))?.etag
          }
        },
      },
    }
  },
  "an epoch is decided without compare-and-swap": () => (ports, actor) =>
    actor.startsWith("sequencer")
      ? unconditioned(ports, (write) => {
          const deciding = updateOf(write, "log")?.set?.state === "committed"
          return !deciding && !("put" in write && write.put.pk.startsWith("log-epochs#"))
        })
      : ports,
  "the inbox is emptied before the epoch is decided": () => (ports, actor) =>
    actor.startsWith("sequencer")
      ? {
          ...ports,
          ...withTable(ports, async (table, writes) => {
            const [first] = writes
            if (updateOf(first, "log")?.set?.state === "committed") {
              const { items } = await table.query("inbox#events")
              await emptied(table, items)
            }
            return await table.transact(writes)
          }),
        }
      : ports,
}

async function emptied(table: Table, items: readonly Item[]): Promise<void> {
  for (const { pk, sk } of items) await table.transact([{ delete: { pk, sk } }])
}
