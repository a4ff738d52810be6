import { hexEncode } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import { schemesOfKey } from "@sealwright/formats/key-scheme"
import { tufKey } from "@sealwright/formats/tuf-key"
import { parsePublicKey } from "@sealwright/formats/x509"
import { ServiceError } from "../errors.ts"
import { type Actor, auditWrite } from "../ledger/audit.ts"
import { readDeployment, replaceDeployment } from "../ledger/trust.ts"
import { tufDocuments } from "../ledger/tuf-documents.ts"
import { listPersonKeys, personKeyItem } from "../ledger/tuf-proposals.ts"
import { type Deployment, TUF_ROLES, type TufKeys, type TufPersonKey, type TufRole } from "../model.ts"
import type { KeyMaker, KeyPurpose, KeyReference, Table } from "../ports.ts"
import { namedKey } from "../publish/tuf.ts"
import type { ChangePorts } from "./change.ts"
import { readRoot, readTargetsFile } from "./rules.ts"

/** What the service's own key is called where keys are named; no person's key may be called that. */
export const SERVICE_KEY = "service"
const MAX_PERSON_KEYS = 100
const ATTEMPTS = 4

/**
 * Registers the public half of a person's key, wherever the private one lives. It counts for nothing until a root names it. Safe to repeat.
 * @param spki SubjectPublicKeyInfo, DER
 * @throws ServiceError TUF_KEY_UNSUITABLE; ALREADY_EXISTS for another key of this name, or this key under another name or as one of the service's own, since one key must
 * not count twice; REQUEST_MALFORMED for the service's name
 */
export async function registerKey(
  ports: ChangePorts,
  name: string,
  spki: Uint8Array,
  actor: Actor,
): Promise<TufPersonKey> {
  if (name === SERVICE_KEY)
    throw new ServiceError("REQUEST_MALFORMED", "`service` is the name of the service's own keys")
  const key = { scheme: schemeOf(spki), spki }
  const { tuf } = await readDeployment(ports.table)
  const own = TUF_ROLES.flatMap((role) => tuf[role])
  if (own.some((one) => isSameKey(one, key)))
    throw new ServiceError("ALREADY_EXISTS", "this is a key of the service itself")
  const standing = await listPersonKeys(ports.table)
  const twin = standing.find((one) => isSameKey(one.key, key))
  if (twin?.name === name) return twin
  if (twin !== undefined) throw new ServiceError("ALREADY_EXISTS", `this key is registered as ${twin.name}`)
  if (standing.some((one) => one.name === name)) throw new ServiceError("ALREADY_EXISTS", `${name} has another key`)
  if (standing.length >= MAX_PERSON_KEYS)
    throw new ServiceError("TUF_KEY_UNSUITABLE", `${MAX_PERSON_KEYS} keys are registered`)
  const registered = { name, key, registeredAt: new Date(Math.floor(ports.clock().getTime() / 1000) * 1000) }
  const result = await ports.table.transact([
    { put: personKeyItem(registered), if: { absent: true } },
    auditWrite(ports, actor, "tuf.key", `tuf-key/${name}`),
  ])
  if (!result.committed) throw new ServiceError("CONTENTION", `another registered ${name}`)
  return registered
}

function schemeOf(spki: Uint8Array): KeyReference["scheme"] {
  try {
    for (const scheme of schemesOfKey(parsePublicKey(spki))) {
      try {
        tufKey(scheme, spki)
        return scheme
      } catch (error) {
        if (!(error instanceof FormatError)) throw error
      }
    }
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    throw new ServiceError("TUF_KEY_UNSUITABLE", error.message)
  }
  throw new ServiceError("TUF_KEY_UNSUITABLE", "no TUF client reads keys of this kind")
}

function isSameKey(a: Pick<KeyReference, "spki">, b: Pick<KeyReference, "spki">): boolean {
  return hexEncode(a.spki) === hexEncode(b.spki)
}

/** Every keyid that a document ever named for a role. */
async function namedBefore(table: Table, role: TufRole): Promise<ReadonlySet<string>> {
  if (role === "lists" || role === "registry") {
    const files = (await tufDocuments(table, "targets")).map(({ bytes }) => readTargetsFile(bytes).signed)
    return new Set(
      files.flatMap(({ delegations }) => delegations?.roles.find(({ name }) => name === role)?.keyids ?? []),
    )
  }
  const roots = (await tufDocuments(table, "root")).map(({ bytes }) => readRoot(bytes).signed)
  return new Set(roots.flatMap(({ roles }) => roles[role].keyids))
}

/** The generation that a role's next key of the service has: 2 after the first. */
export async function nextGeneration(
  ports: Pick<ChangePorts, "table" | "digest">,
  tuf: TufKeys,
  role: TufRole,
): Promise<number> {
  const last = tuf[role].at(-1)
  const named = await namedBefore(ports.table, role)
  const isSpare = last !== undefined && !named.has(namedKey(ports.digest, last).keyid)
  return tuf[role].length + (isSpare ? 0 : 1)
}

/**
 * The key of the service that no document has named yet, made and noted down when there is none. It is noted before any document can name it, so who publishes
 * later always finds it. Safe to repeat.
 * @throws ServiceError CONTENTION, SIGNER_UNAVAILABLE
 */
export async function spareKey(
  ports: ChangePorts & { readonly maker: KeyMaker },
  role: TufRole,
): Promise<{ readonly key: KeyReference; readonly deployment: Deployment }> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const deployment = await readDeployment(ports.table)
    const generation = await nextGeneration(ports, deployment.tuf, role)
    const spare = deployment.tuf[role][generation - 1]
    if (spare !== undefined) return { key: spare, deployment }
    const purpose: KeyPurpose = `tuf-${role}`
    const key = await ports.maker.create(`tuf-${role}/${generation}`, purpose, "ecdsa-p256-sha256")
    const tuf = { ...deployment.tuf, [role]: [...deployment.tuf[role], key] }
    const result = await ports.table.transact([replaceDeployment({ ...deployment, tuf })])
    if (result.committed) return { key, deployment: await readDeployment(ports.table) }
  }
  throw new ServiceError("CONTENTION", "others kept changing the deployment")
}

/** What people call the keys: by keyid. */
export async function keyNames(
  ports: Pick<ChangePorts, "table" | "digest">,
  tuf: TufKeys,
): Promise<Map<string, string>> {
  const names = new Map<string, string>()
  for (const role of TUF_ROLES)
    for (const [at, key] of tuf[role].entries())
      names.set(namedKey(ports.digest, key).keyid, at === 0 ? SERVICE_KEY : `${SERVICE_KEY}, generation ${at + 1}`)
  for (const { name, key } of await listPersonKeys(ports.table)) names.set(namedKey(ports.digest, key).keyid, name)
  return names
}
