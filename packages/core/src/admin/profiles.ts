import { ServiceError } from "../errors.ts"
import { type Actor, auditWrite } from "../ledger/audit.ts"
import { keys } from "../ledger/keys.ts"
import { settleLease, unsettledLeases } from "../ledger/leases.ts"
import { findProfile, profileItem, readDeployment, readIssuer, readProfile, replaceProfile } from "../ledger/trust.ts"
import type { HeldKey, Issuer, Profile } from "../model.ts"
import { isPrincipal, isScope, SLUG } from "../names.ts"
import type { Table, Write } from "../ports.ts"
import { noteChangeNow } from "../publish/changes.ts"
import { leafStart, wholeSeconds } from "../sign/rules.ts"
import type { AdminPorts } from "./ceremony.ts"
import { certifyLeaf, randomSerial } from "./certificates.ts"

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
>

/** What may change after creation; key mode, algorithm and issuer are changed by a rotation, timestamps by a new profile. */
export type ProfileChange = Partial<
  Pick<ProfileSettings, "principals" | "repositories" | "expirySec" | "leafLifetimeSec" | "allowList">
>

/**
 * Creates a profile; a held key and its certificate with it. Safe to repeat with the same settings.
 * @throws ServiceError REQUEST_MALFORMED, ISSUER_UNKNOWN, ISSUER_NOT_ACTIVE, ALREADY_EXISTS
 */
export async function createProfile(
  ports: AdminPorts,
  name: string,
  settings: ProfileSettings,
  actor: Actor,
): Promise<Profile> {
  checkSettings(name, settings)
  const existing = await findProfile(ports.table, name)
  if (existing !== undefined) return sameSettings(existing, settings)
  const deployment = await readDeployment(ports.table)
  const issuer = await readIssuer(ports.table, settings.issuer)
  if (issuer.state !== "active") throw new ServiceError("ISSUER_NOT_ACTIVE", `issuer ${issuer.name} is ${issuer.state}`)
  const now = wholeSeconds(ports.clock())
  const held =
    settings.keyMode === "held" ? await makeHeldKey(ports, deployment, issuer, name, settings, now) : undefined
  const profile: Profile = { name, ...settings, state: "active", generation: 1, held, createdAt: now, updatedAt: now }
  const result = await noteChangeNow(ports.table, [
    { put: profileItem(profile), if: { absent: true } },
    { check: keys.issuer(issuer.name), if: { equals: { state: "active" } } },
    auditWrite(ports, actor, "profile.create", `profile/${name}`),
  ])
  if (result.committed) return profile
  if (result.outcomes[1]?.failed)
    throw new ServiceError("ISSUER_NOT_ACTIVE", `issuer ${issuer.name} is not active any more`)
  return sameSettings(await readProfile(ports.table, name), settings)
}

async function makeHeldKey(
  ports: AdminPorts,
  deployment: Parameters<typeof certifyLeaf>[2],
  issuer: Issuer,
  profile: string,
  { algorithm, timestamp }: ProfileSettings,
  now: Date,
): Promise<HeldKey> {
  const key = await ports.maker.create(`held/${profile}`, "held", algorithm)
  const certificate = await certifyLeaf(ports, issuer, deployment, {
    profile,
    serial: randomSerial(ports.random),
    spki: key.spki,
    notBefore: leafStart(timestamp, now),
    notAfter: issuer.notAfter,
  })
  return { key, certificate }
}

function checkSettings(name: string, settings: ProfileSettings): void {
  if (!SLUG.test(name))
    throw new ServiceError("REQUEST_MALFORMED", "a profile's name is a slug: a-z, 0-9 and inner hyphens, 48 at most")
  checkLists(settings)
}

function checkLists(settings: ProfileChange): void {
  for (const principal of settings.principals ?? [])
    if (!isPrincipal(principal))
      throw new ServiceError("REQUEST_MALFORMED", `${principal} is not arn:aws:iam::{account}:role/{name}`)
  for (const scope of settings.repositories ?? [])
    if (!isScope(scope))
      throw new ServiceError("REQUEST_MALFORMED", `${scope} is not registry/repository or registry/path/*`)
}

function sameSettings(profile: Profile, settings: ProfileSettings): Profile {
  const names = ["issuer", "keyMode", "algorithm", "expirySec", "leafLifetimeSec", "allowList", "timestamp"] as const
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

/** @throws ServiceError PROFILE_UNKNOWN, PROFILE_REVOKED, PROFILE_CHANGED */
export function changeProfile(ports: AdminPorts, name: string, change: ProfileChange, actor: Actor): Promise<Profile> {
  checkLists(change)
  return update(ports, name, actor, "profile.change", (profile) => ({ ...profile, ...change }))
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
): Promise<Profile> {
  const profile = await readProfile(ports.table, name)
  if (profile.state === "revoked") throw new ServiceError("PROFILE_REVOKED", `profile ${name} is revoked`)
  const next = nextGeneration(change(profile), wholeSeconds(ports.clock()))
  const result = await noteChangeNow(ports.table, [
    replaceProfile(next, profile.generation),
    auditWrite(ports, actor, action, `profile/${name}`),
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
