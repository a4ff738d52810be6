import { bytesEqual } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import type { TrustBundle } from "@sealwright/formats/trust-bundle"
import { type Certificate, parseCertificate } from "@sealwright/formats/x509"
import type { AdminPorts } from "../admin/ceremony.ts"
import { ServiceError } from "../errors.ts"
import { type Actor, auditWrite } from "../ledger/audit.ts"
import { findOutsideAuthority, replaceOutsideAuthority } from "../ledger/outside-authorities.ts"
import { readDeployment } from "../ledger/trust.ts"
import type { OutsideAuthority } from "../model.ts"
import type { Write } from "../ports.ts"
import { noteChangeNow } from "../publish/changes.ts"
import { wholeSeconds } from "../sign/rules.ts"
import { bundleWrites } from "../tuf/change.ts"

const ATTEMPTS = 4

/**
 * Names an outside timestamp authority, or changes its address or roots: profiles with `outside:NAME` are stamped by it from the next lease on. Its roots
 * join the trust bundle, by new TUF targets, and stay there: older tokens lead to them. Safe to repeat.
 * @param wanted `roots` self-signed, DER
 * @throws ServiceError OUTSIDE_AUTHORITY_MALFORMED for an address or a root that none can be, PRECONDITION_REQUIRED, and as `bundleWrites`
 */
export async function setOutsideAuthority(
  ports: AdminPorts,
  wanted: Pick<OutsideAuthority, "name" | "url" | "roots">,
  actor: Actor,
): Promise<OutsideAuthority> {
  checkUrl(wanted.url)
  for (const root of wanted.roots) checkRoot(root)
  await readDeployment(ports.table)
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const standing = await findOutsideAuthority(ports.table, wanted.name)
    if (standing !== undefined && sameAuthority(standing, wanted)) return standing
    const now = wholeSeconds(ports.clock())
    // Two changes of one second would be one to who compares them.
    const updatedAt = new Date(Math.max(now.getTime(), (standing?.updatedAt.getTime() ?? 0) + 1000))
    const next: OutsideAuthority = { ...wanted, updatedAt }
    const trusting = await trustRoots(ports, wanted, now, actor)
    const result = await noteChangeNow(ports.table, [
      replaceOutsideAuthority(next, standing),
      ...trusting,
      auditWrite(ports, actor, "outside-authority.set", `outside-authority/${wanted.name}`),
    ])
    if (result.committed) return next
  }
  throw new ServiceError("CONTENTION", `others kept changing outside authority ${wanted.name} or the trust bundle`)
}

function sameAuthority(
  a: Pick<OutsideAuthority, "url" | "roots">,
  b: Pick<OutsideAuthority, "url" | "roots">,
): boolean {
  return (
    a.url === b.url &&
    a.roots.length === b.roots.length &&
    a.roots.every((root, at) => bytesEqual(root, b.roots[at] as Uint8Array))
  )
}

function checkUrl(text: string): void {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const fit =
    url !== undefined &&
    (url.protocol === "https:" || url.protocol === "http:") &&
    url.username === "" &&
    url.password === "" &&
    url.hash === ""
  if (!fit) throw malformed("the address is no http or https URL, or has a name, a password or a fragment")
}

/** A CA that certified itself, which its signature over itself would not prove any better: an intermediate given in a root's place would never be trusted by stock clients. */
function checkRoot(der: Uint8Array): void {
  const root = readCertificate(der)
  if (!bytesEqual(root.issuer.der, root.subject.der) || root.basicConstraints?.ca !== true)
    throw malformed("a root is not a CA that certified itself")
}

function readCertificate(der: Uint8Array): Certificate {
  try {
    return parseCertificate(der)
  } catch (error) {
    if (error instanceof FormatError) throw malformed(`a root cannot be read: ${error.message}`)
    throw error
  }
}

/** The write of new targets with these roots in the trust bundle; none when the bundle has them. */
async function trustRoots(
  ports: AdminPorts,
  { name, roots }: Pick<OutsideAuthority, "name" | "roots">,
  now: Date,
  actor: Actor,
): Promise<Write[]> {
  const trusting = (bundle: TrustBundle): TrustBundle => {
    const { timestampRoots = [] } = bundle
    const missing = roots.filter((root) => !timestampRoots.some((known) => bytesEqual(known, root)))
    return missing.length === 0 ? bundle : { ...bundle, timestampRoots: [...timestampRoots, ...missing] }
  }
  try {
    return await bundleWrites(ports, trusting, now, `timestamp outside ${name}`, actor)
  } catch (error) {
    if (error instanceof FormatError) throw malformed("the trust bundle takes no more roots: retire one")
    throw error
  }
}

function malformed(detail: string): ServiceError {
  return new ServiceError("OUTSIDE_AUTHORITY_MALFORMED", detail)
}
