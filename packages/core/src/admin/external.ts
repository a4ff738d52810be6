import { bytesEqual } from "@sealwright/formats/bytes"
import type { TrustBundle } from "@sealwright/formats/trust-bundle"
import { ServiceError } from "../errors.ts"
import { type Actor, auditWrite } from "../ledger/audit.ts"
import { keys } from "../ledger/keys.ts"
import {
  findIssuer,
  findPendingIssuer,
  listIssuers,
  newIssuerWrites,
  pendingIssuerItem,
  readDeployment,
} from "../ledger/trust.ts"
import type { Issuer, PendingIssuer } from "../model.ts"
import type { Write } from "../ports.ts"
import { noteChangeNow } from "../publish/changes.ts"
import { wholeSeconds } from "../sign/rules.ts"
import { bundleWrites } from "../tuf/change.ts"
import { type AdminPorts, type IssuerRequest, newIssuer, refuseRootName } from "./ceremony.ts"
import { issuerKeyId, requestCertificate } from "./certificates.ts"
import { checkIssuerChain } from "./issuer-chain.ts"

const ATTEMPTS = 4

/**
 * Makes the key of an issuer that an outside authority will certify, and the request for it (PKCS #10). Until it is activated it signs nothing else.
 * Safe to repeat: the same request is answered, byte for byte, and once it is activated the issuer.
 * @throws ServiceError ALREADY_EXISTS if one of that name has another algorithm or is certified by the deployment's root
 */
export async function requestIssuer(
  ports: AdminPorts,
  request: Pick<IssuerRequest, "name" | "algorithm">,
  actor: Actor,
): Promise<PendingIssuer | Issuer> {
  const { name, algorithm } = request
  refuseRootName(name)
  const deployment = await readDeployment(ports.table)
  const standing = await findExternal(ports, name)
  if (standing !== undefined) return sameRequest(standing, request)
  const key = await ports.maker.create(`issuer/${name}`, "issuer", algorithm)
  const pending: PendingIssuer = {
    name,
    generation: 1,
    issuerKeyId: issuerKeyId(ports.digest, key.spki),
    key,
    request: await requestCertificate(ports, key, deployment, name, 1),
    createdAt: wholeSeconds(ports.clock()),
  }
  const result = await ports.table.transact([
    { put: pendingIssuerItem(pending), if: { absent: true } },
    { check: keys.issuer(name, 1), if: { absent: true } },
    auditWrite(ports, actor, "issuer.request", `issuer/${name}`),
  ])
  return result.committed ? pending : sameRequest((await findExternal(ports, name)) ?? pending, request)
}

async function findExternal(ports: AdminPorts, name: string): Promise<PendingIssuer | Issuer | undefined> {
  return (await findIssuer(ports.table, name)) ?? (await findPendingIssuer(ports.table, name))
}

function sameRequest(
  standing: PendingIssuer | Issuer,
  { name, algorithm }: Pick<IssuerRequest, "name" | "algorithm">,
): PendingIssuer | Issuer {
  if (standing.key.scheme !== algorithm)
    throw new ServiceError("ALREADY_EXISTS", `issuer ${name} has another algorithm`)
  if ("certificate" in standing && !standing.external)
    throw new ServiceError("ALREADY_EXISTS", `issuer ${name} is certified by the deployment's own root`)
  return standing
}

/**
 * Takes the certificate that an outside authority gave to a pending issuer, with all above it; a successor then stands by until it takes over. One
 * transaction makes the issuer, removes the request and, for a root that the trust bundle lacks, adds new TUF targets that list it; it joins the
 * open epoch. Safe to repeat with the same chain.
 * @param chain DER, the issuer's certificate first, the self-signed root last
 * @throws ServiceError ISSUER_UNKNOWN, ALREADY_EXISTS for an issuer that has another certificate, CONTENTION, and as `checkIssuerChain` and `bundleWrites` do
 */
export async function activateIssuer(
  ports: AdminPorts,
  name: string,
  chain: readonly Uint8Array[],
  actor: Actor,
): Promise<Issuer> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const pending = await findPendingIssuer(ports.table, name)
    if (pending === undefined) return await activatedBefore(ports, name, chain)
    const now = wholeSeconds(ports.clock())
    const { der, notAfter } = ports.run(checkIssuerChain(chain, pending.key.spki, now))
    const made = newIssuer(ports, name, pending.key, der, chain.slice(1), pending.createdAt, notAfter)
    const { generation } = pending
    const issuer: Issuer = { ...made, external: true, generation, state: generation === 1 ? "active" : "standby" }
    const trusting = await trustExternalRoot(ports, name, chain.at(-1) as Uint8Array, now, actor)
    const audit = auditWrite(
      ports,
      actor,
      "issuer.activate",
      `issuer/${name}${generation === 1 ? "" : `@${generation}`}`,
    )
    const carriedBy = (epoch: number): Issuer => (generation === 1 ? issuer : { ...issuer, firstEpoch: epoch })
    const result = await noteChangeNow(ports.table, (epoch) => [
      ...newIssuerWrites(carriedBy(epoch)),
      { delete: keys.pendingIssuer(name), if: { equals: { issuerKeyId: issuer.issuerKeyId } } },
      ...trusting,
      audit,
    ])
    if (result.committed) return carriedBy(result.epoch)
  }
  throw new ServiceError("CONTENTION", `others kept changing issuer ${name} or the trust bundle`)
}

async function activatedBefore(ports: AdminPorts, name: string, chain: readonly Uint8Array[]): Promise<Issuer> {
  const generations = (await listIssuers(ports.table)).filter((issuer) => issuer.name === name)
  if (generations.length === 0) throw new ServiceError("ISSUER_UNKNOWN", `no issuer is named ${name}`)
  const same = generations.find(({ certificate, chain: above }) => {
    const standing = [certificate, ...above]
    return standing.length === chain.length && standing.every((der, at) => bytesEqual(der, chain[at] as Uint8Array))
  })
  if (same === undefined) throw new ServiceError("ALREADY_EXISTS", `issuer ${name} has its certificate already`)
  return same
}

/** The write of new targets with this root in the trust bundle; none when the bundle has it. */
function trustExternalRoot(
  ports: AdminPorts,
  name: string,
  root: Uint8Array,
  now: Date,
  actor: Actor,
): Promise<Write[]> {
  const trusting = (bundle: TrustBundle): TrustBundle =>
    bundle.externalRoots.some((known) => bytesEqual(known, root))
      ? bundle
      : { ...bundle, externalRoots: [...bundle.externalRoots, root] }
  return bundleWrites(ports, trusting, now, `issuer activate ${name}`, actor)
}
