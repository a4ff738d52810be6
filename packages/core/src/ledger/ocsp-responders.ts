import type { OcspResponder } from "../model.ts"
import type { Item, Table, Write } from "../ports.ts"
import { Attributes, keyAttributes, keyFrom } from "./attributes.ts"
import { keys, queryAll } from "./keys.ts"

/** Puts a responder in the place of the one that was read: holds only while that one stands. @param standing undefined: there is none */
export function replaceOcspResponder(next: OcspResponder, standing: OcspResponder | undefined): Write {
  return {
    put: {
      ...keys.ocspResponder(next.issuerKeyId),
      issuer: next.issuer,
      issuerGeneration: next.issuerGeneration,
      issuerKeyId: next.issuerKeyId,
      issuerCertificate: next.issuerCertificate,
      generation: next.generation,
      ...keyAttributes(next.key),
      certificate: next.certificate,
      days: next.days,
      notBefore: next.notBefore.toISOString(),
      notAfter: next.notAfter.toISOString(),
    },
    if:
      standing === undefined
        ? { absent: true }
        : { equals: { generation: standing.generation, notAfter: standing.notAfter.toISOString() } },
  }
}

export async function findOcspResponder(table: Table, issuerKeyId: string): Promise<OcspResponder | undefined> {
  const item = await table.get(keys.ocspResponder(issuerKeyId))
  return item && responderFrom(item)
}

/** The responders of all CA keys, by key id. */
export async function listOcspResponders(table: Table): Promise<OcspResponder[]> {
  return (await queryAll(table, "ocsp-responders")).map(responderFrom)
}

function responderFrom(item: Item): OcspResponder {
  const attributes = Attributes.of(item)
  return {
    issuer: attributes.text("issuer"),
    issuerGeneration: attributes.number("issuerGeneration"),
    issuerKeyId: attributes.text("issuerKeyId"),
    issuerCertificate: attributes.bytes("issuerCertificate"),
    generation: attributes.number("generation"),
    key: keyFrom(attributes),
    certificate: attributes.bytes("certificate"),
    days: attributes.number("days"),
    notBefore: attributes.date("notBefore"),
    notAfter: attributes.date("notAfter"),
  }
}
