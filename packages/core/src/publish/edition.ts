import { base64Decode, hexEncode, utf8 } from "@sealwright/formats/bytes"
import { canonicalJson } from "@sealwright/formats/canonical-json"
import { MAX_CRL_BYTES } from "@sealwright/formats/crl"
import type { JsonObject } from "@sealwright/formats/strict-json"
import { encodeTrustBundle } from "@sealwright/formats/trust-bundle"
import { decodeMetadata, type MetaFile, type TargetFile, type TufSigned } from "@sealwright/formats/tuf"
import { encodeMetadata, signedBytes } from "@sealwright/formats/tuf-encode"
import { ServiceError } from "../errors.ts"
import { type EpochCommit, readCommit, recordSignature } from "../ledger/epochs.ts"
import { readDeployment } from "../ledger/trust.ts"
import { readTargets, readTufDocuments, tufDocuments } from "../ledger/tuf-documents.ts"
import type { Clock, Digest, KeyReference, ObjectHeaders, Objects, RunStep, SigningKeys, Table } from "../ports.ts"
import { stagedCrlKey } from "./crl.ts"
import { decodePlan, MAX_PLAN_BYTES, type Plan } from "./plan.ts"
import {
  consistentName,
  countingKey,
  delegatedMetadata,
  fileOf,
  namedKey,
  requireReadable,
  snapshotMetadata,
  timestampMetadata,
} from "./tuf.ts"

export interface PublishPorts {
  readonly table: Table
  readonly objects: Objects
  readonly keys: SigningKeys
  readonly clock: Clock
  readonly digest: Digest
  readonly run: RunStep
  /** asks the role that holds the right to it (D13) for the CRL of a committed epoch */
  readonly requestCrl: (epoch: number, issuerKeyId: string) => Promise<void>
}

const IMMUTABLE = "public, max-age=31536000, immutable"
const HEAD = "public, max-age=30"
const PRIVATE = "no-store"

export const OBJECT_HEADERS = {
  metadata: { contentType: "application/json", cacheControl: IMMUTABLE },
  target: { contentType: "application/octet-stream", cacheControl: IMMUTABLE },
  timestamp: { contentType: "application/json", cacheControl: HEAD },
  crl: { contentType: "application/pkix-crl", cacheControl: HEAD },
  private: { contentType: "application/json", cacheControl: PRIVATE },
} as const satisfies Record<string, ObjectHeaders>

/** One set of objects, complete and signed, ready to be shown. */
export interface Edition {
  readonly epoch: number
  /** of the TUF root that it shows */
  readonly rootVersion: number
  readonly immutable: ReadonlyMap<string, { readonly bytes: Uint8Array; readonly headers: ObjectHeaders }>
  readonly crls: ReadonlyMap<string, Uint8Array>
  /** of those CRLs that outside authorities made: by key id, the authority's certificate */
  readonly outside: ReadonlyMap<string, Uint8Array>
  readonly notation: Uint8Array
  readonly timestamp: Uint8Array
}

/**
 * Signs whatever of a committed epoch is not signed yet and puts its objects together. Equal for everyone who calls it, since the plan
 * and the first signatures are stored.
 * @throws ServiceError STAGING_LOST, PUBLICATION_MISMATCH, PRECONDITION_REQUIRED, SIGNER_UNAVAILABLE, KEY_NOT_USABLE
 */
export async function makeEdition(ports: PublishPorts, epoch: number): Promise<Edition> {
  const { plan } = await readPlan(ports, epoch)
  for (const issuerKeyId of plan.crlIssuers) await ports.requestCrl(epoch, issuerKeyId)
  const commit = await requireCommit(ports, epoch)
  const immutable = new Map<string, { bytes: Uint8Array; headers: ObjectHeaders }>()
  const crls = new Map<string, Uint8Array>()

  const addTarget = (path: string, bytes: Uint8Array): [string, TargetFile] => {
    const file = fileOf(ports.digest, bytes)
    const key = `tuf/targets/${consistentName(path, file.hashes.get("sha256") as string)}`
    immutable.set(key, { bytes, headers: OBJECT_HEADERS.target })
    return [path, file]
  }
  const addMetadata = async (name: string, key: KeyReference, signed: TufSigned): Promise<MetaFile> => {
    const { keyid } = namedKey(ports.digest, key)
    const signature = await signOnce(ports, commit, `tuf/${name}`, key, signedBytes(signed))
    const bytes = encodeMetadata(signed, [{ keyid, signature }])
    requireReadable(name, signed.type, bytes.length)
    if (signed.type !== "timestamp")
      immutable.set(`tuf/${epoch}.${name}.json`, { bytes, headers: OBJECT_HEADERS.metadata })
    else timestamp = bytes
    return { version: signed.version, ...fileOf(ports.digest, bytes) }
  }
  let timestamp: Uint8Array = new Uint8Array(0)

  const listTargets = new Map<string, TargetFile>()
  for (const issuerKeyId of plan.crlIssuers) {
    const crl = commit.crls.get(issuerKeyId)
    const staged = crl && (await ports.objects.get(stagedCrlKey(crl.digestHex), MAX_CRL_BYTES))
    if (crl !== undefined && staged === undefined)
      throw new ServiceError("STAGING_LOST", `the CRL of issuer key ${issuerKeyId} is gone before it was published`)
    if (crl === undefined || staged === undefined || hexEncode(ports.digest("sha256", staged.bytes)) !== crl.digestHex)
      throw new ServiceError("PUBLICATION_MISMATCH", `the CRL of issuer key ${issuerKeyId} is not what was committed`)
    crls.set(issuerKeyId, staged.bytes)
    listTargets.set(...addTarget(`lists/${issuerKeyId}.crl`, staged.bytes))
  }
  const outside = new Map<string, Uint8Array>()
  for (const { issuerKeyId, authority, crl } of plan.outsideCrls ?? []) {
    const bytes = base64Decode(crl)
    outside.set(issuerKeyId, base64Decode(authority))
    crls.set(issuerKeyId, bytes)
    listTargets.set(...addTarget(`lists/${issuerKeyId}.crl`, bytes))
  }
  const { roots, targets, tuf } = await epochTuf(ports, plan)
  listTargets.set(
    ...addTarget(
      "lists/revocations.json",
      await signDocument(ports, commit, "revocations", tuf.lists, plan.revocations),
    ),
  )
  listTargets.set(...addTarget("lists/allow.json", await signDocument(ports, commit, "allow", tuf.lists, plan.allow)))
  const registryTargets = new Map([addTarget("registry/registry.json", utf8(JSON.stringify(plan.registry)))])
  addTarget("trust-bundle.json", encodeTrustBundle(plan.trustBundle))

  immutable.set(`tuf/${targets.version}.targets.json`, { bytes: targets.bytes, headers: OBJECT_HEADERS.metadata })
  for (const root of roots)
    immutable.set(`tuf/${root.version}.root.json`, { bytes: root.bytes, headers: OBJECT_HEADERS.metadata })

  const meta = new Map<string, MetaFile>([
    ["targets.json", { version: targets.version, ...fileOf(ports.digest, targets.bytes) }],
    ["lists.json", await addMetadata("lists", tuf.lists, delegatedMetadata("lists", listTargets, epoch, plan.date))],
    [
      "registry.json",
      await addMetadata("registry", tuf.registry, delegatedMetadata("registry", registryTargets, epoch, plan.date)),
    ],
  ])
  const snapshot = await addMetadata("snapshot", tuf.snapshot, snapshotMetadata(meta, epoch, plan.date))
  await addMetadata("timestamp", tuf.timestamp, timestampMetadata(snapshot, epoch, plan.date))
  const rootVersion = plan.tuf.root
  return { epoch, rootVersion, immutable, crls, outside, notation: utf8(JSON.stringify(plan.notation)), timestamp }
}

/** The documents that an epoch shows, and the keys that they name for the roles which the publisher signs. */
async function epochTuf(ports: PublishPorts, { tuf: { root: version, targets: targetsVersion } }: Plan) {
  const targets = await readTargets(ports.table, targetsVersion)
  const roots = (await tufDocuments(ports.table, "root")).filter((one) => one.version <= version)
  const newest = roots.at(-1)
  if (newest?.version !== version)
    throw new ServiceError("PUBLICATION_MISMATCH", `there is no TUF root of version ${version}`)
  const { tuf } = await readDeployment(ports.table)
  const { roles } = decodeMetadata(newest.bytes, "root", newest.bytes.length).signed
  const { delegations } = decodeMetadata(targets.bytes, "targets", targets.bytes.length).signed
  const delegated = (name: "lists" | "registry") =>
    countingKey(
      ports.digest,
      tuf[name],
      delegations?.roles.find((role) => role.name === name),
      name,
    )
  return {
    roots,
    targets,
    tuf: {
      lists: delegated("lists"),
      registry: delegated("registry"),
      snapshot: countingKey(ports.digest, tuf.snapshot, roles.snapshot, "snapshot"),
      timestamp: countingKey(ports.digest, tuf.timestamp, roles.timestamp, "timestamp"),
    },
  }
}

/** Whether a newer root or newer targets stand than those that an epoch shows. */
export async function isOvertaken(ports: PublishPorts, epoch: number): Promise<boolean> {
  const { tuf } = (await readPlan(ports, epoch)).plan
  const { root, targets } = await readTufDocuments(ports.table)
  return root.version > tuf.root || targets.version > tuf.targets
}

async function readPlan(
  ports: PublishPorts,
  epoch: number,
): Promise<{ readonly commit: EpochCommit; readonly plan: Plan }> {
  const commit = await requireCommit(ports, epoch)
  const staged = await ports.objects.get(commit.planKey, MAX_PLAN_BYTES)
  if (staged === undefined)
    throw new ServiceError("STAGING_LOST", `the plan of epoch ${epoch} is gone before it was published`)
  if (hexEncode(ports.digest("sha256", staged.bytes)) !== commit.planDigest)
    throw new ServiceError("PUBLICATION_MISMATCH", `the plan of epoch ${epoch} is not what was committed`)
  return { commit, plan: decodePlan(staged.bytes) }
}

async function requireCommit({ table }: PublishPorts, epoch: number): Promise<EpochCommit> {
  const commit = await readCommit(table, epoch)
  if (commit === undefined) throw new ServiceError("EPOCH_CONFLICT", `epoch ${epoch} is not committed`)
  return commit
}

/** Signs what is committed, unless a signature of it is stored already: a repeat must emit the same bytes. */
async function signOnce(
  ports: PublishPorts,
  commit: EpochCommit,
  name: string,
  key: KeyReference,
  message: Uint8Array,
): Promise<Uint8Array> {
  const standing = commit.signatures.get(name)
  if (standing !== undefined) return standing
  return await recordSignature(ports.table, commit.epoch, name, await ports.keys.sign(key, message))
}

async function signDocument(
  ports: PublishPorts,
  commit: EpochCommit,
  name: string,
  key: KeyReference,
  document: JsonObject,
): Promise<Uint8Array> {
  const signature = await signOnce(ports, commit, name, key, canonicalJson(document))
  const { keyid } = namedKey(ports.digest, key)
  return utf8(JSON.stringify({ signed: document, signatures: [{ keyid, sig: hexEncode(signature) }] }))
}

/** Lower-case hex SHA-256 of what is signed of a committed epoch's revocation list; its successor names it. */
export async function listDigest(ports: PublishPorts, epoch: number): Promise<string> {
  const kept = (await readCommit(ports.table, epoch))?.listDigest
  return kept ?? digestOfList(ports.digest, (await readPlan(ports, epoch)).plan)
}

export function digestOfList(digest: Digest, { revocations }: Plan): string {
  return hexEncode(digest("sha256", canonicalJson(revocations)))
}
