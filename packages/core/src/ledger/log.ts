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
  /** the checkpoint as readers get it, with cosignatures of witnesses; undefined until it was decided, or where there are no witnesses */
  readonly shown: ShownNote | undefined
}

/** The signed checkpoint and what witnesses added to it. A later one of an epoch has all lines of those before it. */
export interface ShownNote {
  readonly bytes: Uint8Array
  /** rises with each change, so that of two changes at once one fails */
  readonly revision: number
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
    shown: attributes.has("shown")
      ? { bytes: attributes.bytes("shown"), revision: attributes.number("shownRevision") }
      : undefined,
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

/**
 * Stores the checkpoint as readers get it, unless another one was stored since `standing` was read; answers the one that stands.
 * @param standing undefined: none stood
 */
export async function recordShownNote(
  table: Table,
  kind: LogKind,
  epoch: number,
  standing: ShownNote | undefined,
  bytes: Uint8Array,
): Promise<Uint8Array> {
  const revision = (standing?.revision ?? 0) + 1
  await table.transact([
    {
      update: keys.logEpoch(kind, epoch),
      set: { shown: bytes, shownRevision: revision },
      if:
        standing === undefined ? { exists: true, lacks: ["shown"] } : { equals: { shownRevision: standing.revision } },
    },
  ])
  const { shown } = await requireLogCommit(table, kind, epoch)
  if (shown === undefined) throw new ServiceError("LOG_CONFLICT", `no checkpoint of epoch ${epoch} was stored`)
  return shown.bytes
}

/** The tree size that each witness, by its address, has cosigned last, as far as it is remembered: a wrong one costs a round trip, and a damaged memory is none. */
export async function readWitnessed(table: Table, kind: LogKind): Promise<ReadonlyMap<string, bigint>> {
  const sizes = (await table.get(keys.logWitnessed(kind)))?.sizes
  const known = typeof sizes === "object" && !Array.isArray(sizes) ? Object.entries(sizes) : []
  return new Map(known.flatMap(([address, size]) => (isTreeSize(size) ? [[address, BigInt(size)]] : [])))
}

function isTreeSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

export async function rememberWitnessed(
  table: Table,
  kind: LogKind,
  sizes: ReadonlyMap<string, bigint>,
): Promise<void> {
  const byAddress = Object.fromEntries([...sizes].map(([address, size]) => [address, Number(size)]))
  await table.transact([{ update: keys.logWitnessed(kind), set: { sizes: byAddress } }])
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
