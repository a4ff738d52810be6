import { ServiceError } from "../errors.ts"
import { type Actor, auditWrite } from "../ledger/audit.ts"
import { readHead } from "../ledger/publication.ts"
import {
  findGeneration,
  findPendingIssuer,
  newIssuerWrites,
  pendingIssuerItem,
  readDeployment,
  readIssuer,
  rootFor,
  takeOverWrites,
} from "../ledger/trust.ts"
import {
  type Deployment,
  EXTRA_ALGORITHM,
  type Issuer,
  type IssuerAlgorithm,
  isWrappedIssuer,
  type PendingIssuer,
} from "../model.ts"
import { noteChangeNow } from "../publish/changes.ts"
import { wholeSeconds } from "../sign/rules.ts"
import { type AdminPorts, issuerKey, newIssuer, refuseRootName } from "./ceremony.ts"
import { certifyIssuer, issuerKeyId, requestCertificate } from "./certificates.ts"
import { closeLeases } from "./profiles.ts"
import { requireStampedProfiles } from "./wrapped.ts"

export interface IssuerRotation {
  readonly name: string
  /** the generation that is wanted: one above the one that signs now. Naming it makes a repeat the same act. */
  readonly generation: number
  /** of the new key; undefined: as before */
  readonly algorithm: IssuerAlgorithm | undefined
  /** whether the new key is wrapped. Default: as before */
  readonly wrapped?: boolean | undefined
  /** days of its certificate, cut to the root's end; an outside authority decides for itself */
  readonly days: number
}

/**
 * Makes the successor of an issuer: a new key under the same name, certified and published before it signs (D7). Where an outside authority certifies
 * the issuer, its request waits for `activateIssuer`. Safe to repeat: a generation that is there is answered as it stands.
 * A wrapped successor needs profiles that stamp, now and when it takes over.
 * @throws ServiceError ISSUER_UNKNOWN, ISSUER_PENDING, ISSUER_GENERATION_WRONG, ISSUER_ALGORITHM_WRONG, ROOT_ALGORITHM_MISSING, CONTENTION, REQUEST_MALFORMED for a wrapped key that an outside
 * authority would certify: its request would need a signature by it; ISSUER_DEMANDS_TIMESTAMPS, WRAPPING_NOT_ENABLED
 */
export async function rotateIssuer(
  ports: AdminPorts,
  rotation: IssuerRotation,
  actor: Actor,
): Promise<Issuer | PendingIssuer> {
  const { name, generation } = rotation
  refuseRootName(name)
  const deployment = await readDeployment(ports.table)
  const current = await readIssuer(ports.table, name)
  const standing = await findSuccessor(ports, name, generation)
  if (standing !== undefined) return standing
  if (generation !== current.generation + 1)
    throw new ServiceError("ISSUER_GENERATION_WRONG", `generation ${current.generation} of issuer ${name} signs now`)
  const algorithm = rotation.algorithm ?? (current.key.scheme as IssuerAlgorithm)
  if ((algorithm === EXTRA_ALGORITHM) !== (current.key.scheme === EXTRA_ALGORITHM))
    throw new ServiceError(
      "ISSUER_ALGORITHM_WRONG",
      `issuer ${name} is of ${current.key.scheme}, its successor can't be of ${algorithm}`,
    )
  const wrapped = rotation.wrapped ?? isWrappedIssuer(current)
  if (wrapped && current.external)
    throw new ServiceError(
      "REQUEST_MALFORMED",
      `issuer ${name} is certified by an outside authority: its key can't be wrapped`,
    )
  if (wrapped) await requireStampedProfiles(ports.table, name)
  const key = await issuerKey(ports, `issuer/${name}/${generation}`, algorithm, wrapped)
  const audit = auditWrite(ports, actor, "issuer.rotate", `issuer/${name}@${generation}`)
  if (current.external) {
    const pending: PendingIssuer = {
      name,
      generation,
      issuerKeyId: issuerKeyId(ports.digest, key.spki),
      key,
      request: await requestCertificate(ports, key, deployment, name, generation),
      createdAt: wholeSeconds(ports.clock()),
    }
    const { committed } = await ports.table.transact([{ put: pendingIssuerItem(pending), if: { absent: true } }, audit])
    if (committed) return pending
  } else {
    const successor = await certifySuccessor(ports, deployment, rotation, key)
    const { committed } = await noteChangeNow(ports.table, (epoch) => [
      ...newIssuerWrites({ ...successor, firstEpoch: epoch }),
      audit,
    ])
    if (committed) return (await findGeneration(ports.table, name, generation)) ?? successor
  }
  const first = await findSuccessor(ports, name, generation)
  if (first === undefined) throw new ServiceError("CONTENTION", `others kept changing issuer ${name}`)
  return first
}

async function findSuccessor(
  { table }: AdminPorts,
  name: string,
  generation: number,
): Promise<Issuer | PendingIssuer | undefined> {
  const issuer = await findGeneration(table, name, generation)
  if (issuer !== undefined) return issuer
  const pending = await findPendingIssuer(table, name)
  return pending?.generation === generation ? pending : undefined
}

async function certifySuccessor(
  ports: AdminPorts,
  names: Deployment,
  { name, generation, days }: IssuerRotation,
  key: Issuer["key"],
): Promise<Issuer> {
  const root = rootFor(names, key.scheme)
  const now = wholeSeconds(ports.clock())
  const end = new Date(Math.min(now.getTime() + days * 86_400_000, root.notAfter.getTime()))
  const certificate = await certifyIssuer(ports, root, key, names, name, now, end, generation)
  const made = newIssuer(ports, name, key, certificate, [root.certificate], now, end)
  return { ...made, generation, state: "standby" }
}

/**
 * Lets a successor sign in the place of the one before, which is retired: its certificates and signatures stay good, its CRL goes on. Not before a
 * publication has shown the successor, so that no signature is made that deployers could not check. When it answers, nothing is recorded under a fresh
 * certificate of the old key any more (D3). Safe to repeat.
 * @throws ServiceError ISSUER_UNKNOWN, ISSUER_PENDING, ISSUER_NOT_PUBLISHED, ISSUER_NOT_ACTIVE for a successor that was revoked, CONTENTION,
 * ISSUER_DEMANDS_TIMESTAMPS for a wrapped one of profiles without
 */
export async function activateSuccessor(
  ports: AdminPorts,
  name: string,
  generation: number,
  actor: Actor,
): Promise<Issuer> {
  const current = await readIssuer(ports.table, name)
  if (current.generation >= generation) {
    await closeOlder(ports, name, current.generation)
    return current
  }
  const successor = await findSuccessor(ports, name, generation)
  if (successor === undefined)
    throw new ServiceError("ISSUER_UNKNOWN", `issuer ${name} has no generation ${generation}`)
  if (!("certificate" in successor))
    throw new ServiceError("ISSUER_PENDING", `generation ${generation} of issuer ${name} has no certificate yet`)
  if (successor.state !== "standby")
    throw new ServiceError("ISSUER_NOT_ACTIVE", `generation ${generation} of issuer ${name} is ${successor.state}`)
  if (isWrappedIssuer(successor)) await requireStampedProfiles(ports.table, name)
  const head = await readHead(ports.table)
  if (head === undefined || head.published < (successor.firstEpoch ?? 0))
    throw new ServiceError("ISSUER_NOT_PUBLISHED", `publication ${successor.firstEpoch} will show it`)
  const { committed } = await noteChangeNow(ports.table, [
    ...takeOverWrites(current, successor),
    auditWrite(ports, actor, "issuer.take-over", `issuer/${name}@${generation}`),
  ])
  if (!committed) throw new ServiceError("CONTENTION", `others kept changing issuer ${name}`)
  await closeOlder(ports, name, generation)
  return { ...successor, state: "active" }
}

/** Leases of the generations before: whoever holds one could still record under their certificates. */
async function closeOlder({ table }: AdminPorts, name: string, generation: number): Promise<void> {
  const older = new Set<string>()
  for (let before = 1; before < generation; before++) {
    const issuer = await findGeneration(table, name, before)
    if (issuer !== undefined) older.add(issuer.issuerKeyId)
  }
  await closeLeases(table, ({ issuerKeyId }) => older.has(issuerKeyId))
}
