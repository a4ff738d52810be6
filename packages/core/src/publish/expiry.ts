import { parseCertificate } from "@sealwright/formats/x509"
import { listTimestampAuthorities } from "../ledger/timestamp-authorities.ts"
import { findDeployment, listIssuers, listProfiles } from "../ledger/trust.ts"
import { tufDocuments } from "../ledger/tuf-documents.ts"
import type { Table } from "../ports.ts"

/** What ends first of all that people must renew in time: CA certificates, held keys' certificates, the timestamp authority, TUF root and targets (R18). */
export interface NextExpiry {
  readonly name: string
  readonly at: Date
}

/** @returns undefined before the ceremony */
export async function nextExpiry(table: Table): Promise<NextExpiry | undefined> {
  const deployment = await findDeployment(table)
  if (deployment === undefined) return undefined
  const ends: NextExpiry[] = [{ name: "root", at: deployment.root.notAfter }]
  for (const issuer of await listIssuers(table))
    if (issuer.state === "active") ends.push({ name: `issuer/${issuer.name}`, at: issuer.notAfter })
  for (const { name, held, state } of await listProfiles(table))
    if (held !== undefined && state !== "revoked")
      ends.push({ name: `profile/${name}`, at: parseCertificate(held.certificate).notAfter })
  const authority = (await listTimestampAuthorities(table)).findLast(({ state }) => state === "active")
  if (authority !== undefined) ends.push({ name: "timestamp-authority", at: authority.notAfter })
  for (const role of ["root", "targets"] as const) {
    const newest = (await tufDocuments(table, role)).at(-1)
    if (newest !== undefined) ends.push({ name: `tuf/${role}`, at: newest.expires })
  }
  return ends.reduce((first, end) => (end.at < first.at ? end : first))
}
