/**
 * Is what readers see at this moment one complete set (I3)? Follows the hashes from the TUF timestamp down, reads objects
 * and nothing else, and shares no code with what published them. Signatures are not its business.
 */
import { createHash } from "node:crypto"

type Read = (key: string) => Promise<Uint8Array | undefined>
type File = { readonly length: number; readonly hashes: { readonly sha256: string }; readonly version: number }

interface RuleJson {
  readonly kind: string
  readonly profile?: string
  readonly issuer?: string
  readonly thumbprint?: string
}

export interface ListJson {
  readonly epoch: number
  readonly issuers: {
    readonly [issuerKeyId: string]: {
      readonly coveredBelow: string
      readonly revoked: { readonly [number: string]: { readonly at: string } }
      readonly void: readonly string[]
    }
  }
  readonly artifacts: { readonly [digest: string]: { readonly at: string } }
  readonly rules: readonly RuleJson[]
  readonly released: readonly string[]
}

export interface PublishedEdition {
  readonly epoch: number
  readonly list: ListJson | undefined
  readonly problems: readonly string[]
}

export async function readEdition(read: Read): Promise<PublishedEdition> {
  const problems: string[] = []
  const json = (bytes: Uint8Array) => JSON.parse(Buffer.from(bytes).toString())

  async function follow(key: string, file: File | undefined): Promise<Uint8Array | undefined> {
    const bytes = await read(key)
    if (bytes === undefined) problems.push(`${key} is missing`)
    else if (file === undefined || file.length !== bytes.length || file.hashes.sha256 !== sha256(bytes))
      problems.push(`${key} holds other bytes than its hash`)
    else return bytes
    return undefined
  }

  const pointer = await read("tuf/timestamp.json")
  if (pointer === undefined) return { epoch: 0, list: undefined, problems: ["tuf/timestamp.json is missing"] }
  const timestamp = json(pointer).signed
  const atSnapshot: File = timestamp.meta["snapshot.json"]
  const snapshot = await follow(`tuf/${atSnapshot.version}.snapshot.json`, atSnapshot)
  const meta = Object.entries((snapshot ? json(snapshot).signed.meta : {}) as Record<string, File>)
  let list: ListJson | undefined
  for (const [name, file] of meta) {
    const role = await follow(`tuf/${file.version}.${name}`, file)
    if (role === undefined) continue
    for (const [path, target] of Object.entries(json(role).signed.targets as Record<string, File>)) {
      const cut = path.lastIndexOf("/") + 1
      const bytes = await follow(`tuf/targets/${path.slice(0, cut)}${target.hashes.sha256}.${path.slice(cut)}`, target)
      if (path === "lists/revocations.json" && bytes !== undefined) list = json(bytes).signed
      if (path.endsWith(".crl") && (await read(`crl/${path.slice(cut)}`)) === undefined)
        problems.push(`crl/${path.slice(cut)} is missing`)
    }
  }
  if (list === undefined) problems.push("there is no revocation list")
  else if (list.epoch !== timestamp.version)
    problems.push(`the list of epoch ${list.epoch} stands in ${timestamp.version}`)
  return { epoch: timestamp.version, list, problems }
}

/** What must be true of two lists that a reader may see one after the other (I7), holds apart. */
export function checkSuccessor(before: ListJson, after: ListJson): string[] {
  const problems: string[] = []
  if (after.epoch < before.epoch) problems.push(`epoch ${after.epoch} was shown after ${before.epoch}`)
  const [older, newer] = after.epoch >= before.epoch ? [before, after] : [after, before]
  const entries = (list: ListJson) => [
    ...Object.entries(list.artifacts).map(([digest, { at }]) => [`artifact:${digest}`, at] as const),
    ...Object.entries(list.issuers).flatMap(([issuer, { revoked }]) =>
      Object.entries(revoked).map(([number, { at }]) => [`signature:${issuer}:${number}`, at] as const),
    ),
    ...list.rules.map((rule) => [ruleName(rule), ""] as const),
  ]
  const now = new Map(entries(newer))
  for (const [name, at] of entries(older)) {
    const later = now.get(name)
    if (later === undefined && !newer.released.includes(name))
      problems.push(`${name} is gone from epoch ${newer.epoch}`)
    else if (later !== undefined && later > at) problems.push(`${name} moved later in epoch ${newer.epoch}`)
  }
  for (const [issuer, numbers] of Object.entries(older.issuers))
    if (Number(newer.issuers[issuer]?.coveredBelow ?? 0) < Number(numbers.coveredBelow))
      problems.push(`epoch ${newer.epoch} covers less of ${issuer} than epoch ${older.epoch}`)
  return problems
}

export function ruleName({ kind, profile, issuer, thumbprint }: RuleJson): string {
  return `${kind}:${thumbprint ?? profile ?? issuer}`
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex")
}
