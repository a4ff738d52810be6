import type { Condition, Key, Write } from "@sealwright/core/ports"

const MAX_WRITES = 100

export function keyOf(write: Write): Key {
  if ("put" in write) return write.put
  if ("update" in write) return write.update
  return "delete" in write ? write.delete : write.check
}

/**
 * What every table refuses in a transaction, whatever it holds (TransactWriteItems): a mistake of the calling code.
 * @throws TypeError
 */
export function checkWrites(writes: readonly Write[]): void {
  if (writes.length === 0 || writes.length > MAX_WRITES)
    throw new TypeError(`a transaction has 1 to ${MAX_WRITES} writes`)
  const seen = new Set<string>()
  for (const write of writes) {
    const { pk, sk } = keyOf(write)
    if (pk === "" || sk === "") throw new TypeError("a key has no empty part")
    const name = JSON.stringify([pk, sk])
    if (seen.has(name)) throw new TypeError(`two writes of one transaction meet at ${name}`)
    seen.add(name)
    if ("check" in write && Object.keys(write.if).length === 0) throw new TypeError("a check without a condition")
    if ("update" in write) checkUpdate(write)
    if (write.if !== undefined) checkCondition(write.if)
  }
}

function checkUpdate(write: Extract<Write, { update: Key }>): void {
  const sets = Object.entries(write.join ?? {})
  const touched = [
    ...Object.keys(write.set ?? {}),
    ...(write.remove ?? []),
    ...Object.keys(write.setIn ?? {}),
    ...sets.map(([name]) => name),
    ...Object.keys(write.add ?? {}),
  ]
  if (touched.length === 0) throw new TypeError("an update changes something")
  if (new Set(touched).size < touched.length) throw new TypeError("an update touches an attribute twice")
  if (touched.includes("pk") || touched.includes("sk")) throw new TypeError("an update cannot change a key")
  if (sets.some(([, members]) => members.length === 0)) throw new TypeError("an update joins at least one member")
  if (Object.values(write.setIn ?? {}).some((entries) => Object.keys(entries).length === 0))
    throw new TypeError("an update sets at least one key of a map")
}

function checkCondition(condition: Condition): void {
  for (const part of [condition.equals, condition.absentOrEquals, condition.lacksIn, condition.fewerThan])
    if (part !== undefined && Object.keys(part).length === 0) throw new TypeError("a condition with an empty part")
  if (condition.lacks?.length === 0) throw new TypeError("a condition with an empty part")
}
