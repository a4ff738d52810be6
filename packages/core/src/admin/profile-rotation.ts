import { ServiceError } from "../errors.ts"
import { type Actor, auditWrite } from "../ledger/audit.ts"
import { keys } from "../ledger/keys.ts"
import { readDeployment, readIssuer, readIssuerOf, readProfile, replaceProfile } from "../ledger/trust.ts"
import type { FormerAuthority, Issuer, Profile } from "../model.ts"
import { ROOT_NAME } from "../names.ts"
import type { Table } from "../ports.ts"
import { noteChangeNow } from "../publish/changes.ts"
import { wholeSeconds } from "../sign/rules.ts"
import type { AdminPorts } from "./ceremony.ts"
import { closeLeases, makeHeldKey, nextGeneration, requireFirst, requireOtherName } from "./profiles.ts"
import { requireFitBelow } from "./wrapped.ts"

/**
 * Gives a profile another issuer, and one with a held key a new key and certificate: no two certificates share a key (D2). What was signed before
 * stays good, and deployers do nothing (R16): identity and roots are the same. When it answers, nothing is recorded under the old key any more (D3).
 * @param generation the profile's, as it was read: names the rotation, so that a repeat is the same act
 * @param issuerName undefined: the issuer that it has, in its newest generation
 * @throws ServiceError PROFILE_UNKNOWN, PROFILE_REVOKED, PROFILE_CHANGED, ISSUER_UNKNOWN, ISSUER_PENDING, ISSUER_NOT_ACTIVE, ISSUER_ALGORITHM_WRONG,
 * ROOT_ISSUER_REFUSED, ISSUER_DEMANDS_TIMESTAMPS, HELD_BELOW_WRAPPED, REQUEST_MALFORMED for a profile that has neither a key nor another issuer to rotate to
 */
export async function rotateProfile(
  ports: AdminPorts,
  name: string,
  generation: number,
  issuerName: string | undefined,
  actor: Actor,
): Promise<Profile> {
  const profile = await readProfile(ports.table, name)
  if (profile.state === "revoked") throw new ServiceError("PROFILE_REVOKED", `profile ${name} is revoked`)
  if (profile.rotatedFrom === generation) {
    await closeLeases(ports.table, (lease) => lease.profile === name)
    return profile
  }
  if (profile.generation !== generation)
    throw new ServiceError("PROFILE_CHANGED", `profile ${name} is in generation ${profile.generation}`)
  if (issuerName === ROOT_NAME && profile.issuer !== ROOT_NAME)
    throw new ServiceError("ROOT_ISSUER_REFUSED", `profile ${name} would sign right below the root`)
  const deployment = await readDeployment(ports.table)
  const issuer = await readIssuer(ports.table, issuerName ?? profile.issuer)
  if (issuer.state !== "active") throw new ServiceError("ISSUER_NOT_ACTIVE", `issuer ${issuer.name} is ${issuer.state}`)
  if (profile.held === undefined && issuer.name === profile.issuer)
    throw new ServiceError(
      "REQUEST_MALFORMED",
      `profile ${name} has a fresh key for every signature: name another issuer`,
    )
  requireOtherName(deployment, issuer, name)
  requireFirst(issuer)
  requireFitBelow(issuer, profile, name)
  const now = wholeSeconds(ports.clock())
  const keyName = `held/${name}/${generation + 1}`
  const next: Profile = {
    ...nextGeneration(profile, now),
    issuer: issuer.name,
    held: profile.held && (await makeHeldKey(ports, deployment, issuer, name, keyName, profile, now)),
    former: await formerOf(ports.table, profile, issuer),
    rotatedFrom: generation,
  }
  const result = await noteChangeNow(ports.table, [
    replaceProfile(next, generation),
    { check: keys.issuer(issuer.name, issuer.generation), if: { equals: { state: "active" } } },
    auditWrite(ports, actor, "profile.rotate", `profile/${name}`),
  ])
  if (!result.committed) return await rotatedBefore(ports, name, generation)
  await closeLeases(ports.table, (lease) => lease.profile === name)
  return next
}

async function rotatedBefore(ports: AdminPorts, name: string, generation: number): Promise<Profile> {
  const profile = await readProfile(ports.table, name)
  if (profile.rotatedFrom !== generation)
    throw new ServiceError("PROFILE_CHANGED", `profile ${name} or its issuer changed meanwhile`)
  await closeLeases(ports.table, (lease) => lease.profile === name)
  return profile
}

async function formerOf(table: Table, profile: Profile, next: Issuer): Promise<FormerAuthority> {
  const { issuers, certificates } = profile.former
  const left = issuers.includes(profile.issuer) ? issuers : [...issuers, profile.issuer]
  const by = profile.held && (await readIssuerOf(table, profile))
  return {
    issuers: left.filter((issuer) => issuer !== next.name),
    certificates:
      profile.held === undefined || by === undefined
        ? certificates
        : [...certificates, { certificate: profile.held.certificate, issuerKeyId: by.issuerKeyId }],
  }
}
