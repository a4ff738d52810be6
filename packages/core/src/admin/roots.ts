import { bytesEqual, hexEncode } from "@sealwright/formats/bytes"
import { parseTrustBundle, type TrustBundle } from "@sealwright/formats/trust-bundle"
import { parseCertificate } from "@sealwright/formats/x509"
import { ServiceError } from "../errors.ts"
import { type Actor, auditWrite } from "../ledger/audit.ts"
import { listOutsideAuthorities } from "../ledger/outside-authorities.ts"
import { listIssuers, readDeployment, replaceDeployment } from "../ledger/trust.ts"
import { newestTargets } from "../ledger/tuf-documents.ts"
import { findProposal } from "../ledger/tuf-proposals.ts"
import type { Deployment, ExtraAlgorithm, Issuer, ProfileAlgorithm } from "../model.ts"
import { ROOT_NAME } from "../names.ts"
import type { KeyReference, Write } from "../ports.ts"
import { noteChangeNow } from "../publish/changes.ts"
import { wholeSeconds } from "../sign/rules.ts"
import { bundleWrites } from "../tuf/change.ts"
import { serviceRootWrites } from "../tuf/flow.ts"
import { type AdminPorts, newIssuer, YEAR_MS } from "./ceremony.ts"
import { certifyRoot } from "./certificates.ts"

const ATTEMPTS = 4

export interface RootRotation {
  /** one above the root that certifies now; naming it makes a repeat the same act */
  readonly generation: number
  /** of the new root; undefined: as before */
  readonly algorithm: ProfileAlgorithm | undefined
  readonly rootYears: number
}

/**
 * Puts a new root beside the old one: new key and certificate in the trust bundle, and in the same act, where the service's keys suffice for that, a new key of the
 * TUF root, whose next version the old and the new key sign. Issuers made or rotated from now on are certified by the new root; those that stand keep theirs, so nothing depends on the new
 * root before deployers have accepted it (R17). Safe to repeat.
 * @throws ServiceError PRECONDITION_REQUIRED, ISSUER_GENERATION_WRONG, CONTENTION, SIGNER_UNAVAILABLE, KEY_NOT_USABLE
 */
export async function rotateRoot(ports: AdminPorts, rotation: RootRotation, actor: Actor): Promise<Deployment> {
  const { generation } = rotation
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const deployment = await readDeployment(ports.table)
    if (deployment.root.generation >= generation) return deployment
    if (generation !== deployment.root.generation + 1)
      throw new ServiceError(
        "ISSUER_GENERATION_WRONG",
        `generation ${deployment.root.generation} of the root certifies now`,
      )
    const now = wholeSeconds(ports.clock())
    const root = await makeRoot(ports, deployment, rotation, now)
    const targets = await withRoot(ports, root.certificate, now, `root rotate, generation ${generation}`, actor)
    const { writes, deployment: newest } = await serviceRootWrites(ports, now, actor)
    if (newest.root.generation !== deployment.root.generation) continue
    const next = { ...newest, root, formerRoots: [...newest.formerRoots, newest.root] }
    const result = await noteChangeNow(ports.table, [
      replaceDeployment(next),
      ...writes,
      ...targets,
      auditWrite(ports, actor, "root.rotate", `root@${generation}`),
    ])
    if (result.committed) return await readDeployment(ports.table)
  }
  throw new ServiceError("CONTENTION", "others kept changing the deployment or its trust data")
}

/** A root of another algorithm beside the one that certifies now. */
export interface ExtraRoot {
  readonly algorithm: ExtraAlgorithm
  /** one above the newest of its algorithm, 1 for the first; naming it makes a repeat the same act */
  readonly generation: number
  readonly rootYears: number
}

/**
 * Puts a root of another algorithm beside the others: a key and certificate in the trust bundle, for the issuers of that algorithm (R19). Nothing depends on it
 * before deployers have accepted it (R17). Safe to repeat.
 * @throws ServiceError PRECONDITION_REQUIRED, ISSUER_GENERATION_WRONG, CONTENTION, SIGNER_UNAVAILABLE, KEY_NOT_USABLE
 */
export async function addRoot(
  ports: AdminPorts,
  { algorithm, generation, rootYears }: ExtraRoot,
  actor: Actor,
): Promise<Deployment> {
  const name = `${ROOT_NAME}-${algorithm}`
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const deployment = await readDeployment(ports.table)
    const newest = deployment.extraRoots.findLast((root) => root.name === name)?.generation ?? 0
    if (newest >= generation) return deployment
    if (generation !== newest + 1)
      throw new ServiceError("ISSUER_GENERATION_WRONG", `generation ${newest} is the newest root of ${algorithm}`)
    const now = wholeSeconds(ports.clock())
    const made = await makeExtraRoot(ports, deployment, name, { algorithm, generation, rootYears }, now)
    const targets = await withRoot(
      ports,
      made.certificate,
      now,
      `root create ${algorithm}, generation ${generation}`,
      actor,
    )
    const result = await noteChangeNow(ports.table, [
      replaceDeployment({ ...deployment, extraRoots: [...deployment.extraRoots, made] }),
      ...targets,
      auditWrite(ports, actor, "root.create", `${name}@${generation}`),
    ])
    if (result.committed) return await readDeployment(ports.table)
  }
  throw new ServiceError("CONTENTION", "others kept changing the deployment or its trust data")
}

async function makeExtraRoot(
  ports: AdminPorts,
  names: Deployment,
  name: string,
  { algorithm, generation, rootYears }: ExtraRoot,
  now: Date,
): Promise<Issuer> {
  const key = await ports.maker.create(generation === 1 ? name : `${name}/${generation}`, "root", algorithm)
  const notAfter = new Date(now.getTime() + rootYears * YEAR_MS)
  const certificate = await rootCertificate(ports, key, () => certifyRoot(ports, key, names, now, notAfter, generation))
  return { ...newIssuer(ports, name, key, certificate, [], now, parseCertificate(certificate).notAfter), generation }
}

async function makeRoot(
  ports: AdminPorts,
  { root, ...names }: Deployment,
  { generation, algorithm, rootYears }: RootRotation,
  now: Date,
): Promise<Issuer> {
  const scheme = algorithm ?? (root.key.scheme as ProfileAlgorithm)
  const key = await ports.maker.create(`${ROOT_NAME}/${generation}`, "root", scheme)
  const notAfter = new Date(now.getTime() + rootYears * YEAR_MS)
  const certificate = await rootCertificate(ports, key, () => certifyRoot(ports, key, names, now, notAfter, generation))
  const end = parseCertificate(certificate).notAfter
  return { ...newIssuer(ports, ROOT_NAME, key, certificate, [], now, end), generation }
}

/**
 * Takes a root out of the trust bundle: one of the deployment's own, of an outside CA, or of an outside timestamp authority. It needs no word of the root itself, so a
 * compromised one can't prevent it (R17). What it certified counts no more for deployers who trust what the bundle has. Safe to repeat; a
 * timestamp root is then unknown.
 * @param thumbprint lower-case hex SHA-256 of its certificate
 * @throws ServiceError CERTIFICATE_UNKNOWN, ROOT_IN_USE while it certifies new issuers, or one below it signs or stands by, CONTENTION
 */
export async function retireRoot(ports: AdminPorts, thumbprint: string, actor: Actor): Promise<Deployment> {
  const matches = (der: Uint8Array) => hexEncode(ports.digest("sha256", der)) === thumbprint
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const deployment = await readDeployment(ports.table)
    const former = [...deployment.formerRoots, ...deployment.extraRoots].find(({ certificate }) => matches(certificate))
    if (former?.state === "retired") return deployment
    const { trustBundle } = await newestTargets(ports.table)
    const { roots, externalRoots, timestampRoots = [] } = parseTrustBundle(trustBundle)
    const certificate = [...roots, ...externalRoots, ...timestampRoots].find(matches) ?? former?.certificate
    if (certificate === undefined) {
      if (await wasOutside(ports, matches)) return deployment
      throw new ServiceError("CERTIFICATE_UNKNOWN", `the trust bundle has no root ${thumbprint}`)
    }
    await requireUnused(ports, deployment, certificate)
    const left = (standing: readonly Uint8Array[]) => standing.filter((der) => !bytesEqual(der, certificate))
    const without = (bundle: TrustBundle): TrustBundle => ({
      ...bundle,
      roots: left(bundle.roots),
      externalRoots: left(bundle.externalRoots),
      timestampRoots: left(bundle.timestampRoots ?? []),
    })
    const targets = await bundleWrites(ports, without, wholeSeconds(ports.clock()), `root retire ${thumbprint}`, actor)
    const retired = (root: Issuer) => (root === former ? { ...root, state: "retired" as const } : root)
    const formerRoots = deployment.formerRoots.map(retired)
    const extraRoots = deployment.extraRoots.map(retired)
    const result = await noteChangeNow(ports.table, [
      replaceDeployment({ ...deployment, formerRoots, extraRoots }),
      ...targets,
      auditWrite(ports, actor, "root.retire", thumbprint),
    ])
    if (result.committed) return await readDeployment(ports.table)
  }
  throw new ServiceError("CONTENTION", "others kept changing the deployment or its trust data")
}

/** An outside root that left the bundle before: a repeat. */
async function wasOutside({ table }: AdminPorts, matches: (der: Uint8Array) => boolean): Promise<boolean> {
  return (await listIssuers(table)).some(({ external, chain }) => external && chain.slice(-1).some(matches))
}

async function requireUnused(ports: AdminPorts, deployment: Deployment, root: Uint8Array): Promise<void> {
  if (bytesEqual(deployment.root.certificate, root))
    throw new ServiceError("ROOT_IN_USE", "it certifies new issuers: rotate the root first")
  const below = (await listIssuers(ports.table)).find(
    ({ state, chain, certificate }) =>
      (state === "active" || state === "standby") && bytesEqual(chain.at(-1) ?? certificate, root),
  )
  const stamping = (await listOutsideAuthorities(ports.table)).find(({ roots }) =>
    roots.some((one) => bytesEqual(one, root)),
  )
  if (stamping !== undefined) throw new ServiceError("ROOT_IN_USE", `outside authority ${stamping.name} has it`)
  if (below !== undefined)
    throw new ServiceError("ROOT_IN_USE", `issuer ${below.name}, generation ${below.generation}, stands below it`)
}

/** New targets with this root in the trust bundle; none when it is there already. */
function withRoot(ports: AdminPorts, root: Uint8Array, now: Date, act: string, actor: Actor): Promise<Write[]> {
  const add = (bundle: TrustBundle): TrustBundle =>
    bundle.roots.some((known) => bytesEqual(known, root)) ? bundle : { ...bundle, roots: [...bundle.roots, root] }
  return bundleWrites(ports, add, now, act, actor)
}

/**
 * The certificate that this key of a root has already, in the trust bundle or in one that waits for signatures of people: an act that is asked for again must not
 * make another one.
 */
async function rootCertificate(
  ports: AdminPorts,
  key: KeyReference,
  make: () => Promise<Uint8Array>,
): Promise<Uint8Array> {
  const waiting = (await findProposal(ports.table))?.targets?.trustBundle
  const bundles = [(await newestTargets(ports.table)).trustBundle, ...(waiting ? [waiting] : [])]
  const roots = bundles.flatMap((bundle) => parseTrustBundle(bundle).roots)
  return roots.find((der) => bytesEqual(parseCertificate(der).spki, key.spki)) ?? (await make())
}
