import { createHash } from "node:crypto"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { base64Decode, bytesEqual } from "@sealwright/formats/bytes"
import { type Hashing, inclusionRoot, isConsistent } from "@sealwright/formats/merkle"
import { describe, expect, test } from "vitest"

const SUITE = join("..", "shared", "vectors", "merkle")

interface Vector {
  readonly desc: string
  readonly wantErr: boolean
  readonly proof: readonly string[] | null
  readonly [name: string]: unknown
}

function vectors(kind: string): [string, Vector][] {
  const folder = join(SUITE, kind)
  if (!existsSync(folder)) return []
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".json"))
    .map((name) => [`${kind}/${name}`, JSON.parse(readFileSync(join(folder, name), "utf8")) as Vector])
}

function run<T>(hashing: Hashing<T>): T {
  let state = hashing.next()
  while (!state.done) state = hashing.next(createHash("sha256").update(state.value).digest())
  return state.value
}

const proofOf = ({ proof }: Vector) => (proof ?? []).map(base64Decode)
const bytes = (vector: Vector, name: string) => base64Decode((vector[name] ?? "") as string)
/** The vectors hold 2^64 - 1 and its like, which JSON's numbers round; every one of them is to be refused. */
const integer = (vector: Vector, name: string) => BigInt(vector[name] as number)

describe.skipIf(!existsSync(SUITE))("Merkle proofs of transparency-dev (R30)", () => {
  test.each(vectors("inclusion"))("%s", (_, vector) => {
    const root = run(
      inclusionRoot(
        bytes(vector, "leafHash"),
        integer(vector, "leafIdx"),
        integer(vector, "treeSize"),
        proofOf(vector),
      ),
    )
    expect(root !== undefined && bytesEqual(root, bytes(vector, "root"))).toBe(!vector.wantErr)
  })

  test.each(vectors("consistency"))("%s", (_, vector) => {
    const old = { size: integer(vector, "size1"), root: bytes(vector, "root1") }
    const present = { size: integer(vector, "size2"), root: bytes(vector, "root2") }
    expect(run(isConsistent(old, present, proofOf(vector)))).toBe(!vector.wantErr)
  })
})
