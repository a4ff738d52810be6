import type { EnvelopeFormat, ForeignSignature } from "../model.ts"
import type { Item, Table } from "../ports.ts"
import { Attributes } from "./attributes.ts"
import { keys } from "./keys.ts"

/** A certificate whose signatures were registered, and the one that certified it. */
export interface ForeignCertificate {
  readonly issuerKeyId: string
  readonly serialHex: string
  /** DER */
  readonly certificate: Uint8Array
  /** DER; the certificate itself where it signs itself */
  readonly issuerCertificate: Uint8Array
}

export function foreignSignatureItem(signature: ForeignSignature): Item {
  const { subject } = signature
  return {
    ...keys.foreignSignature(signature.profile, signature.id),
    id: signature.id,
    profile: signature.profile,
    issuerKeyId: signature.issuerKeyId,
    serialHex: signature.serialHex,
    thumbprint: signature.thumbprint,
    subject: { mediaType: subject.mediaType, digest: subject.digest, size: subject.size },
    reference: signature.reference,
    principal: signature.principal,
    signedAt: signature.signedAt.toISOString(),
    certificateNotAfter: signature.certificateNotAfter.toISOString(),
    recordedAt: signature.recordedAt.toISOString(),
    envelope: { ...signature.envelope },
  }
}

function foreignSignatureFrom(item: Item): ForeignSignature {
  const attributes = Attributes.of(item)
  const subject = attributes.map("subject")
  const envelope = attributes.map("envelope")
  return {
    id: attributes.text("id"),
    profile: attributes.text("profile"),
    issuerKeyId: attributes.text("issuerKeyId"),
    serialHex: attributes.text("serialHex"),
    thumbprint: attributes.text("thumbprint"),
    subject: { mediaType: subject.text("mediaType"), digest: subject.text("digest"), size: subject.number("size") },
    reference: attributes.text("reference"),
    principal: attributes.text("principal"),
    signedAt: attributes.date("signedAt"),
    certificateNotAfter: attributes.date("certificateNotAfter"),
    recordedAt: attributes.date("recordedAt"),
    envelope: {
      format: envelope.text("format") as EnvelopeFormat,
      mediaType: envelope.text("mediaType"),
      bytes: envelope.bytes("bytes"),
    },
  }
}

export function foreignCertificateItem(thumbprint: string, found: ForeignCertificate): Item {
  return { ...keys.foreignCertificate(thumbprint), ...found }
}

/** @returns what lists name a registered certificate by; undefined when nothing that it signed was registered */
export async function findForeignCertificate(
  table: Table,
  thumbprint: string,
): Promise<Pick<ForeignCertificate, "issuerKeyId" | "serialHex"> | undefined> {
  const item = await table.get(keys.foreignCertificate(thumbprint))
  if (item === undefined) return undefined
  const attributes = Attributes.of(item)
  return { issuerKeyId: attributes.text("issuerKeyId"), serialHex: attributes.text("serialHex") }
}

export async function findForeignSignature(
  table: Table,
  profile: string,
  id: string,
): Promise<ForeignSignature | undefined> {
  const item = await table.get(keys.foreignSignature(profile, id))
  return item && foreignSignatureFrom(item)
}

/** A profile's registered signatures in the order of their ids, complete. */
export async function foreignSignaturesOf(
  table: Table,
  profile: string,
  range: { readonly after?: string; readonly limit: number },
): Promise<{ readonly signatures: readonly ForeignSignature[]; readonly next: string | undefined }> {
  const page = await table.query(`foreign-signatures#${profile}`, range)
  return { signatures: page.items.map(foreignSignatureFrom), next: page.next }
}
