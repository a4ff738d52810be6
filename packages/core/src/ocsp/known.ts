import { bytesEqual, hexEncode } from "@sealwright/formats/bytes"
import { numbersOfSerial } from "@sealwright/formats/leaf-serial"
import { leaseOfNumber } from "../ledger/leases.ts"
import { findRecord } from "../ledger/records.ts"
import { listTimestampAuthorities } from "../ledger/timestamp-authorities.ts"
import { listIssuers, listProfiles } from "../ledger/trust.ts"
import type { OcspResponder, Profile } from "../model.ts"
import type { Table } from "../ports.ts"
import { hasSerial } from "./rules.ts"

/**
 * Whether this CA certified a certificate of this serial, and a record says so. A number that was given out and has no record is no certificate that
 * anybody should hold.
 * @param serial content octets of the INTEGER
 */
export async function isOnRecord(table: Table, ca: OcspResponder, serial: Uint8Array): Promise<boolean> {
  const numbers = numbersOfSerial(serial)
  const serialHex = hexEncode(serial)
  if (numbers === undefined) return await isNamed(table, ca, serialHex)
  const lease = await leaseOfNumber(table, ca.issuerKeyId, numbers.first)
  if (lease === undefined) return false
  for (let number = numbers.first; number < numbers.first + numbers.count; number++) {
    const id = lease.used.get(number)
    if (id !== undefined) return (await findRecord(table, id))?.serialHex === serialHex
  }
  return false
}

/** Certificates without a number: of held keys, and what a root certified. */
async function isNamed(table: Table, ca: OcspResponder, serialHex: string): Promise<boolean> {
  const ofProfiles = (await listProfiles(table)).flatMap((profile) => heldCertificates(profile, ca))
  if (ofProfiles.some((certificate) => hasSerial(certificate, serialHex))) return true
  const below = [...(await listIssuers(table)), ...(await listTimestampAuthorities(table))]
  return below.some(
    ({ certificate, chain }) =>
      chain[0] !== undefined && bytesEqual(chain[0], ca.issuerCertificate) && hasSerial(certificate, serialHex),
  )
}

function heldCertificates({ held, issuer, former }: Profile, ca: OcspResponder): Uint8Array[] {
  const now = held !== undefined && issuer === ca.issuer && held.issuerGeneration === ca.issuerGeneration
  const before = former.certificates.filter(({ issuerKeyId }) => issuerKeyId === ca.issuerKeyId)
  return [...(now ? [held.certificate] : []), ...before.map(({ certificate }) => certificate)]
}
