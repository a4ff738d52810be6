import type { Item, KeyPurpose, Table, Write } from "../ports.ts"
import { Attributes, present } from "./attributes.ts"
import { keys, queryAll } from "./keys.ts"

/**
 * `unexplained`: no act of the service tells this use. `wrong-role`: who used the key has no business with it. `missing`: acts tell uses that CloudTrail
 * does not show.
 */
export const FINDING_KINDS = ["unexplained", "wrong-role", "missing"] as const
export type FindingKind = (typeof FINDING_KINDS)[number]

/** What reconciling found, until someone acknowledges it. */
export interface KeyFinding {
  /** the request's id; of `missing`: `missing-` and the minute */
  readonly id: string
  readonly kind: FindingKind
  /** of the use; of `missing`: start of the minute in which the acts stand */
  readonly at: Date
  readonly foundAt: Date
  /** ARN */
  readonly keyId?: string | undefined
  /** undefined: a key that the ledger does not know */
  readonly key?: string | undefined
  readonly purpose?: KeyPurpose | undefined
  readonly principal?: string | undefined
  readonly sourceIp?: string | undefined
  /** CloudTrail's id of the event */
  readonly eventId?: string | undefined
  /** of an issuer's key: its leases that were open at the time, and how many of their numbers have no record */
  readonly leases?: number | undefined
  readonly voids?: number | undefined
  /** of `missing`: how many uses; ids of the first of them */
  readonly count?: number | undefined
  readonly uses?: readonly string[] | undefined
}

export interface AcknowledgedFinding extends KeyFinding {
  readonly acknowledgedAt: Date
  readonly acknowledgedBy: string
  readonly comment: string
}

/** Stands once: neither what is open nor what was acknowledged is found again. */
export function findingWrites(finding: KeyFinding): Write[] {
  return [
    { put: findingItem(finding), if: { absent: true } },
    { check: keys.acknowledgedFinding(finding.id), if: { absent: true } },
  ]
}

function findingItem(finding: KeyFinding): Item {
  return {
    ...keys.keyFinding(finding.id),
    ...present({
      id: finding.id,
      kind: finding.kind,
      at: finding.at.toISOString(),
      foundAt: finding.foundAt.toISOString(),
      keyId: finding.keyId,
      key: finding.key,
      purpose: finding.purpose,
      principal: finding.principal,
      sourceIp: finding.sourceIp,
      eventId: finding.eventId,
      leases: finding.leases,
      voids: finding.voids,
      count: finding.count,
      uses: finding.uses && [...finding.uses],
    }),
  }
}

export function acknowledgementWrites(finding: KeyFinding, at: Date, by: string, comment: string): Write[] {
  const acknowledged = { acknowledgedAt: at.toISOString(), acknowledgedBy: by, comment }
  return [
    { delete: keys.keyFinding(finding.id), if: { exists: true } },
    {
      put: { ...findingItem(finding), ...keys.acknowledgedFinding(finding.id), ...acknowledged },
      if: { absent: true },
    },
  ]
}

/** What missed its evidence has it now. */
export async function dropFinding(table: Table, id: string): Promise<void> {
  await table.transact([{ delete: keys.keyFinding(id) }])
}

export async function findFinding(table: Table, id: string): Promise<KeyFinding | undefined> {
  const item = await table.get(keys.keyFinding(id))
  return item && findingFrom(item)
}

export async function findAcknowledged(table: Table, id: string): Promise<AcknowledgedFinding | undefined> {
  const item = await table.get(keys.acknowledgedFinding(id))
  return item && acknowledgedFrom(item)
}

/** What nobody has acknowledged, oldest first. */
export async function openFindings(table: Table): Promise<KeyFinding[]> {
  const findings = (await queryAll(table, "key-findings")).map(findingFrom)
  return findings.sort((a, b) => a.at.getTime() - b.at.getTime())
}

function acknowledgedFrom(item: Item): AcknowledgedFinding {
  const attributes = Attributes.of(item)
  return {
    ...findingFrom(item),
    acknowledgedAt: attributes.date("acknowledgedAt"),
    acknowledgedBy: attributes.text("acknowledgedBy"),
    comment: attributes.text("comment"),
  }
}

function findingFrom(item: Item): KeyFinding {
  const attributes = Attributes.of(item)
  return {
    id: attributes.text("id"),
    kind: attributes.text("kind") as FindingKind,
    at: attributes.date("at"),
    foundAt: attributes.date("foundAt"),
    keyId: attributes.optionalText("keyId"),
    key: attributes.optionalText("key"),
    purpose: attributes.optionalText("purpose") as KeyPurpose | undefined,
    principal: attributes.optionalText("principal"),
    sourceIp: attributes.optionalText("sourceIp"),
    eventId: attributes.optionalText("eventId"),
    leases: attributes.optionalNumber("leases"),
    voids: attributes.optionalNumber("voids"),
    count: attributes.optionalNumber("count"),
    uses: attributes.has("uses") ? attributes.texts("uses") : undefined,
  }
}
