import type { Revocation, RevocationTarget } from "../model.ts"
import type { Item, Table } from "../ports.ts"
import { Attributes, present } from "./attributes.ts"
import { keys, queryAll } from "./keys.ts"

export function revocationItem(revocation: Revocation): Item {
  return {
    ...keys.revocation(revocation.id),
    id: revocation.id,
    target: targetAttributes(revocation.target),
    reason: revocation.reason,
    comment: revocation.comment,
    principal: revocation.principal,
    acknowledgedAt: revocation.acknowledgedAt.toISOString(),
    effectiveAt: revocation.effectiveAt.toISOString(),
    epoch: revocation.epoch,
    firstEpoch: revocation.firstEpoch,
    released: revocation.released,
  }
}

function targetAttributes(target: RevocationTarget): { readonly [name: string]: Item[string] } {
  return present(Object.fromEntries(Object.entries(target).map(([name, value]) => [name, attributeOf(value)])))
}

function attributeOf(value: unknown): Item[string] | undefined {
  if (value instanceof Date) return value.toISOString()
  return typeof value === "object" && value !== null ? present(value as Item) : (value as Item[string] | undefined)
}

function targetFrom(attributes: Attributes): RevocationTarget {
  const kind = attributes.text("kind") as RevocationTarget["kind"]
  const extra = attributes.has("extra") ? attributes.map("extra") : undefined
  switch (kind) {
    case "signature":
      return {
        kind,
        signature: attributes.text("signature"),
        issuerKeyId: attributes.text("issuerKeyId"),
        number: attributes.number("number"),
        serialHex: attributes.optionalText("serialHex"),
        ...(extra && {
          extra: {
            issuerKeyId: extra.text("issuerKeyId"),
            number: extra.number("number"),
            serialHex: extra.optionalText("serialHex"),
          },
        }),
      }
    case "artifact":
      return { kind, digest: attributes.text("digest") }
    case "certificate":
      return {
        kind,
        thumbprint: attributes.text("thumbprint"),
        issuerKeyId: attributes.text("issuerKeyId"),
        serialHex: attributes.text("serialHex"),
        ...(extra && {
          extra: {
            thumbprint: extra.text("thumbprint"),
            issuerKeyId: extra.text("issuerKeyId"),
            serialHex: extra.text("serialHex"),
          },
        }),
      }
    case "issuer":
      return {
        kind,
        issuer: attributes.text("issuer"),
        issuerKeyId: attributes.text("issuerKeyId"),
        from: attributes.optionalDate("from"),
      }
    case "profile":
      return { kind, profile: attributes.text("profile"), from: attributes.date("from") }
    case "principal":
      return {
        kind,
        principal: attributes.text("principal"),
        from: attributes.date("from"),
        until: attributes.optionalDate("until"),
      }
  }
}

function revocationFrom(item: Item): Revocation {
  const attributes = Attributes.of(item)
  return {
    id: attributes.text("id"),
    target: targetFrom(attributes.map("target")),
    reason: attributes.text("reason") as Revocation["reason"],
    comment: attributes.text("comment"),
    principal: attributes.text("principal"),
    acknowledgedAt: attributes.date("acknowledgedAt"),
    effectiveAt: attributes.date("effectiveAt"),
    epoch: attributes.number("epoch"),
    firstEpoch: attributes.number("firstEpoch"),
    released: attributes.flag("released"),
  }
}

export async function findRevocation(table: Table, id: string): Promise<Revocation | undefined> {
  const item = await table.get(keys.revocation(id))
  return item && revocationFrom(item)
}

/** Every revocation acknowledged so far, complete, by id. */
export async function listRevocations(table: Table): Promise<Revocation[]> {
  return (await queryAll(table, "revocations")).map(revocationFrom)
}
