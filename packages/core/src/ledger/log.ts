import { concat } from "@sealwright/formats/bytes"
import { TREE_HASH_BYTES } from "@sealwright/formats/checkpoint"
import type { TreeState } from "@sealwright/formats/merkle"
import { ServiceError } from "../errors.ts"
import type { LogKind } from "../model.ts"
import type { Item, Table, Write } from "../ports.ts"
import { Attributes } from "./attributes.ts"
import { keys } from "./keys.ts"

/** Where a log stands. `committed`: the epoch's content is decided, and not yet shown whole. */
export interface LogHead extends TreeState {
  readonly epoch: number
  readonly state: "committed" | "published"
}

/** What one epoch added, decided by the compare-and-swap that wrote it. */
export interface LogCommit extends TreeState {
  readonly epoch: number
  /** the tree that it grew from */
  readonly from: TreeState
  readonly stagingKey: string
  /** lower-case hex SHA-256 of the staged object */
  readonly stagingDigest: string
  /** by signature type's name; the first of each counts */
  readonly signatures: ReadonlyMap<string, Uint8Array>
  /** the signed checkpoint, once every signature is there */
  readonly note: Uint8Array | undefined
}

/** An empty log; for the ceremony's transaction. @param root of the empty tree: SHA-256 of nothing */
export function firstLogHead(kind: LogKind, root: Uint8Array): Item {
  return { ...keys.logHead(kind), epoch: 0, size: 0, root, state: "published" }
}

/** @throws ServiceError LOG_NOT_SET_UP */
export async function readLogHead(table: Table, kind: LogKind): Promise<LogHead> {
  const item = await table.get(keys.logHead(kind))
  if (item === undefined) throw new ServiceError("LOG_NOT_SET_UP", `no log of ${kind}`)
  const attributes = Attributes.of(item)
  return {
    epoch: attributes.number("epoch"),
    size: BigInt(attributes.number("size")),
    root: attributes.bytes("root"),
    state: attributes.text("state") as LogHead["state"],
  }
}

/** Decides an epoch: holds only while the head is the one that was read. @returns false when another sequencer was first */
export async function commitLogEpoch(
  table: Table,
  kind: LogKind,
  commit: Pick<LogCommit, "epoch" | "size" | "root" | "from" | "stagingKey" | "stagingDigest">,
): Promise<boolean> {
  const { epoch, root, stagingKey, stagingDigest, from } = commit
  const size = Number(commit.size)
  const result = await table.transact([
    {
      update: keys.logHead(kind),
      set: { epoch, size, root, state: "committed" },
      if: { equals: { epoch: epoch - 1, state: "published", size: Number(from.size) } },
    },
    {
      put: {
        ...keys.logEpoch(kind, epoch),
        epoch,
        size,
        root,
        fromSize: Number(from.size),
        fromRoot: from.root,
        stagingKey,
        stagingDigest,
        signatures: {},
      },
      if: { absent: true },
    },
  ])
  return result.committed
}

export async function readLogCommit(table: Table, kind: LogKind, epoch: number): Promise<LogCommit | undefined> {
  const item = await table.get(keys.logEpoch(kind, epoch))
  if (item === undefined) return undefined
  const attributes = Attributes.of(item)
  const signatures = attributes.map("signatures")
  return {
    epoch: attributes.number("epoch"),
    size: BigInt(attributes.number("size")),
    root: attributes.bytes("root"),
    from: { size: BigInt(attributes.number("fromSize")), root: attributes.bytes("fromRoot") },
    stagingKey: attributes.text("stagingKey"),
    stagingDigest: attributes.text("stagingDigest"),
    signatures: new Map(signatures.keys().map((name) => [name, signatures.bytes(name)])),
    note: attributes.has("note") ? attributes.bytes("note") : undefined,
  }
}

/** @throws ServiceError LOG_FORKED when the head names an epoch that is not there */
export async function requireLogCommit(table: Table, kind: LogKind, epoch: number): Promise<LogCommit> {
  const commit = await readLogCommit(table, kind, epoch)
  if (commit === undefined) throw new ServiceError("LOG_FORKED", `no epoch ${epoch} of the log of ${kind}`)
  return commit
}

/** Stores a signature of a checkpoint unless one stands; answers the one that stands. */
export async function recordLogSignature(
  table: Table,
  kind: LogKind,
  epoch: number,
  name: string,
  signature: Uint8Array,
): Promise<Uint8Array> {
  await table.transact([
    {
      update: keys.logEpoch(kind, epoch),
      setIn: { signatures: { [name]: signature } },
      if: { exists: true, lacksIn: { signatures: [name] } },
    },
  ])
  const standing = (await requireLogCommit(table, kind, epoch)).signatures.get(name)
  if (standing === undefined) throw new ServiceError("LOG_CONFLICT", `no signature of epoch ${epoch} was stored`)
  return standing
}

/** Stores the signed checkpoint unless one stands; answers the one that stands. */
export async function recordLogNote(table: Table, kind: LogKind, epoch: number, note: Uint8Array): Promise<Uint8Array> {
  await table.transact([{ update: keys.logEpoch(kind, epoch), set: { note }, if: { exists: true, lacks: ["note"] } }])
  const standing = (await requireLogCommit(table, kind, epoch)).note
  if (standing === undefined) throw new ServiceError("LOG_CONFLICT", `no checkpoint of epoch ${epoch} was stored`)
  return standing
}

export function logPublished(kind: LogKind, epoch: number): Write {
  return { update: keys.logHead(kind), set: { state: "published" }, if: { equals: { epoch, state: "committed" } } }
}

/** Where a signature stands in the log: one leaf an envelope, one after the other. */
export interface LoggedSignature {
  readonly epoch: number
  /** of the first envelope's leaf */
  readonly index: bigint
  /** of each envelope: hashes of its inclusion proof in the epoch's tree */
  readonly proofs: readonly (readonly Uint8Array[])[]
}

/** Stands for ever as first written: an epoch's content is decided once. */
export function loggedWrite(signature: string, { epoch, index, proofs }: LoggedSignature): Write {
  return {
    put: {
      ...keys.logged(signature),
      epoch,
      index: Number(index),
      proofs: proofs.map((hashes) => concat(...hashes)),
    },
    if: { absentOrEquals: { epoch } },
  }
}

export async function findLogged(table: Table, signature: string): Promise<LoggedSignature | undefined> {
  const item = await table.get(keys.logged(signature))
  if (item === undefined) return undefined
  const attributes = Attributes.of(item)
  return {
    epoch: attributes.number("epoch"),
    index: BigInt(attributes.number("index")),
    proofs: (attributes.list("proofs") as readonly Uint8Array[]).map(hashesOf),
  }
}

function hashesOf(bytes: Uint8Array): Uint8Array[] {
  return Array.from({ length: bytes.length / TREE_HASH_BYTES }, (_, i) =>
    bytes.subarray(i * TREE_HASH_BYTES, (i + 1) * TREE_HASH_BYTES),
  )
}
