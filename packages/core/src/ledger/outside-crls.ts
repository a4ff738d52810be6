import type { OutsideCrl } from "../model.ts"
import type { Table, Write } from "../ports.ts"
import { Attributes } from "./attributes.ts"
import { keys, queryAll } from "./keys.ts"

/** Takes the place of the list that was read before, and of no other. */
export function outsideCrlWrite(crl: OutsideCrl, before: OutsideCrl | undefined): Write {
  return {
    put: {
      ...keys.outsideCrl(crl.issuerKeyId),
      authority: crl.authority,
      crl: crl.crl,
      crlNumber: String(crl.crlNumber),
      thisUpdate: crl.thisUpdate.toISOString(),
      nextUpdate: crl.nextUpdate.toISOString(),
      epoch: crl.epoch,
    },
    if: before === undefined ? { absent: true } : { equals: { crlNumber: String(before.crlNumber) } },
  }
}

export async function findOutsideCrl(table: Table, issuerKeyId: string): Promise<OutsideCrl | undefined> {
  const item = await table.get(keys.outsideCrl(issuerKeyId))
  return item && readOutsideCrl(Attributes.of(item), item.sk)
}

/** In the order of their key ids. */
export async function listOutsideCrls(table: Table): Promise<OutsideCrl[]> {
  return (await queryAll(table, "outside-crls")).map((item) => readOutsideCrl(Attributes.of(item), item.sk))
}

function readOutsideCrl(attributes: Attributes, issuerKeyId: string): OutsideCrl {
  return {
    issuerKeyId,
    authority: attributes.bytes("authority"),
    crl: attributes.bytes("crl"),
    crlNumber: BigInt(attributes.text("crlNumber")),
    thisUpdate: attributes.date("thisUpdate"),
    nextUpdate: attributes.date("nextUpdate"),
    epoch: attributes.number("epoch"),
  }
}
