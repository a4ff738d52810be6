import { ServiceError } from "../errors.ts"
import type { TufPersonKey, TufProposal } from "../model.ts"
import type { Item, KeyReference, Table, Write } from "../ports.ts"
import { Attributes } from "./attributes.ts"
import { keys, queryAll } from "./keys.ts"

export function personKeyItem({ name, key, registeredAt }: TufPersonKey): Item {
  return { ...keys.tufKey(name), name, scheme: key.scheme, spki: key.spki, registeredAt: registeredAt.toISOString() }
}

/** Keys of people for TUF root and targets, by name. */
export async function listPersonKeys(table: Table): Promise<TufPersonKey[]> {
  return (await queryAll(table, "tuf-keys")).map((item) => {
    const attributes = Attributes.of(item)
    const scheme = attributes.text("scheme") as KeyReference["scheme"]
    return {
      name: attributes.text("name"),
      key: { scheme, spki: attributes.bytes("spki") },
      registeredAt: attributes.date("registeredAt"),
    }
  })
}

/** What waits for signatures of people, overtaken or not. */
export async function findProposal(table: Table): Promise<TufProposal | undefined> {
  const item = await table.get(keys.tufProposal)
  if (item === undefined) return undefined
  const attributes = Attributes.of(item)
  return {
    id: attributes.text("id"),
    act: attributes.text("act"),
    principal: attributes.text("principal"),
    createdAt: attributes.date("createdAt"),
    root: attributes.has("root") ? attributes.bytes("root") : undefined,
    targets: attributes.has("targets")
      ? { bytes: attributes.bytes("targets"), trustBundle: attributes.bytes("trustBundle") }
      : undefined,
    revision: attributes.number("revision"),
  }
}

/** @throws ServiceError TUF_PROPOSAL_UNKNOWN */
export async function readProposal(table: Table, id: string): Promise<TufProposal> {
  const proposal = await findProposal(table)
  if (proposal?.id !== id) throw new ServiceError("TUF_PROPOSAL_UNKNOWN", `no proposal ${id} waits for signatures`)
  return proposal
}

/** Puts a proposal in the place of the one that was read, which nobody may have changed since. */
export function putProposal(next: TufProposal, standing: TufProposal | undefined): Write {
  const { id, act, principal, createdAt, root, targets, revision } = next
  return {
    put: {
      ...keys.tufProposal,
      id,
      act,
      principal,
      createdAt: createdAt.toISOString(),
      ...(root && { root }),
      ...(targets && { targets: targets.bytes, trustBundle: targets.trustBundle }),
      revision,
    },
    if: standing === undefined ? { absent: true } : unchanged(standing),
  }
}

export function dropProposal(standing: TufProposal): Write {
  return { delete: keys.tufProposal, if: unchanged(standing) }
}

function unchanged({ id, revision }: TufProposal) {
  return { equals: { id, revision } }
}
