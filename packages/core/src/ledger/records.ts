import type { Descriptor } from "@sealwright/formats/oci"
import type { EnvelopeFormat, ExtraSignature, SignatureRecord } from "../model.ts"
import { ulidFloor } from "../names.ts"
import type { Item, Table } from "../ports.ts"
import { Attributes, present } from "./attributes.ts"
import { keys } from "./keys.ts"

/** An artifact's item lists its signatures; one item holds 400 KB, and each new signature rewrites it. */
export const MAX_SIGNATURES_OF_ARTIFACT = 1000

export function recordItem(record: SignatureRecord): Item {
  return {
    ...keys.record(record.id),
    byProfile: record.profile,
    byProfileAt: record.id,
    ...present({
      id: record.id,
      profile: record.profile,
      issuer: record.issuer,
      issuerKeyId: record.issuerKeyId,
      wrapped: record.wrapped || undefined,
      number: record.number,
      leaseFirst: record.leaseFirst,
      serialHex: record.serialHex,
      keyMode: record.keyMode,
      subject: descriptorAttributes(record.subject),
      reference: record.reference,
      principal: record.principal,
      signedAt: record.signedAt.toISOString(),
      expiresAt: record.expiresAt?.toISOString(),
      certificateNotAfter: record.certificateNotAfter.toISOString(),
      envelopes: record.envelopes.map((envelope) => ({ ...envelope })),
      extra: record.extra && { ...record.extra },
      requestDigest: record.requestDigest,
      state: "recorded",
    }),
  }
}

export function recordFrom(item: Item): SignatureRecord {
  const attributes = Attributes.of(item)
  const subject = attributes.map("subject")
  const annotations = subject.has("annotations") ? subject.map("annotations") : undefined
  return {
    id: attributes.text("id"),
    profile: attributes.text("profile"),
    issuer: attributes.text("issuer"),
    issuerKeyId: attributes.text("issuerKeyId"),
    wrapped: attributes.has("wrapped") && attributes.flag("wrapped"),
    number: attributes.number("number"),
    leaseFirst: attributes.number("leaseFirst"),
    serialHex: attributes.text("serialHex"),
    keyMode: attributes.text("keyMode") as SignatureRecord["keyMode"],
    subject: {
      mediaType: subject.text("mediaType"),
      digest: subject.text("digest"),
      size: subject.number("size"),
      ...(annotations && {
        annotations: Object.fromEntries(annotations.keys().map((name) => [name, annotations.text(name)])),
      }),
    },
    reference: attributes.text("reference"),
    principal: attributes.text("principal"),
    signedAt: attributes.date("signedAt"),
    expiresAt: attributes.optionalDate("expiresAt"),
    certificateNotAfter: attributes.date("certificateNotAfter"),
    envelopes: attributes.maps("envelopes").map((envelope) => ({
      format: envelope.text("format") as EnvelopeFormat,
      mediaType: envelope.text("mediaType"),
      bytes: envelope.bytes("bytes"),
    })),
    ...(attributes.has("extra") && { extra: extraFrom(attributes.map("extra")) }),
    requestDigest: attributes.text("requestDigest"),
  }
}

function extraFrom(attributes: Attributes): ExtraSignature {
  return {
    issuer: attributes.text("issuer"),
    issuerKeyId: attributes.text("issuerKeyId"),
    number: attributes.number("number"),
    leaseFirst: attributes.number("leaseFirst"),
    serialHex: attributes.text("serialHex"),
  }
}

function descriptorAttributes(subject: Descriptor): { readonly [name: string]: Item[string] } {
  return present({
    mediaType: subject.mediaType,
    digest: subject.digest,
    size: subject.size,
    annotations: subject.annotations && { ...subject.annotations },
  })
}

export async function findRecord(table: Table, id: string): Promise<SignatureRecord | undefined> {
  const item = await table.get(keys.record(id))
  return item && recordFrom(item)
}

/** Ids of every signature of an artifact, complete as of now. */
export async function signaturesOfArtifact(table: Table, digest: string): Promise<readonly string[]> {
  const item = await table.get(keys.artifact(digest))
  return item === undefined ? [] : [...Attributes.of(item).members("signatures")].sort()
}

export interface RecordPage {
  readonly records: readonly SignatureRecord[]
  readonly next: string | undefined
}

/** A profile's records by time, for people: an index that may lag by moments. */
export async function recordsOfProfile(
  table: Table,
  profile: string,
  range: {
    readonly from?: Date
    readonly to?: Date
    readonly after?: string
    readonly limit: number
    readonly descending: boolean
  },
): Promise<RecordPage> {
  const page = await table.queryIndex("byProfile", profile, {
    ...(range.from && { from: ulidFloor(range.from) }),
    ...(range.to && { to: `${ulidFloor(range.to).slice(0, 10)}ZZZZZZZZZZZZZZZZ` }),
    ...(range.after && { after: range.after }),
    limit: range.limit,
    descending: range.descending,
  })
  return { records: page.items.map(recordFrom), next: page.next }
}
