import { type KnownKey, knownKeyFrom, knownKeyWrite } from "../ledger/key-uses.ts"
import { queryAll } from "../ledger/keys.ts"
import { listOcspResponders } from "../ledger/ocsp-responders.ts"
import { listTimestampAuthorities } from "../ledger/timestamp-authorities.ts"
import { findDeployment, listIssuers, listPendingIssuers, listProfiles, rootsOf } from "../ledger/trust.ts"
import { type Issuer, TUF_ROLES } from "../model.ts"
import { isWrapped, type KeyPurpose, type KeyReference, type Table } from "../ports.ts"

/** Keys by ARN: those in force, and those that a run of reconciling ever saw in force. */
export type KnownKeys = ReadonlyMap<string, KnownKey>

export async function readKnownKeys(table: Table): Promise<KnownKeys> {
  const known = new Map((await queryAll(table, "key-known")).map((item) => [item.sk, knownKeyFrom(item)]))
  for (const key of await keysInForce(table)) known.set(key.keyId, key)
  return known
}

/** Remembers the keys in force, so that one that a rotation replaces is still known for what it was. */
export async function rememberKeys(table: Table): Promise<KnownKeys> {
  const remembered = new Map((await queryAll(table, "key-known")).map((item) => [item.sk, knownKeyFrom(item)]))
  for (const key of await keysInForce(table)) {
    if (remembered.get(key.keyId)?.purpose !== key.purpose) await table.transact([knownKeyWrite(key)])
    remembered.set(key.keyId, key)
  }
  return remembered
}

async function keysInForce(table: Table): Promise<KnownKey[]> {
  const deployment = await findDeployment(table)
  if (deployment === undefined) return []
  const found: KnownKey[] = []
  const add = (key: KeyReference, purpose: KeyPurpose, name: string) => {
    if (!isWrapped(key)) found.push({ keyId: key.keyId, purpose, name })
    else found.push(wrappingKey(key.keyId, purpose))
  }
  const named = ({ name, generation }: Pick<Issuer, "name" | "generation">) =>
    generation === 1 ? name : `${name}@${generation}`
  for (const root of rootsOf(deployment)) add(root.key, "root", named(root))
  for (const role of TUF_ROLES)
    for (const [at, key] of deployment.tuf[role].entries())
      add(key, `tuf-${role}`, `tuf/${role}${at === 0 ? "" : `@${at + 1}`}`)
  for (const [kind, { key, cosigner }] of Object.entries(deployment.log ?? {})) {
    add(key, "log", `log/${kind}`)
    if (cosigner !== undefined) add(cosigner, "log", `log/${kind}/cosigner`)
  }
  for (const issuer of await listIssuers(table))
    if (!rootsOf(deployment).some(({ key }) => key.keyId === issuer.key.keyId))
      add(issuer.key, "issuer", `issuer/${named(issuer)}`)
  for (const issuer of await listPendingIssuers(table)) add(issuer.key, "issuer", `issuer/${named(issuer)}`)
  for (const { name, held } of await listProfiles(table)) if (held) add(held.key, "held", `held/${name}`)
  for (const { key, generation } of await listTimestampAuthorities(table))
    add(key, "timestamp", `timestamp/${generation}`)
  for (const { key, issuer, generation } of await listOcspResponders(table))
    add(key, "ocsp", `ocsp/${issuer}@${generation}`)
  return found
}

/** A wrapped key signs outside of KMS; what CloudTrail shows is that the key above it unwraps. */
function wrappingKey(keyId: string, purpose: KeyPurpose): KnownKey {
  const [wrapping = ""] = keyId.slice(keyId.indexOf(":") + 1).split("#")
  const kind = purpose === "timestamp" ? "wrapping-timestamp" : "wrapping"
  return { keyId: wrapping, purpose: kind, name: kind }
}
