import { bytesEqual } from "@sealwright/formats/bytes"
import { parseCertificate } from "@sealwright/formats/x509"
import { ServiceError } from "../errors.ts"
import { type Actor, auditWrite } from "../ledger/audit.ts"
import { keys } from "../ledger/keys.ts"
import { settleLease, unsettledLeases } from "../ledger/leases.ts"
import { readOutsideAuthority } from "../ledger/outside-authorities.ts"
import {
  findIssuer,
  findProfile,
  newIssuerWrites,
  profileItem,
  readDeployment,
  readIssuer,
  readProfile,
  replaceProfile,
} from "../ledger/trust.ts"
import { type Deployment, EXTRA_ALGORITHM, type HeldKey, type Issuer, type Profile } from "../model.ts"
import { isPrincipal, isScope, ROOT_NAME, SLUG } from "../names.ts"
import type { Table, Write } from "../ports.ts"
import { noteChangeNow } from "../publish/changes.ts"
import { leafStart, outsideAuthorityOf, wholeSeconds } from "../sign/rules.ts"
import type { AdminPorts } from "./ceremony.ts"
import { leafCertifier, randomSerial, subjectName } from "./certificates.ts"
import { requireFitBelow } from "./wrapped.ts"

/** What a profile's creator decides. */
export type ProfileSettings = Pick<
  Profile,
  | "issuer"
  | "keyMode"
  | "algorithm"
  | "principals"
  | "repositories"
  | "expirySec"
  | "leafLifetimeSec"
  | "allowList"
  | "timestamp"
> & { readonly extraIssuer?: string | undefined }

/** What may change after creation; key mode, algorithm and issuer are changed by a rotation, timestamps by a new profile. */
export type ProfileChange = Partial<
  Pick<ProfileSettings, "principals" | "repositories" | "expirySec" | "leafLifetimeSec" | "allowList">
> & {
  /** null: no extra signatures any more */
  readonly extraIssuer?: string | null
}

/**
 * Creates a profile; a held key and its certificate with it. Safe to repeat with the same settings.
 * @param allowRootIssuer whether the deployment's root itself may certify what this profile signs (R5): its key is then used every day, and nothing
 * stands between it and a signature
 * @throws ServiceError REQUEST_MALFORMED, TIMESTAMP_AUTHORITY_UNKNOWN, ROOT_ISSUER_REFUSED, ISSUER_UNKNOWN, ISSUER_PENDING, ISSUER_NOT_ACTIVE, ALREADY_EXISTS,
 * ISSUER_DEMANDS_TIMESTAMPS, HELD_BELOW_WRAPPED, ISSUER_ALGORITHM_WRONG, EXTRA_SIGNATURE_UNSUPPORTED
 */
export async function createProfile(
  ports: AdminPorts,
  name: string,
  settings: ProfileSettings,
  actor: Actor,
  allowRootIssuer = false,
): Promise<Profile> {
  checkSettings(name, settings)
  const stampedBy = outsideAuthorityOf(settings.timestamp)
  if (stampedBy !== undefined) await readOutsideAuthority(ports.table, stampedBy)
  const byRoot = settings.issuer === ROOT_NAME
  if (byRoot && !allowRootIssuer)
    throw new ServiceError("ROOT_ISSUER_REFUSED", `profile ${name} would sign right below the root`)
  const existing = await findProfile(ports.table, name)
  if (existing !== undefined) return sameSettings(existing, settings)
  const deployment = await readDeployment(ports.table)
  if (byRoot) await makeRootIssuer(ports, deployment.root, actor)
  const issuer = await readIssuer(ports.table, settings.issuer)
  requireOtherName(deployment, issuer, name)
  requireFirst(issuer)
  if (issuer.state !== "active") throw new ServiceError("ISSUER_NOT_ACTIVE", `issuer ${issuer.name} is ${issuer.state}`)
  requireFitBelow(issuer, settings, name)
  const { extraIssuer } = settings
  const extra = extraIssuer === undefined ? [] : await extraIssuerChecks(ports.table, extraIssuer, settings)
  const now = wholeSeconds(ports.clock())
  const held =
    settings.keyMode === "held"
      ? await makeHeldKey(ports, deployment, issuer, name, `held/${name}`, settings, now)
      : undefined
  const profile: Profile = {
    name,
    ...settings,
    extraIssuer,
    state: "active",
    generation: 1,
    held,
    former: { issuers: [], certificates: [] },
    rotatedFrom: undefined,
    createdAt: now,
    updatedAt: now,
  }
  const result = await noteChangeNow(ports.table, [
    { put: profileItem(profile), if: { absent: true } },
    { check: keys.issuer(issuer.name, issuer.generation), if: { equals: { state: "active" } } },
    auditWrite(ports, actor, byRoot ? "profile.create.below-root" : "profile.create", `profile/${name}`),
    ...extra,
  ])
  if (result.committed) return profile
  if (result.outcomes[3]?.failed)
    throw new ServiceError("ISSUER_NOT_ACTIVE", `issuer ${extraIssuer} is not active any more`)
  if (result.outcomes[1]?.failed)
    throw new ServiceError("ISSUER_NOT_ACTIVE", `issuer ${issuer.name} is not active any more`)
  return sameSettings(await readProfile(ports.table, name), settings)
}

/** Lists the root among the issuers, with a numbering of its own; the first profile below it does that. */
async function makeRootIssuer(ports: AdminPorts, root: Issuer, actor: Actor): Promise<void> {
  if ((await findIssuer(ports.table, ROOT_NAME)) !== undefined) return
  await noteChangeNow(ports.table, [
    ...newIssuerWrites({ ...root, generation: 1 }),
    auditWrite(ports, actor, "issuer.create", `issuer/${ROOT_NAME}`),
  ])
}

/** Signatures of the extra algorithm stand beside others, never in their place. @throws ServiceError ISSUER_ALGORITHM_WRONG */
export function requireFirst({ name, key }: Issuer): void {
  if (key.scheme === EXTRA_ALGORITHM)
    throw new ServiceError(
      "ISSUER_ALGORITHM_WRONG",
      `issuer ${name} is of ${key.scheme}: it certifies extra signatures`,
    )
}

/**
 * Whether an issuer can certify the extra signatures of a profile (R19): of the extra algorithm, for fresh keys, and without a timestamp, whose authority is of
 * another algorithm.
 * @returns the check that it still is active, for the transaction that relies on it
 * @throws ServiceError EXTRA_SIGNATURE_UNSUPPORTED, ISSUER_ALGORITHM_WRONG, ISSUER_NOT_ACTIVE; and as `readIssuer`
 */
async function extraIssuerChecks(
  table: Table,
  extraIssuer: string,
  { keyMode, timestamp }: Pick<Profile, "keyMode" | "timestamp">,
): Promise<Write[]> {
  if (keyMode === "held" || timestamp !== "none")
    throw new ServiceError("EXTRA_SIGNATURE_UNSUPPORTED", `key mode ${keyMode}, timestamp ${timestamp}`)
  const { name, generation, key, state } = await readIssuer(table, extraIssuer)
  if (key.scheme !== EXTRA_ALGORITHM)
    throw new ServiceError("ISSUER_ALGORITHM_WRONG", `issuer ${name} is of ${key.scheme}, not of ${EXTRA_ALGORITHM}`)
  if (state !== "active") throw new ServiceError("ISSUER_NOT_ACTIVE", `issuer ${name} is ${state}`)
  return [{ check: keys.issuer(name, generation), if: { equals: { state: "active" } } }]
}

/** An outside authority names the issuer as it likes; a certificate that bears its issuer's name is refused by verifiers. */
export function requireOtherName(deployment: Deployment, issuer: Issuer, profile: string): void {
  if (bytesEqual(parseCertificate(issuer.certificate).subject.der, subjectName(deployment, profile)))
    throw new ServiceError(
      "ALREADY_EXISTS",
      `the certificate of issuer ${issuer.name} has the name of profile ${profile}`,
    )
}

export async function makeHeldKey(
  ports: AdminPorts,
  deployment: Deployment,
  issuer: Issuer,
  profile: string,
  keyName: string,
  { algorithm, timestamp }: Pick<Profile, "algorithm" | "timestamp">,
  now: Date,
): Promise<HeldKey> {
  const key = await ports.maker.create(keyName, "held", algorithm)
  const certificate = await leafCertifier(
    ports,
    issuer,
    deployment,
    profile,
  )({
    serial: randomSerial(ports.random),
    spki: key.spki,
    notBefore: leafStart(timestamp, now),
    notAfter: issuer.notAfter,
  })
  return { key, certificate, issuerGeneration: issuer.generation }
}

function checkSettings(name: string, settings: ProfileSettings): void {
  if (!SLUG.test(name))
    throw new ServiceError("REQUEST_MALFORMED", "a profile's name is a slug: a-z, 0-9 and inner hyphens, 48 at most")
  checkLists(settings)
}

function checkLists(settings: Pick<ProfileChange, "principals" | "repositories">): void {
  for (const principal of settings.principals ?? [])
    if (!isPrincipal(principal))
      throw new ServiceError("REQUEST_MALFORMED", `${principal} is not arn:aws:iam::{account}:role/{name}`)
  for (const scope of settings.repositories ?? [])
    if (!isScope(scope))
      throw new ServiceError("REQUEST_MALFORMED", `${scope} is not registry/repository or registry/path/*`)
}

function sameSettings(profile: Profile, settings: ProfileSettings): Profile {
  const names = [
    "issuer",
    "keyMode",
    "algorithm",
    "extraIssuer",
    "expirySec",
    "leafLifetimeSec",
    "allowList",
    "timestamp",
  ] as const
  const lists = ["principals", "repositories"] as const
  const same =
    names.every((name) => profile[name] === settings[name]) &&
    lists.every((name) => sameMembers(profile[name], settings[name]))
  if (!same) throw new ServiceError("ALREADY_EXISTS", `profile ${profile.name} exists with other settings`)
  return profile
}

function sameMembers(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((member) => b.includes(member))
}

/** @throws ServiceError PROFILE_UNKNOWN, PROFILE_REVOKED, PROFILE_CHANGED; of an extra issuer as `createProfile` */
export function changeProfile(ports: AdminPorts, name: string, change: ProfileChange, actor: Actor): Promise<Profile> {
  checkLists(change)
  const { extraIssuer, ...members } = change
  return update(
    ports,
    name,
    actor,
    "profile.change",
    (profile) => ({
      ...profile,
      ...members,
      extraIssuer: extraIssuer === undefined ? profile.extraIssuer : (extraIssuer ?? undefined),
    }),
    async (profile) => (extraIssuer ? await extraIssuerChecks(ports.table, extraIssuer, profile) : []),
  )
}

/** After this answers, no signature under the profile is recorded any more (D3). */
export function suspendProfile(ports: AdminPorts, name: string, actor: Actor): Promise<Profile> {
  return update(ports, name, actor, "profile.suspend", (profile) => ({ ...profile, state: "suspended" }))
}

export function resumeProfile(ports: AdminPorts, name: string, actor: Actor): Promise<Profile> {
  return update(ports, name, actor, "profile.resume", (profile) => ({ ...profile, state: "active" }))
}

async function update(
  ports: AdminPorts,
  name: string,
  actor: Actor,
  action: string,
  change: (profile: Profile) => Profile,
  rely: (profile: Profile) => Promise<Write[]> = async () => [],
): Promise<Profile> {
  const profile = await readProfile(ports.table, name)
  if (profile.state === "revoked") throw new ServiceError("PROFILE_REVOKED", `profile ${name} is revoked`)
  const next = nextGeneration(change(profile), wholeSeconds(ports.clock()))
  const checks = await rely(profile)
  const result = await noteChangeNow(ports.table, [
    replaceProfile(next, profile.generation),
    auditWrite(ports, actor, action, `profile/${name}`),
    ...checks,
  ])
  if (!result.committed) throw new ServiceError("PROFILE_CHANGED", `profile ${name} changed meanwhile`)
  await closeLeases(ports.table, (lease) => lease.profile === name)
  return next
}

export function nextGeneration(profile: Profile, now: Date): Profile {
  return { ...profile, generation: profile.generation + 1, updatedAt: now }
}

/** Closes leases that were taken before; later ones are bound to the new generation. */
export async function closeLeases(
  table: Table,
  concerns: (lease: { readonly profile: string; readonly issuerKeyId: string }) => boolean,
): Promise<void> {
  for (const lease of await unsettledLeases(table))
    if (concerns(lease)) await settleLease(table, lease.issuerKeyId, lease.first)
}

/** Explicit digests of an allow list (R25), for one repository of a profile that keeps one. */
export async function allowDigests(
  ports: AdminPorts,
  name: string,
  scope: string,
  digests: readonly string[],
  actor: Actor,
): Promise<{ readonly epoch: number }> {
  const profile = await readProfile(ports.table, name)
  if (!profile.allowList) throw new ServiceError("REQUEST_MALFORMED", `profile ${name} keeps no allow list`)
  if (!isScope(scope) || scope.endsWith("/*"))
    throw new ServiceError("REQUEST_MALFORMED", `${scope} is not registry/repository`)
  const writes: Write[] = digests.map((digest) => ({ put: { ...keys.allowance(name, scope, digest), scope, digest } }))
  const { epoch } = await noteChangeNow(ports.table, [
    ...writes,
    auditWrite(ports, actor, "allow", `profile/${name} ${scope}: ${digests.length} digests`),
  ])
  return { epoch }
}
