/** Which logs count, and which witnesses must have seen their checkpoints (C2SP tlog-policy). */
import { utf8Decode } from "./bytes.ts"
import { FormatError } from "./errors.ts"
import { type NoteKey, parseVkey } from "./signed-note.ts"

export const MAX_LOG_POLICY_BYTES = 262_144
/** of each kind */
const MAX_NAMES = 64

export interface LogKey {
  readonly key: NoteKey
  readonly url?: string | undefined
}

export interface Witness extends LogKey {
  /** what groups and the quorum call it; no part of any signature */
  readonly name: string
}

/** `threshold` of `members` must be met; a member is a witness or another group, each in one place alone. */
export interface WitnessGroup {
  readonly name: string
  readonly threshold: number
  readonly members: readonly string[]
}

export interface LogPolicy {
  readonly logs: readonly LogKey[]
  readonly witnesses: readonly Witness[]
  readonly groups: readonly WitnessGroup[]
  /** a witness, a group, or undefined when no witness is asked for */
  readonly quorum: string | undefined
}

/** @throws FormatError TOO_LARGE, TEXT_MALFORMED, LOG_POLICY_MALFORMED, NOTE_MALFORMED for a key that is none, ALGORITHM_UNSUPPORTED */
export function parseLogPolicy(bytes: Uint8Array): LogPolicy {
  if (bytes.length > MAX_LOG_POLICY_BYTES) throw new FormatError("TOO_LARGE", "a policy beyond its limit")
  const text = utf8Decode(bytes)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the format forbids them
  if (/[\u0000-\u0008\u000b-\u001f\u007f]/.test(text)) throw malformed("a control character")
  if (text !== "" && !text.endsWith("\n")) throw malformed("a line without its end")
  const reader = new PolicyReader()
  for (const line of text.split("\n")) {
    const words = line.split(/[ \t]+/).filter((word) => word !== "")
    if (words.length > 0 && !words[0]?.startsWith("#")) reader.line(words)
  }
  return reader.policy()
}

class PolicyReader {
  readonly #logs: LogKey[] = []
  readonly #witnesses: Witness[] = []
  readonly #groups: WitnessGroup[] = []
  readonly #names = new Set<string>(["none"])
  readonly #members = new Set<string>()
  readonly #keys = new Set<string>()
  #quorum: { readonly name: string } | undefined

  line([keyword, ...rest]: readonly string[]): void {
    switch (keyword) {
      case "log":
        this.#log(rest)
        break
      case "witness":
        this.#witness(rest)
        break
      case "group":
        this.#group(rest)
        break
      case "quorum":
        this.#setQuorum(rest)
        break
      default:
        throw malformed(`a line that begins with neither log, witness, group nor quorum: ${keyword}`)
    }
  }

  policy(): LogPolicy {
    if (this.#quorum === undefined) throw malformed("no quorum line")
    const { name } = this.#quorum
    return {
      logs: this.#logs,
      witnesses: this.#witnesses,
      groups: this.#groups,
      quorum: name === "none" ? undefined : name,
    }
  }

  #log([vkey, url, ...more]: readonly string[]): void {
    if (vkey === undefined || more.length > 0) throw malformed("log <vkey> [<url>]")
    this.#logs.push({ key: this.#key("log", vkey), ...(url && { url }) })
    if (this.#logs.length > MAX_NAMES) throw new FormatError("TOO_LARGE", `more than ${MAX_NAMES} logs`)
  }

  #witness([name, vkey, url, ...more]: readonly string[]): void {
    if (name === undefined || vkey === undefined || more.length > 0) throw malformed("witness <name> <vkey> [<url>]")
    this.#define(name)
    this.#witnesses.push({ name, key: this.#key("witness", vkey), ...(url && { url }) })
  }

  #group([name, count, ...members]: readonly string[]): void {
    if (name === undefined || count === undefined || members.length === 0)
      throw malformed("group <name> all|any|<k> <name>...")
    for (const member of members) {
      if (member === "none" || !this.#names.has(member)) throw malformed(`${member} is not defined above its group`)
      if (this.#members.has(member)) throw malformed(`${member} is a member twice`)
      this.#members.add(member)
    }
    const threshold = count === "all" ? members.length : count === "any" ? 1 : decimal(count)
    if (threshold < 1 || threshold > members.length) throw malformed(`${count} of ${members.length} members`)
    this.#define(name)
    this.#groups.push({ name, threshold, members })
  }

  #setQuorum([name, ...more]: readonly string[]): void {
    if (name === undefined || more.length > 0) throw malformed("quorum <name>")
    if (this.#quorum !== undefined) throw malformed("two quorum lines")
    if (!this.#names.has(name)) throw malformed(`the quorum ${name} is not defined above`)
    this.#quorum = { name }
  }

  #define(name: string): void {
    if (this.#names.has(name)) throw malformed(`${name} is defined twice`)
    if (this.#names.size > 2 * MAX_NAMES) throw new FormatError("TOO_LARGE", "too many witnesses and groups")
    this.#names.add(name)
  }

  /** One key may be a log's or a witness's once, whatever its name and id. */
  #key(kind: string, vkey: string): NoteKey {
    const key = parseVkey(vkey)
    const id = `${kind} ${key.publicKey.join(",")}`
    if (this.#keys.has(id)) throw malformed(`a ${kind}'s key stands twice`)
    this.#keys.add(id)
    return key
  }
}

/** Whether these witnesses (by their names in the policy) are enough. */
export function meetsQuorum({ groups, quorum }: LogPolicy, seen: ReadonlySet<string>): boolean {
  if (quorum === undefined) return true
  const met = new Set(seen)
  // A group stands below its members, so one pass in order settles all.
  for (const { name, threshold, members } of groups)
    if (members.filter((member) => met.has(member)).length >= threshold) met.add(name)
  return met.has(quorum)
}

function decimal(text: string): number {
  return /^[1-9][0-9]{0,3}$/.test(text) ? Number(text) : 0
}

function malformed(detail: string): FormatError {
  return new FormatError("LOG_POLICY_MALFORMED", detail)
}
