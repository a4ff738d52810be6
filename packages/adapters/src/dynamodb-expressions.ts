import type { AttributeValue, TransactWriteItem } from "@aws-sdk/client-dynamodb"
import type { Attribute, Condition, Item, Key, Update, Write } from "@sealwright/core/ports"

type Wire = Record<string, AttributeValue>

/** @throws TypeError on what the table cannot hold */
export function attributeTo(value: Attribute): AttributeValue {
  if (typeof value === "string") return { S: value }
  if (typeof value === "boolean") return { BOOL: value }
  if (typeof value === "number" && Number.isFinite(value)) return { N: String(value) }
  if (value instanceof Uint8Array) return { B: value }
  if (value instanceof Set && value.size > 0) return { SS: [...value] }
  if (Array.isArray(value)) return { L: value.map(attributeTo) }
  if (typeof value === "object" && !(value instanceof Set)) return { M: mapTo(value as { [name: string]: Attribute }) }
  throw new TypeError("an attribute is a text, finite number, flag, bytes, non-empty set, list or map")
}

function mapTo(map: { readonly [name: string]: Attribute }): Wire {
  return Object.fromEntries(Object.entries(map).map(([name, value]) => [name, attributeTo(value)]))
}

function attributeFrom(value: AttributeValue): Attribute {
  if (value.S !== undefined) return value.S
  if (value.N !== undefined) return Number(value.N)
  if (value.BOOL !== undefined) return value.BOOL
  if (value.B !== undefined) return new Uint8Array(value.B)
  if (value.SS !== undefined) return new Set(value.SS)
  if (value.L !== undefined) return value.L.map(attributeFrom)
  if (value.M !== undefined) return mapFrom(value.M)
  throw new Error(`damaged item: an attribute of type ${Object.keys(value).join()}`)
}

function mapFrom(map: Wire): { readonly [name: string]: Attribute } {
  return Object.fromEntries(Object.entries(map).map(([name, value]) => [name, attributeFrom(value)]))
}

export function itemFrom(item: Wire): Item {
  return mapFrom(item) as Item
}

export function keyTo({ pk, sk }: Key): Wire {
  return { pk: { S: pk }, sk: { S: sk } }
}

/** Names and values of one expression, each under a placeholder: no attribute name can be a reserved word. */
class Placeholders {
  readonly #names = new Map<string, string>()
  readonly #values: Wire = {}

  name(attribute: string): string {
    const known = this.#names.get(attribute)
    if (known !== undefined) return known
    const placeholder = `#${this.#names.size}`
    this.#names.set(attribute, placeholder)
    return placeholder
  }

  value(value: Attribute): string {
    const placeholder = `:${Object.keys(this.#values).length}`
    this.#values[placeholder] = attributeTo(value)
    return placeholder
  }

  maps() {
    return {
      ...(this.#names.size > 0 && {
        ExpressionAttributeNames: Object.fromEntries(
          [...this.#names].map(([name, placeholder]) => [placeholder, name]),
        ),
      }),
      ...(Object.keys(this.#values).length > 0 && { ExpressionAttributeValues: this.#values }),
    }
  }
}

/** @param write checked by `checkWrites` */
export function writeTo(tableName: string, write: Write): TransactWriteItem {
  const placeholders = new Placeholders()
  const update = "update" in write ? updateExpression(write, placeholders) : ""
  const condition = write.if === undefined ? "" : conditionExpression(write.if, placeholders)
  const common = {
    TableName: tableName,
    ...(condition !== "" && {
      ConditionExpression: condition,
      ReturnValuesOnConditionCheckFailure: "ALL_OLD" as const,
    }),
    ...placeholders.maps(),
  }
  if ("put" in write) return { Put: { ...common, Item: mapTo(write.put) } }
  if ("update" in write) return { Update: { ...common, Key: keyTo(write.update), UpdateExpression: update } }
  if ("delete" in write) return { Delete: { ...common, Key: keyTo(write.delete) } }
  return { ConditionCheck: { ...common, Key: keyTo(write.check), ConditionExpression: condition } }
}

function conditionExpression(condition: Condition, placeholders: Placeholders): string {
  const name = (attribute: string) => placeholders.name(attribute)
  const same = (scalars: { readonly [attribute: string]: Attribute }) =>
    Object.entries(scalars).map(([attribute, value]) => `${name(attribute)} = ${placeholders.value(value)}`)
  const parts = [
    ...(condition.absent ? [`attribute_not_exists(${name("pk")})`] : []),
    ...(condition.exists ? [`attribute_exists(${name("pk")})`] : []),
    ...same(condition.equals ?? {}),
    ...(condition.absentOrEquals === undefined
      ? []
      : [`(attribute_not_exists(${name("pk")}) OR (${same(condition.absentOrEquals).join(" AND ")}))`]),
    ...(condition.lacks ?? []).map((attribute) => `attribute_not_exists(${name(attribute)})`),
    ...Object.entries(condition.lacksIn ?? {}).flatMap(([map, keys]) =>
      keys.map((key) => `attribute_not_exists(${name(map)}.${name(key)})`),
    ),
    ...Object.entries(condition.fewerThan ?? {}).map(
      ([set, bound]) => `(attribute_not_exists(${name(set)}) OR size(${name(set)}) < ${placeholders.value(bound)})`,
    ),
  ]
  return parts.join(" AND ")
}

function updateExpression(update: Update, placeholders: Placeholders): string {
  const name = (attribute: string) => placeholders.name(attribute)
  const set = [
    ...Object.entries(update.set ?? {}).map(
      ([attribute, value]) => `${name(attribute)} = ${placeholders.value(value)}`,
    ),
    ...Object.entries(update.setIn ?? {}).flatMap(([map, entries]) =>
      Object.entries(entries).map(([key, value]) => `${name(map)}.${name(key)} = ${placeholders.value(value)}`),
    ),
  ]
  const remove = (update.remove ?? []).map(name)
  const add = [
    ...Object.entries(update.join ?? {}).map(
      ([attribute, members]) => `${name(attribute)} ${placeholders.value(new Set(members))}`,
    ),
    ...Object.entries(update.add ?? {}).map(
      ([attribute, amount]) => `${name(attribute)} ${placeholders.value(amount)}`,
    ),
  ]
  const clause = (word: string, parts: readonly string[]) => (parts.length === 0 ? [] : [`${word} ${parts.join(", ")}`])
  return [...clause("SET", set), ...clause("REMOVE", remove), ...clause("ADD", add)].join(" ")
}
