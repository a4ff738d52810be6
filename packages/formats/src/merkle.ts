/** Merkle trees of RFC 6962 §2.1 over SHA-256: leaf and node inputs, proofs and their checks (RFC 9162 §2.1.3, §2.1.4). */
import { bytesEqual, concat } from "./bytes.ts"

/** A computation that yields what is to be hashed with SHA-256 and is resumed with the digest: whoever runs it brings the hash. */
export type Hashing<T> = Generator<Uint8Array, T, Uint8Array>

/** More than any proof in a tree of 2^63 leaves has. */
export const MAX_PROOF_HASHES = 63

const HASH_BYTES = 32
const LEAF = new Uint8Array([0])
const NODE = new Uint8Array([1])

/** @returns what a leaf's hash is the SHA-256 of */
export function leafInput(entry: Uint8Array): Uint8Array {
  return concat(LEAF, entry)
}

/** @returns what an inner node's hash is the SHA-256 of */
export function nodeInput(left: Uint8Array, right: Uint8Array): Uint8Array {
  return concat(NODE, left, right)
}

/**
 * The root that an inclusion proof leads to (RFC 9162 §2.1.3.2); the caller compares it with the root that it trusts.
 * @returns undefined for an index outside of the tree and a proof of the wrong length
 */
export function* inclusionRoot(
  leafHash: Uint8Array,
  index: bigint,
  size: bigint,
  proof: readonly Uint8Array[],
): Hashing<Uint8Array | undefined> {
  if (index < 0n || index >= size || proof.length > MAX_PROOF_HASHES || leafHash.length !== HASH_BYTES) return undefined
  let node = index
  let last = size - 1n
  let hash = leafHash
  for (const sibling of proof) {
    if (last === 0n) return undefined
    if ((node & 1n) === 1n || node === last) {
      hash = yield nodeInput(sibling, hash)
      while ((node & 1n) === 0n && node !== 0n) {
        node >>= 1n
        last >>= 1n
      }
    } else hash = yield nodeInput(hash, sibling)
    node >>= 1n
    last >>= 1n
  }
  return last === 0n ? hash : undefined
}

/** One state of a tree. */
export interface TreeState {
  readonly size: bigint
  /** 32 bytes */
  readonly root: Uint8Array
}

/**
 * Whether a tree is a continuation of an earlier one (RFC 9162 §2.1.4.2). Every tree continues the empty one, and itself, by an empty proof.
 */
export function* isConsistent(old: TreeState, present: TreeState, proof: readonly Uint8Array[]): Hashing<boolean> {
  if (old.size > present.size || proof.length > MAX_PROOF_HASHES) return false
  if (old.size === 0n && !bytesEqual(old.root, yield new Uint8Array(0))) return false
  if (old.size === present.size) return proof.length === 0 && bytesEqual(old.root, present.root)
  if (old.size === 0n) return proof.length === 0 && present.root.length === HASH_BYTES
  const path = [...proof]
  if (isPowerOfTwo(old.size)) path.unshift(old.root)
  const [first, ...rest] = path
  if (first === undefined) return false
  let node = old.size - 1n
  let last = present.size - 1n
  while ((node & 1n) === 1n) {
    node >>= 1n
    last >>= 1n
  }
  let oldRoot = first
  let newRoot = first
  for (const sibling of rest) {
    if (last === 0n) return false
    if ((node & 1n) === 1n || node === last) {
      oldRoot = yield nodeInput(sibling, oldRoot)
      newRoot = yield nodeInput(sibling, newRoot)
      while ((node & 1n) === 0n && node !== 0n) {
        node >>= 1n
        last >>= 1n
      }
    } else newRoot = yield nodeInput(newRoot, sibling)
    node >>= 1n
    last >>= 1n
  }
  return last === 0n && bytesEqual(oldRoot, old.root) && bytesEqual(newRoot, present.root)
}

/** Leaves from `start` up to before `end`: a subtree whose root is a part of a proof. */
export interface Subtree {
  readonly start: bigint
  readonly end: bigint
}

/**
 * The subtrees whose roots are the inclusion proof of a leaf (RFC 6962 §2.1.1), in the order of the proof.
 * @throws RangeError for an index outside of the tree
 */
export function inclusionSubtrees(index: bigint, size: bigint): Subtree[] {
  if (index < 0n || index >= size) throw new RangeError("a leaf outside of the tree")
  const path: Subtree[] = []
  let start = 0n
  let end = size
  while (end - start > 1n) {
    const middle = start + leftSize(end - start)
    if (index < middle) {
      path.unshift({ start: middle, end })
      end = middle
    } else {
      path.unshift({ start, end: middle })
      start = middle
    }
  }
  return path
}

/**
 * The subtrees whose roots are the consistency proof between two sizes (RFC 6962 §2.1.2), in the order of the proof.
 * @throws RangeError unless 0 <= `from` <= `to`
 */
export function consistencySubtrees(from: bigint, to: bigint): Subtree[] {
  if (from < 0n || from > to) throw new RangeError("sizes that no tree grows between")
  if (from === 0n || from === to) return []
  const path: Subtree[] = []
  let start = 0n
  let end = to
  let whole = true
  while (from !== end) {
    const middle = start + leftSize(end - start)
    if (from <= middle) {
      path.unshift({ start: middle, end })
      end = middle
    } else {
      path.unshift({ start, end: middle })
      start = middle
      whole = false
    }
  }
  return whole ? path : [{ start, end }, ...path]
}

/** The largest power of two below `size`: where a tree parts (RFC 6962 §2.1). */
export function leftSize(size: bigint): bigint {
  return 1n << BigInt((size - 1n).toString(2).length - 1)
}

function isPowerOfTwo(size: bigint): boolean {
  return (size & (size - 1n)) === 0n
}
