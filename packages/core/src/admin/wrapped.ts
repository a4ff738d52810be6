import { ServiceError } from "../errors.ts"
import { Attributes, keyAttributes, keyFrom } from "../ledger/attributes.ts"
import { keys } from "../ledger/keys.ts"
import { listProfiles } from "../ledger/trust.ts"
import { type Issuer, isWrappedIssuer, type Profile } from "../model.ts"
import type { KeyReference, KeyWrapper, Table, WrappedPurpose } from "../ports.ts"
import { isStamped } from "../sign/rules.ts"

export interface WrapPorts {
  readonly table: Table
  readonly wrapper: KeyWrapper
}

/**
 * The wrapped key of this name, made when there is none. Making one isn't idempotent, so what was made is put down first, where the first one wins,
 * and only what stands there is ever certified: a repeat, or another at the same time, comes to the same key. A crash before leaves nothing that
 * anyone could use.
 * @throws ServiceError ALREADY_EXISTS for one of another algorithm, WRAPPING_NOT_ENABLED, SIGNER_UNAVAILABLE, KEY_NOT_USABLE
 */
export async function wrappedKey(
  { table, wrapper }: WrapPorts,
  name: string,
  purpose: WrappedPurpose,
  scheme: KeyReference["scheme"],
): Promise<KeyReference> {
  const standing = await findWrappedKey(table, name)
  if (standing !== undefined) return sameScheme(standing, name, scheme)
  const made = await wrapper.wrap(name, purpose, scheme)
  const { committed } = await table.transact([
    { put: { ...keys.wrappedKey(name), ...keyAttributes(made) }, if: { absent: true } },
  ])
  if (committed) return made
  return sameScheme((await findWrappedKey(table, name)) ?? made, name, scheme)
}

async function findWrappedKey(table: Table, name: string): Promise<KeyReference | undefined> {
  const item = await table.get(keys.wrappedKey(name))
  return item && keyFrom(Attributes.of(item))
}

function sameScheme(key: KeyReference, name: string, scheme: KeyReference["scheme"]): KeyReference {
  if (key.scheme !== scheme) throw new ServiceError("ALREADY_EXISTS", `the key ${name} has another algorithm`)
  return key
}

/**
 * A wrapped issuer's key may be copied, so what is below it must have its time from elsewhere; and nobody who makes profiles can use it, so it certifies
 * no held key.
 * @throws ServiceError ISSUER_DEMANDS_TIMESTAMPS, HELD_BELOW_WRAPPED
 */
export function requireFitBelow(issuer: Issuer, profile: Pick<Profile, "timestamp" | "keyMode">, name: string): void {
  if (!isWrappedIssuer(issuer)) return
  if (profile.keyMode === "held") throw new ServiceError("HELD_BELOW_WRAPPED", `profile ${name}, issuer ${issuer.name}`)
  if (!isStamped(profile.timestamp))
    throw new ServiceError("ISSUER_DEMANDS_TIMESTAMPS", `profile ${name}, issuer ${issuer.name}`)
}

/**
 * Before a wrapped key signs under an issuer's name: no profile that would sign with it lacks timestamps. Profiles with a held key stay with the
 * generation that certified it.
 * @throws ServiceError ISSUER_DEMANDS_TIMESTAMPS
 */
export async function requireStampedProfiles(table: Table, issuer: string): Promise<void> {
  for (const profile of await listProfiles(table)) {
    const concerned = profile.issuer === issuer && profile.keyMode !== "held" && profile.state !== "revoked"
    if (concerned && !isStamped(profile.timestamp))
      throw new ServiceError("ISSUER_DEMANDS_TIMESTAMPS", `profile ${profile.name} of issuer ${issuer} has none`)
  }
}
