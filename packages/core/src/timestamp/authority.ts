import { bytesEqual } from "@sealwright/formats/bytes"
import { parseCertificate } from "@sealwright/formats/x509"
import type { AdminPorts } from "../admin/ceremony.ts"
import { certifyTimestampAuthority } from "../admin/certificates.ts"
import { wrappedKey } from "../admin/wrapped.ts"
import { ServiceError } from "../errors.ts"
import { type Actor, auditWrite } from "../ledger/audit.ts"
import { listTimestampAuthorities, newTimestampAuthority } from "../ledger/timestamp-authorities.ts"
import { readDeployment } from "../ledger/trust.ts"
import type { Issuer, TimestampAlgorithm, TimestampAuthority } from "../model.ts"
import { isWrapped } from "../ports.ts"
import { CLOCK_MARGIN_MS, wholeSeconds } from "../sign/rules.ts"

export interface TimestampAuthorityRequest {
  readonly algorithm: TimestampAlgorithm
  /** days of its certificate, cut to the root's end */
  readonly days: number
  /** its key signs in the memory of the function `timestamp`. Default: false */
  readonly wrapped?: boolean
}

/** A repeat makes a successor once less than this part of the certificate's life remains. */
const RENEW_BELOW = 1 / 4

/**
 * Makes the timestamp authority, or its successor: when there is none, the newest is revoked, has another algorithm or kind of key, nears its end, or is below a former root.
 * Otherwise the newest stands, so that this may be repeated by a schedule. Deployers trust the root, so a successor may sign at once, and older
 * generations keep what they stamped. The key is made under its generation's name first: a crash leaves a key that a repeat finds again.
 * @throws ServiceError PRECONDITION_REQUIRED, CONTENTION, SIGNER_UNAVAILABLE, WRAPPING_NOT_ENABLED
 */
export async function makeTimestampAuthority(
  ports: AdminPorts,
  request: TimestampAuthorityRequest,
  actor: Actor,
): Promise<TimestampAuthority> {
  const deployment = await readDeployment(ports.table)
  const { root } = deployment
  const now = wholeSeconds(ports.clock())
  const newest = (await listTimestampAuthorities(ports.table)).at(-1)
  if (newest !== undefined && stands(newest, root, request, now)) return newest
  const generation = (newest?.generation ?? 0) + 1
  const { algorithm, wrapped = false } = request
  const name = `timestamp/${generation}-${algorithm}`
  const key = await (wrapped
    ? wrappedKey(ports, name, "timestamp", algorithm)
    : ports.maker.create(name, "timestamp", algorithm))
  const notBefore = new Date(
    Math.max(now.getTime() - CLOCK_MARGIN_MS, parseCertificate(root.certificate).notBefore.getTime()),
  )
  const notAfter = new Date(Math.min(now.getTime() + request.days * 86_400_000, root.notAfter.getTime()))
  const certificate = await certifyTimestampAuthority(ports, root, key, deployment, notBefore, notAfter)
  const authority: TimestampAuthority = {
    generation,
    key,
    certificate,
    chain: [root.certificate],
    notBefore,
    notAfter,
    state: "active",
  }
  const result = await ports.table.transact([
    newTimestampAuthority(authority),
    auditWrite(ports, actor, "timestamp-authority.create", `timestamp-authority/${generation}`),
  ])
  if (result.committed) return authority
  const first = (await listTimestampAuthorities(ports.table)).at(-1)
  if (first !== undefined && stands(first, root, request, now)) return first
  throw new ServiceError("CONTENTION", "another timestamp authority was made meanwhile")
}

function stands(authority: TimestampAuthority, root: Issuer, request: TimestampAuthorityRequest, now: Date): boolean {
  const { notBefore, notAfter, state, key } = authority
  const life = notAfter.getTime() - notBefore.getTime()
  const remaining = notAfter.getTime() - now.getTime()
  const below = bytesEqual(authority.chain.at(-1) ?? new Uint8Array(0), root.certificate)
  const same = key.scheme === request.algorithm && isWrapped(key) === (request.wrapped ?? false)
  return below && state === "active" && same && remaining >= RENEW_BELOW * life
}
