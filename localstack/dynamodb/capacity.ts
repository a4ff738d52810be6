import type { Reply, Request } from "./request.ts"
import { oneOf } from "./request.ts"
import { indexPosition, projectedItem, type TableSchema } from "./schema.ts"
import { type Item, itemSize } from "./values.ts"

const READ_UNIT_BYTES = 4096
const WRITE_UNIT_BYTES = 1024

/** Capacity units that one call used, by table, and within a table by index. */
export class CapacityMeter {
  readonly #wanted: "NONE" | "TOTAL" | "INDEXES"
  readonly #tables = new Map<string, { own: number; readonly indexes: Map<string, number> }>()

  constructor(request: Request) {
    this.#wanted = oneOf(request, "ReturnConsumedCapacity", ["NONE", "TOTAL", "INDEXES"])
  }

  /** @param factor 0.5 eventually consistent, 1 strongly consistent, 2 in a transaction */
  read(table: TableSchema, bytes: number, factor: number, indexName?: string): void {
    this.#add(table, Math.max(1, Math.ceil(bytes / READ_UNIT_BYTES)) * factor, indexName)
  }

  /** @param factor 1 alone, 2 in a transaction */
  write(table: TableSchema, before: Item | undefined, after: Item | undefined, factor: number): void {
    const bytes = Math.max(before ? itemSize(before) : 0, after ? itemSize(after) : 0)
    this.#add(table, writeUnits(bytes) * factor)
    for (const index of table.indexes) {
      for (const item of [before, after]) {
        if (item && indexPosition(index, item)) {
          this.#add(table, writeUnits(itemSize(projectedItem(table, index, item))) * factor, index.name)
        }
      }
    }
  }

  #add(table: TableSchema, units: number, indexName?: string): void {
    const sum = this.#tables.get(table.name) ?? { own: 0, indexes: new Map() }
    this.#tables.set(table.name, sum)
    if (indexName === undefined) sum.own += units
    else sum.indexes.set(indexName, (sum.indexes.get(indexName) ?? 0) + units)
  }

  /** `ConsumedCapacity` of a call on one table. */
  single(): Reply {
    const [first] = this.#list()
    return first ? { ConsumedCapacity: first } : {}
  }

  /** `ConsumedCapacity` of a call on several tables. */
  several(): Reply {
    return this.#wanted === "NONE" ? {} : { ConsumedCapacity: this.#list() }
  }

  #list(): Reply[] {
    if (this.#wanted === "NONE") return []
    return [...this.#tables].map(([TableName, { own, indexes }]) => ({
      TableName,
      CapacityUnits: [...indexes.values()].reduce((sum, units) => sum + units, own),
      ...(this.#wanted === "INDEXES" && {
        Table: { CapacityUnits: own },
        ...(indexes.size > 0 && {
          GlobalSecondaryIndexes: Object.fromEntries(
            [...indexes].map(([name, units]) => [name, { CapacityUnits: units }]),
          ),
        }),
      }),
    }))
  }
}

function writeUnits(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / WRITE_UNIT_BYTES))
}
