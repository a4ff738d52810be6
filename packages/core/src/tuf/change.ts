import { bytesEqual } from "@sealwright/formats/bytes"
import {
  encodeTrustBundle,
  parseTrustBundle,
  type TrustBundle,
  trustBundleJson,
} from "@sealwright/formats/trust-bundle"
import type { Metadata, Root, Targets } from "@sealwright/formats/tuf"
import { encodeMetadata, signedBytes, type TufSignature } from "@sealwright/formats/tuf-encode"
import { ServiceError } from "../errors.ts"
import { type Actor, auditWrite } from "../ledger/audit.ts"
import { readDeployment } from "../ledger/trust.ts"
import { readTufDocuments, type TufDocuments, targetsDocumentItem, tufDocumentItem } from "../ledger/tuf-documents.ts"
import { findProposal, putProposal } from "../ledger/tuf-proposals.ts"
import type { TufKeys, TufProposal } from "../model.ts"
import type { Clock, Digest, RandomBytes, RunStep, SigningKeys, Table, Write } from "../ports.ts"
import { bundleTarget, namedKey, requireReadable, tufExpiry } from "../publish/tuf.ts"
import { electoratesOf, proposalId, readRoot, readTargetsFile, sameContent, tallyOf } from "./rules.ts"

export interface ChangePorts {
  readonly table: Table
  readonly keys: SigningKeys
  readonly digest: Digest
  readonly random: RandomBytes
  readonly clock: Clock
  readonly run: RunStep
}

/** TUF root and targets in force, read. */
export interface Standing extends TufDocuments {
  readonly signedRoot: Root
  readonly signedTargets: Targets
}

export async function readStanding(table: Table): Promise<Standing> {
  const documents = await readTufDocuments(table)
  const signedRoot = readRoot(documents.root.bytes).signed
  return { ...documents, signedRoot, signedTargets: readTargetsFile(documents.targets.bytes).signed }
}

/** What is to become of the documents, unsigned: each of the version after the one in force. */
export interface TrustChange {
  readonly root?: Root
  readonly targets?: { readonly signed: Targets; readonly trustBundle: Uint8Array }
}

export function nextRoot({ signedRoot }: Standing, now: Date, change: Partial<Root> = {}): Root {
  return {
    ...signedRoot,
    ...change,
    version: signedRoot.version + 1,
    expires: change.expires ?? tufExpiry("root", now),
  }
}

export function nextTargets(
  digest: Digest,
  { signedTargets }: Standing,
  trustBundle: Uint8Array,
  now: Date,
  change: Partial<Targets> = {},
): NonNullable<TrustChange["targets"]> {
  const version = signedTargets.version + 1
  const expires = change.expires ?? tufExpiry("targets", now)
  const targets = bundleTarget(digest, trustBundle)
  return { signed: { ...signedTargets, targets, ...change, version, expires }, trustBundle }
}

/**
 * The writes of new targets whose trust bundle is changed, for the transaction of the act that changes it. None when the bundle is as it should be:
 * so an act whose targets waited for signatures of people is asked for again when they are there, and is done then.
 * @param act names what wants it, for people
 * @throws ServiceError as `trustWrites`
 * @throws FormatError for a bundle that no reader would take
 */
export async function bundleWrites(
  ports: ChangePorts,
  change: (bundle: TrustBundle) => TrustBundle,
  now: Date,
  act: string,
  actor: Actor,
): Promise<Write[]> {
  const standing = await readStanding(ports.table)
  const trustBundle = encodeTrustBundle(trustBundleJson(change(parseTrustBundle(standing.targets.trustBundle))))
  parseTrustBundle(trustBundle)
  if (bytesEqual(trustBundle, standing.targets.trustBundle)) return []
  return await trustWrites(
    ports,
    standing,
    { targets: nextTargets(ports.digest, standing, trustBundle, now) },
    act,
    actor,
  )
}

/**
 * Signs a change with the keys of the service. Where those suffice, the writes of the new documents are answered, for the act's own transaction. Where signatures of
 * people are missing, the change is put down as a proposal, nothing else is done, and the act is refused until they are there.
 * @throws ServiceError TUF_SIGNATURES_PENDING, TUF_PROPOSAL_STANDS while another change waits, TUF_TOO_LARGE, CONTENTION, SIGNER_UNAVAILABLE, KEY_NOT_USABLE
 */
export async function trustWrites(
  ports: ChangePorts,
  standing: Standing,
  change: TrustChange,
  act: string,
  actor: Actor,
): Promise<Write[]> {
  const { tuf } = await readDeployment(ports.table)
  const root = change.root && readRoot(await signByService(ports, tuf, "root", standing, change, change.root))
  const targets =
    change.targets &&
    readTargetsFile(await signByService(ports, tuf, "targets", standing, change, change.targets.signed))
  if (isComplete(ports, standing, root, targets)) return documentWrites(root, targets, change.targets?.trustBundle)
  await hold(ports, standing, { root, targets, trustBundle: change.targets?.trustBundle }, act, actor)
  throw new ServiceError("TUF_SIGNATURES_PENDING", `${act}: signatures of people are missing`)
}

async function signByService(
  ports: ChangePorts,
  tuf: TufKeys,
  role: "root" | "targets",
  standing: Standing,
  change: TrustChange,
  signed: Root | Targets,
): Promise<Uint8Array> {
  const keyids = electoratesOf(role, standing.signedRoot, change.root).flatMap((electorate) => electorate.role.keyids)
  const signatures: TufSignature[] = []
  for (const key of tuf[role]) {
    const { keyid } = namedKey(ports.digest, key)
    if (keyids.includes(keyid)) signatures.push({ keyid, signature: await ports.keys.sign(key, signedBytes(signed)) })
  }
  const bytes = encodeMetadata(signed, signatures)
  requireReadable(role, role, bytes.length)
  return bytes
}

export function isComplete(
  ports: Pick<ChangePorts, "run">,
  standing: Standing,
  root: Metadata<Root> | undefined,
  targets: Metadata<Targets> | undefined,
): boolean {
  const met = (role: "root" | "targets", metadata: Metadata | undefined) =>
    metadata === undefined ||
    electoratesOf(role, standing.signedRoot, root?.signed).every((one) => ports.run(tallyOf(metadata, one)).met)
  return met("root", root) && met("targets", targets)
}

/** Holds only while no other next version was stored. */
export function documentWrites(
  root: Metadata<Root> | undefined,
  targets: Metadata<Targets> | undefined,
  trustBundle: Uint8Array | undefined,
): Write[] {
  const documentOf = (metadata: Metadata<Root | Targets>) => {
    const { version, expires } = metadata.signed
    return { version, expires, bytes: fileBytes(metadata) }
  }
  const writes: Write[] = []
  if (root) writes.push({ put: tufDocumentItem("root", documentOf(root)), if: { absent: true } })
  if (targets && trustBundle)
    writes.push({ put: targetsDocumentItem({ ...documentOf(targets), trustBundle }), if: { absent: true } })
  return writes
}

/** A metadata file with the signatures that were read of it. */
export function fileBytes(metadata: Metadata<Root | Targets>): Uint8Array {
  const signatures = [...metadata.signatures].map(([keyid, signature]) => ({ keyid, signature }))
  return encodeMetadata(metadata.signed, signatures)
}

interface Wanted {
  readonly root: Metadata<Root> | undefined
  readonly targets: Metadata<Targets> | undefined
  readonly trustBundle: Uint8Array | undefined
}

/** Puts a change down until people have signed it. The same change again is the same proposal; one that was overtaken gives way. */
async function hold(ports: ChangePorts, standing: Standing, wanted: Wanted, act: string, actor: Actor): Promise<void> {
  const waiting = await findProposal(ports.table)
  if (waiting !== undefined && !isOvertaken(waiting, standing)) {
    if (isSame(waiting, wanted)) return
    throw new ServiceError("TUF_PROPOSAL_STANDS", `${waiting.act} waits for signatures`)
  }
  const { root, targets, trustBundle } = wanted
  const id = proposalId(ports.digest, root, targets)
  const proposal: TufProposal = {
    id,
    act,
    principal: actor.principal,
    createdAt: new Date(Math.floor(ports.clock().getTime() / 1000) * 1000),
    root: root && fileBytes(root),
    targets: targets && trustBundle ? { bytes: fileBytes(targets), trustBundle } : undefined,
    revision: (waiting?.revision ?? 0) + 1,
  }
  const result = await ports.table.transact([
    putProposal(proposal, waiting),
    auditWrite(ports, actor, "tuf.propose", `tuf-proposal/${id}`),
  ])
  if (!result.committed) throw new ServiceError("CONTENTION", "another change of TUF root or targets was proposed")
}

/** Whether a later version of one of its documents stands, or of the root that says who may sign them. */
export function isOvertaken({ root, targets }: TufProposal, standing: Standing): boolean {
  const follows = (bytes: Metadata<Root | Targets> | undefined, version: number) =>
    bytes === undefined || bytes.signed.version === version + 1
  return !(
    follows(root && readRoot(root), standing.root.version) &&
    follows(targets && readTargetsFile(targets.bytes), standing.targets.version)
  )
}

function isSame({ root, targets }: TufProposal, wanted: Wanted): boolean {
  const same = (
    a: Uint8Array | undefined,
    b: Metadata<Root | Targets> | undefined,
    read: (bytes: Uint8Array) => Metadata<Root | Targets>,
  ) => (a === undefined || b === undefined ? a === b : sameContent(read(a), b))
  return same(root, wanted.root, readRoot) && same(targets?.bytes, wanted.targets, readTargetsFile)
}
