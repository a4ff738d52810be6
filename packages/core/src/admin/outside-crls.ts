import { bytesEqual } from "@sealwright/formats/bytes"
import { type Crl, findRevoked, parseCrl } from "@sealwright/formats/crl"
import { FormatError } from "@sealwright/formats/errors"
import { type Certificate, parseCertificate } from "@sealwright/formats/x509"
import { type CrlCode, lookUp, openCrl } from "@sealwright/verifier/crl-check"
import { type ErrorCode, ServiceError } from "../errors.ts"
import { type Actor, auditWrite } from "../ledger/audit.ts"
import { listOutsideAuthorities } from "../ledger/outside-authorities.ts"
import { findOutsideCrl, outsideCrlWrite } from "../ledger/outside-crls.ts"
import { listIssuers, readDeployment, rootsOf } from "../ledger/trust.ts"
import type { Issuer, OutsideCrl } from "../model.ts"
import { noteChangeNow } from "../publish/changes.ts"
import { wholeSeconds } from "../sign/rules.ts"
import type { AdminPorts } from "./ceremony.ts"
import { issuerKeyId } from "./certificates.ts"

/** Every epoch's plan carries these lists, and the table keeps them in one item each. About 3,500 entries. */
export const MAX_OUTSIDE_CRL_BYTES = 131_072
const ATTEMPTS = 4

const REFUSALS = {
  CRL_MALFORMED: "OUTSIDE_CRL_MALFORMED",
  CRL_ISSUER_MISMATCH: "OUTSIDE_CRL_ISSUER_UNKNOWN",
  CRL_ISSUER_KEY_USAGE: "OUTSIDE_CRL_ISSUER_UNKNOWN",
  CRL_SIGNATURE_INVALID: "OUTSIDE_CRL_SIGNATURE",
  CRL_NOT_YET_VALID: "OUTSIDE_CRL_NOT_IN_FORCE",
  CRL_STALE: "OUTSIDE_CRL_NOT_IN_FORCE",
  CRL_OUT_OF_SCOPE: "OUTSIDE_CRL_LIMITED",
} as const satisfies Record<CrlCode, ErrorCode>

export interface ImportedCrl {
  readonly outsideCrl: OutsideCrl
  /** names of our issuers whose certificate the list revokes: stock clients refuse them from its publication on, and so does our verifier */
  readonly revokedIssuers: readonly string[]
}

/**
 * Takes in the CRL of an authority above an issuer of ours (R24, R26), an outside root or a CA between, or of an outside timestamp authority's root. It is
 * published from the next epoch on. Lists of one authority never go back, neither by their number nor by their date. Safe to repeat with the same bytes.
 * @param der one complete CRL with a number
 * @throws ServiceError OUTSIDE_CRL_MALFORMED, OUTSIDE_CRL_ISSUER_UNKNOWN, OUTSIDE_CRL_SIGNATURE, OUTSIDE_CRL_NOT_IN_FORCE, OUTSIDE_CRL_LIMITED,
 * OUTSIDE_CRL_OLDER, CONTENTION
 */
export async function importOutsideCrl(ports: AdminPorts, der: Uint8Array, actor: Actor): Promise<ImportedCrl> {
  const crl = readCrl(der)
  const all = await listIssuers(ports.table)
  const issuers = all.filter(({ external }) => external)
  const own = new Set([...rootsOf(await readDeployment(ports.table)), ...all].map((one) => one.issuerKeyId))
  const stamping = (await listOutsideAuthorities(ports.table)).flatMap(({ roots }) => roots)
  const authority = findAuthority(ports, crl, [...issuers.flatMap(({ chain }) => chain), ...stamping], own)
  checkScope(crl, authority, issuers)
  const list = {
    issuerKeyId: issuerKeyId(ports.digest, authority.spki),
    authority: authority.der,
    crl: der,
    crlNumber: crl.crlNumber,
    thisUpdate: crl.thisUpdate,
    nextUpdate: crl.nextUpdate,
  }
  const revokedIssuers = issuers
    .filter(({ certificate }) => isRevoked(parseCertificate(certificate), authority, crl))
    .map(({ name, generation }) => (generation === 1 ? name : `${name}@${generation}`))
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const before = await findOutsideCrl(ports.table, list.issuerKeyId)
    if (before !== undefined && bytesEqual(before.crl, der)) return { outsideCrl: before, revokedIssuers }
    if (before !== undefined) refuseOlder(list, before)
    const audit = auditWrite(ports, actor, "outside-crl.import", `outside-crl/${list.issuerKeyId}`)
    const result = await noteChangeNow(ports.table, (epoch) => [outsideCrlWrite({ ...list, epoch }, before), audit])
    if (result.committed) return { outsideCrl: { ...list, epoch: result.epoch }, revokedIssuers }
  }
  throw new ServiceError("CONTENTION", "others kept importing CRLs of this authority")
}

function readCrl(der: Uint8Array): Crl & { readonly crlNumber: bigint } {
  if (der.length > MAX_OUTSIDE_CRL_BYTES)
    throw new ServiceError("OUTSIDE_CRL_MALFORMED", `more than ${MAX_OUTSIDE_CRL_BYTES} bytes`)
  let crl: Crl
  try {
    crl = parseCrl(der)
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    throw new ServiceError("OUTSIDE_CRL_MALFORMED", error.message, { cause: error })
  }
  const { crlNumber } = crl
  // RFC 5280 §5.2.3: 20 octets at most.
  if (crlNumber === undefined || crlNumber < 0n || crlNumber >= 1n << 159n)
    throw new ServiceError("OUTSIDE_CRL_MALFORMED", "without a CRL number, an older list could take its place")
  return { ...crl, crlNumber }
}

/**
 * The certificate whose key signed the list. Keys of our own publish lists of their own.
 * @param known certificates above our issuers, and roots of outside timestamp authorities
 */
function findAuthority(
  ports: AdminPorts,
  crl: Crl,
  known: readonly Uint8Array[],
  own: ReadonlySet<string>,
): Certificate {
  const now = wholeSeconds(ports.clock())
  let code: ErrorCode = "OUTSIDE_CRL_ISSUER_UNKNOWN"
  let why = "no certificate above an issuer, and no timestamp root, has its issuer's name"
  for (const der of known) {
    const certificate = parseCertificate(der)
    if (own.has(issuerKeyId(ports.digest, certificate.spki))) continue
    const opened = ports.run(openCrl(crl.der, certificate, now))
    if (!("status" in opened)) return certificate
    // Another certificate's mismatch says less than what the right one refused.
    if (REFUSALS[opened.why] === "OUTSIDE_CRL_ISSUER_UNKNOWN") continue
    code = REFUSALS[opened.why]
    why = opened.why
  }
  throw new ServiceError(code, why)
}

/** A list for some distribution points has to cover all that we know below its authority: clients don't look at what a list leaves out. */
function checkScope(crl: Crl, authority: Certificate, issuers: readonly Issuer[]): void {
  for (const { certificate, chain } of issuers)
    for (const [at, der] of [certificate, ...chain].entries()) {
      const above = chain[at]
      if (above === undefined || !bytesEqual(parseCertificate(above).spki, authority.spki)) continue
      const answer = lookUp(parseCertificate(der), { crl, issuer: authority })
      if (answer.status === "unknown")
        throw new ServiceError(REFUSALS[answer.why], "the list does not cover a certificate below its authority")
    }
}

function isRevoked(certificate: Certificate, authority: Certificate, crl: Crl): boolean {
  return (
    bytesEqual(certificate.issuer.der, authority.subject.der) && findRevoked(crl, certificate.serialBytes) !== undefined
  )
}

function refuseOlder(list: Omit<OutsideCrl, "epoch">, before: OutsideCrl): void {
  if (list.crlNumber > before.crlNumber && list.thisUpdate.getTime() >= before.thisUpdate.getTime()) return
  throw new ServiceError(
    "OUTSIDE_CRL_OLDER",
    `number ${list.crlNumber} of ${list.thisUpdate.toISOString()} after number ${before.crlNumber} of ${before.thisUpdate.toISOString()}`,
  )
}
