import { createHash, generateKeyPairSync, randomBytes, sign } from "node:crypto"
import { base64Encode, bytesEqual, concat, hexEncode, utf8, utf8Decode } from "@sealwright/formats/bytes"
import {
  checkpointSignature,
  checkpointText,
  cosignatureMessage,
  parseCheckpoint,
  timestampedSignature,
  treeCosignatureMessage,
} from "@sealwright/formats/checkpoint"
import { hashedRekordEntry } from "@sealwright/formats/hashedrekord"
import { type Hashing, inclusionRoot, isConsistent, leafInput } from "@sealwright/formats/merkle"
import {
  encodeNote,
  encodeVkey,
  NOTE_TYPE,
  noteKeyIdInput,
  parseNote,
  parseVkey,
} from "@sealwright/formats/signed-note"
import { meetsQuorum, parseLogPolicy } from "@sealwright/formats/tlog-policy"
import { encodeLogProof, parseLogProof } from "@sealwright/formats/tlog-proof"
import {
  edgeTiles,
  encodeEntries,
  entriesPath,
  growTree,
  parseEntries,
  TileTree,
  tileOf,
  tilePath,
} from "@sealwright/formats/tlog-tiles"
import { runSync } from "@sealwright/verifier/node-crypto"
import { verifySignature } from "@sealwright/verifier/requests"
import { describe, expect, test } from "vitest"

const sha256 = (bytes: Uint8Array) => new Uint8Array(createHash("sha256").update(bytes).digest())

function run<T>(hashing: Hashing<T>): T {
  let state = hashing.next()
  while (!state.done) state = hashing.next(sha256(state.value))
  return state.value
}

const code = (expected: string) => expect.objectContaining({ code: expected })

/** The examples that C2SP signed-note prints. */
const EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
const EXAMPLE_NOTE = `This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
`

describe("signed notes (C2SP signed-note)", () => {
  test("the specification's example verifies under its key", () => {
    const key = parseVkey(EXAMPLE_KEY)
    const note = parseNote(utf8(EXAMPLE_NOTE))
    expect(note.text).toBe("This is an example message.\n")
    expect(hexEncode(sha256(noteKeyIdInput(key.name, key.type, key.publicKey)).subarray(0, 4))).toBe(key.keyId)
    const [signature] = note.signatures
    expect(signature).toMatchObject({ name: key.name, keyId: key.keyId })
    const parts = checkpointSignature(key, note.text, signature?.signature as Uint8Array)
    const { scheme, spki, message } = parts as NonNullable<typeof parts>
    expect(runSync(verifySignature(scheme, spki, message, signature?.signature as Uint8Array))).toBe(true)
    expect(utf8Decode(encodeNote(note))).toBe(EXAMPLE_NOTE)
    expect(encodeVkey(key)).toBe(EXAMPLE_KEY)
  })

  test("text may hold empty lines; the last one parts it from the signatures", () => {
    expect(parseNote(utf8("a\n\nb\n\n— k AAAAAAA=\n")).text).toBe("a\n\nb\n")
  })

  test.each([
    ["no signatures", "text\n"],
    ["a signature without its line end", "text\n\n— k AAAAAAA="],
    ["nothing after the empty line", "text\n\n"],
    ["a line that is no signature", "text\n\n- k AAAAAAA=\n"],
    ["a key name with a plus", "text\n\n— k+1 AAAAAAA=\n"],
    ["a key name with a wide space", "text\n\n— k\u3000k AAAAAAA=\n"],
    ["a signature of the key id alone", "text\n\n— k AAAAAA==\n"],
    ["a tab", "te\txt\n\n— k AAAAAAA=\n"],
    ["a carriage return", "text\r\n\n— k AAAAAAA=\n"],
  ])("%s is refused", (_, text) => {
    expect(() => parseNote(utf8(text))).toThrow(code("NOTE_MALFORMED"))
  })

  test("more signatures or bytes than the limits, and text that is no UTF-8, are refused", () => {
    expect(() => parseNote(utf8(`t\n\n${"— k AAAAAAA=\n".repeat(101)}`))).toThrow(code("TOO_LARGE"))
    expect(parseNote(utf8(`t\n\n${"— k AAAAAAA=\n".repeat(100)}`)).signatures).toHaveLength(100)
    expect(() => parseNote(new Uint8Array(65_537))).toThrow(code("TOO_LARGE"))
    expect(() => parseNote(new Uint8Array([0xff, 0x0a]))).toThrow(code("TEXT_MALFORMED"))
    expect(() => parseNote(utf8("t\n\n— k AAAAAAB=\n"))).toThrow(code("TEXT_MALFORMED"))
  })

  test.each([
    ["another length of key", `k+00000000+${base64Encode(new Uint8Array([1, 2, 3]))}`, "NOTE_MALFORMED"],
    ["upper-case key id", EXAMPLE_KEY.replace("530d903a", "530D903A"), "NOTE_MALFORMED"],
    ["an unassigned type", `k+00000000+${base64Encode(new Uint8Array([9, 2, 3]))}`, "ALGORITHM_UNSUPPORTED"],
    ["over-long text", `k+00000000+${"A".repeat(5_000)}`, "TOO_LARGE"],
  ])("a verifier key with %s is refused", (_, text, expected) => {
    expect(() => parseVkey(text)).toThrow(code(expected))
  })
})

const HEAD = { origin: "sig.example.com", size: 7n, root: sha256(utf8("root")) }

describe("checkpoints (C2SP tlog-checkpoint, tlog-cosignature)", () => {
  test("what is written is read, extensions included", () => {
    expect(parseCheckpoint(checkpointText(HEAD))).toEqual({ ...HEAD, extensions: [] })
    expect(parseCheckpoint(`${checkpointText(HEAD)}more\n`).extensions).toEqual(["more"])
  })

  test.each([
    ["two lines", "o\n1\n"],
    ["a leading zero", checkpointText(HEAD).replace("\n7\n", "\n07\n")],
    ["a size beyond 2^53 - 1", checkpointText(HEAD).replace("\n7\n", "\n9007199254740992\n")],
    ["a root of 31 bytes", checkpointText({ ...HEAD, root: HEAD.root.subarray(1) })],
    ["an empty line", `${checkpointText(HEAD)}\nx\n`],
    ["no last line end", checkpointText(HEAD).slice(0, -1)],
  ])("%s is refused", (_, text) => {
    expect(() => parseCheckpoint(text)).toThrow(code("CHECKPOINT_MALFORMED"))
  })

  const time = new Date("2026-11-21T10:00:00Z")
  const text = checkpointText(HEAD)
  const cases = {
    ed25519: { pair: generateKeyPairSync("ed25519"), type: NOTE_TYPE.ed25519, prefix: 12, message: utf8(text) },
    cosignature: {
      pair: generateKeyPairSync("ed25519"),
      type: NOTE_TYPE.cosignature,
      prefix: 12,
      message: cosignatureMessage(text, time),
    },
    "ML-DSA-44": {
      pair: generateKeyPairSync("ml-dsa-44"),
      type: NOTE_TYPE.mlDsa44,
      prefix: 22,
      message: treeCosignatureMessage("w1", HEAD, time),
    },
    ECDSA: {
      pair: generateKeyPairSync("ec", { namedCurve: "P-256" }),
      type: NOTE_TYPE.ecdsa,
      prefix: 0,
      message: utf8(text),
    },
  }

  test.each(Object.keys(cases) as (keyof typeof cases)[])("%s signatures verify, and no other bytes do", (name) => {
    const { pair, type, prefix, message } = cases[name]
    const publicKey = new Uint8Array(pair.publicKey.export({ type: "spki", format: "der" })).subarray(prefix)
    const bare = new Uint8Array(sign(name === "ECDSA" ? "sha256" : null, message, pair.privateKey))
    const timed = name === "cosignature" || name === "ML-DSA-44"
    const signature = timed ? timestampedSignature(time, bare) : bare
    const key = { name: "w1", keyId: "00000000", type, publicKey }
    const check = (body: string, bytes: Uint8Array) => {
      const parts = checkpointSignature(key, body, bytes)
      return parts !== undefined && runSync(verifySignature(parts.scheme, parts.spki, parts.message, parts.signature))
    }
    expect(check(text, signature)).toBe(true)
    expect(checkpointSignature(key, text, signature)?.time).toEqual(timed ? time : undefined)
    expect(check(checkpointText({ ...HEAD, size: 8n }), signature)).toBe(false)
    expect(check(checkpointText({ ...HEAD, origin: "evt.example.com" }), signature)).toBe(false)
    expect(
      check(
        text,
        concat(signature.subarray(0, 7), new Uint8Array([(signature[7] as number) ^ 1]), signature.subarray(8)),
      ),
    ).toBe(false)
    expect(check(text, signature.subarray(0, 8))).toBe(false)
    expect(parseVkey(encodeVkey(key)).publicKey).toEqual(publicKey)
  })

  test("a subtree message has the 91 bytes of a six-letter name and a 13-letter origin", () => {
    expect(treeCosignatureMessage("w".repeat(6), { ...HEAD, origin: "o".repeat(8) }, time)).toHaveLength(
      12 + 7 + 8 + 9 + 8 + 8 + 32,
    )
    expect(() => treeCosignatureMessage("", HEAD, time)).toThrow(code("CHECKPOINT_MALFORMED"))
  })
})

/** The tree by the definition of RFC 6962 §2.1, in the slowest way. */
function rootOf(entries: readonly Uint8Array[]): Uint8Array {
  if (entries.length === 0) return sha256(new Uint8Array(0))
  if (entries.length === 1) return sha256(leafInput(entries[0] as Uint8Array))
  let left = 1
  while (left * 2 < entries.length) left *= 2
  return sha256(concat(new Uint8Array([1]), rootOf(entries.slice(0, left)), rootOf(entries.slice(left))))
}

/** A log as a folder of tiles. */
class Log {
  readonly files = new Map<string, Uint8Array>()
  size = 0n
  root = rootOf([])

  append(entries: readonly Uint8Array[]) {
    const edge = edgeTiles(this.size)
    const last = edge[0]?.level === 0 ? edge[0] : undefined
    const growth = growTree(
      this.size,
      edge.map((tile) => this.files.get(tilePath(tile)) as Uint8Array),
      last === undefined ? [] : parseEntries(this.files.get(entriesPath(last)) as Uint8Array, last.width),
      entries,
      sha256,
    )
    for (const [tile, bytes] of growth.tiles) this.files.set(tilePath(tile), bytes)
    for (const [bundle, bytes] of growth.entries) this.files.set(entriesPath(bundle), bytes)
    this.size = growth.tree.size
    this.root = growth.tree.root
    return growth
  }

  tree() {
    return new TileTree(this.size, (tile) => this.files.get(tilePath(tile)), sha256)
  }
}

describe("tiles (C2SP tlog-tiles, R30)", () => {
  test("names are those of the specification", () => {
    expect(tilePath({ level: 0, index: 1_234_067n, width: 256 })).toBe("tile/0/x001/x234/067")
    expect(tilePath({ level: 1, index: 0n, width: 8 })).toBe("tile/1/000.p/8")
    expect(entriesPath({ index: 1_000n, width: 1 })).toBe("tile/entries/x001/000.p/1")
  })

  test("a tree of 70,000 has the tiles that the specification counts", () => {
    expect(edgeTiles(70_000n)).toEqual([
      { level: 0, index: 273n, width: 112 },
      { level: 1, index: 1n, width: 17 },
      { level: 2, index: 0n, width: 1 },
    ])
    expect(tileOf(0, 272n, 70_000n)?.width).toBe(256)
    expect(tileOf(0, 274n, 70_000n)).toBeUndefined()
    expect(edgeTiles(256n)).toEqual([{ level: 1, index: 0n, width: 1 }])
    expect(edgeTiles(0n)).toEqual([])
  })

  test("a tree that grows in any steps has the root of RFC 6962, and proofs between any two of its states", () => {
    const all = Array.from({ length: 700 }, (_, i) => utf8(`entry ${i}`))
    const log = new Log()
    const states = [{ size: 0n, root: log.root }]
    let at = 0
    for (const step of [1, 1, 3, 250, 1, 0, 256, 100, 88]) {
      const before = log.size
      const growth = log.append(all.slice(at, at + step))
      at += step
      expect(hexEncode(log.root)).toBe(hexEncode(rootOf(all.slice(0, at))))
      states.push({ size: log.size, root: log.root })
      for (let index = before; index < log.size; index++) {
        const leaf = sha256(leafInput(all[Number(index)] as Uint8Array))
        const root = run(inclusionRoot(leaf, index, log.size, growth.proofs.inclusionProof(index)))
        expect(root && bytesEqual(root, log.root)).toBe(true)
      }
    }
    const tree = log.tree()
    expect(tree.root()).toEqual(log.root)
    for (const old of states)
      for (const present of states.filter(({ size }) => size >= old.size)) {
        const proof = tree.consistencyProof(old.size, present.size)
        expect(run(isConsistent(old, present, proof))).toBe(true)
        if (proof.length > 0) expect(run(isConsistent(old, present, proof.slice(1)))).toBe(false)
      }
    for (const index of [0n, 255n, 256n, 511n, 699n])
      expect(
        run(
          inclusionRoot(sha256(leafInput(all[Number(index)] as Uint8Array)), index, 700n, tree.inclusionProof(index)),
        ),
      ).toEqual(log.root)
    expect(() => tree.inclusionProof(700n)).toThrow(RangeError)
    expect(() => tree.consistencyProof(2n, 1n)).toThrow(RangeError)
  })

  test("a big step makes full tiles on two levels", () => {
    const log = new Log()
    log.append(Array.from({ length: 65_537 }, (_, i) => utf8(String(i))))
    expect(log.files.has("tile/1/000")).toBe(true)
    expect(log.files.get("tile/2/000.p/1")).toHaveLength(32)
    expect(log.tree().root()).toEqual(log.root)
  })

  test("bundles of entries are read as they were written, and nothing else is", () => {
    const entries = [utf8("a"), new Uint8Array(0), new Uint8Array(randomBytes(300))]
    const bytes = encodeEntries(entries)
    expect(parseEntries(bytes, 3)).toEqual(entries)
    for (const [damaged, width] of [
      [bytes, 2],
      [bytes, 4],
      [bytes.subarray(0, -1), 3],
      [concat(bytes, new Uint8Array([0])), 3],
    ] as const)
      expect(() => parseEntries(damaged, width)).toThrow(code("TILE_MALFORMED"))
    expect(() => encodeEntries([new Uint8Array(65_536)])).toThrow(code("TOO_LARGE"))
    expect(() => encodeEntries(Array.from({ length: 257 }, () => utf8("a")))).toThrow(code("TOO_LARGE"))
  })

  test("missing and short tiles are refused", () => {
    const log = new Log()
    log.append([utf8("a"), utf8("b")])
    const damaged = (bytes: Uint8Array | undefined) => new TileTree(2n, () => bytes, sha256).root()
    expect(() => damaged(undefined)).toThrow(code("TILE_MALFORMED"))
    expect(() => damaged(new Uint8Array(63))).toThrow(code("TILE_MALFORMED"))
    expect(() => growTree(2n, [new Uint8Array(64)], [utf8("a")], [], sha256)).toThrow(code("TILE_MALFORMED"))
  })
})

describe("proofs of logging (C2SP tlog-proof)", () => {
  const proof = { index: 3n, hashes: [sha256(utf8("l")), sha256(utf8("r"))], checkpoint: utf8(EXAMPLE_NOTE) }

  test("what is written is read", () => {
    expect(parseLogProof(encodeLogProof(proof))).toEqual(proof)
    expect(parseLogProof(encodeLogProof({ ...proof, extra: utf8("x"), hashes: [] }))).toEqual({
      ...proof,
      extra: utf8("x"),
      hashes: [],
    })
  })

  const text = utf8Decode(encodeLogProof(proof))
  test.each([
    ["another first line", text.replace("@v1", "@v2"), "LOG_PROOF_MALFORMED"],
    ["no index", text.replace(/index 3\n/, ""), "LOG_PROOF_MALFORMED"],
    [
      "a hash of 31 bytes",
      text.replace(/\n[A-Za-z0-9+/]{43}=\n\n/, `\n${base64Encode(new Uint8Array(31))}\n\n`),
      "LOG_PROOF_MALFORMED",
    ],
    ["no checkpoint", text.slice(0, text.indexOf("\n\n")), "LOG_PROOF_MALFORMED"],
    ["an index with a zero before it", text.replace("index 3", "index 03"), "CHECKPOINT_MALFORMED"],
    [
      "64 hashes",
      text.replace("index 3\n", `index 3\n${`${base64Encode(new Uint8Array(32))}\n`.repeat(62)}`),
      "TOO_LARGE",
    ],
    ["a hash that is no base64", text.replace("index 3\n", "index 3\n!\n"), "TEXT_MALFORMED"],
  ])("%s is refused", (_, damaged, expected) => {
    expect(() => parseLogProof(utf8(damaged))).toThrow(code(expected))
  })
})

describe("policies of logs and witnesses (C2SP tlog-policy)", () => {
  const vkey = (name: string) =>
    encodeVkey({ name, keyId: "01020304", type: NOTE_TYPE.cosignature, publicKey: randomBytes(32) })
  const log = `log ${EXAMPLE_KEY} https://example.com/foo`
  const [x1, x2, x3, y1, y2] = ["X1", "X2", "X3", "Y1", "Y2"].map(
    (name) => `witness ${name} ${vkey(name.toLowerCase())}`,
  )
  const groups = "group X 2 X1 X2 X3\ngroup Y any Y1 Y2\ngroup both all X Y\nquorum both"
  const example = `# a policy\n${[log, x1, x2, x3, y1, y2, groups].join("\n")}\n`

  test("two levels of groups", () => {
    const policy = parseLogPolicy(utf8(example))
    expect(policy.logs[0]).toMatchObject({ key: { name: "example.com/foo" }, url: "https://example.com/foo" })
    for (const [seen, enough] of [
      [["X1", "X3", "Y2"], true],
      [["X1", "Y1", "Y2"], false],
      [["X1", "X2", "X3"], false],
      [[], false],
    ] as const)
      expect(meetsQuorum(policy, new Set(seen))).toBe(enough)
  })

  test("`quorum none` asks for no witness", () => {
    expect(meetsQuorum(parseLogPolicy(utf8(`\t${log}\n\nquorum none\n`)), new Set())).toBe(true)
  })

  test.each([
    ["no quorum", `${log}\n`],
    ["two quorums", "quorum none\nquorum none\n"],
    ["an unknown quorum", "quorum X\n"],
    ["a group of names below it", `group X any X1\n${x1}\nquorum X\n`],
    ["a member of two groups", `${x1}\ngroup A any X1\ngroup B any X1\nquorum A\n`],
    ["a member named twice", `${x1}\ngroup A 2 X1 X1\nquorum A\n`],
    ["a threshold beyond its members", `${x1}\ngroup A 2 X1\nquorum A\n`],
    ["a threshold of 0", `${x1}\ngroup A 0 X1\nquorum A\n`],
    ["`none` in a group", "group A any none\nquorum A\n"],
    ["a name twice", `${x1}\nwitness X1 ${vkey("z")}\nquorum none\n`],
    ["a log twice", `${log}\n${log}\nquorum none\n`],
    ["an unknown keyword", "logs\nquorum none\n"],
    ["a vertical tab", "quorum\vnone\n"],
    ["a line without its end", "quorum none"],
  ])("%s is refused", (_, text) => {
    expect(() => parseLogPolicy(utf8(text))).toThrow(code("LOG_POLICY_MALFORMED"))
  })

  test("more logs or witnesses than the limits are refused", () => {
    const many = Array.from({ length: 65 }, (_, i) => `log ${vkey(`l${i}`)}`)
    expect(() => parseLogPolicy(utf8(`${many.join("\n")}\nquorum none\n`))).toThrow(code("TOO_LARGE"))
    const names = Array.from({ length: 130 }, (_, i) => `witness w${i} ${vkey(`w${i}`)}`)
    expect(() => parseLogPolicy(utf8(`${names.join("\n")}\nquorum none\n`))).toThrow(code("TOO_LARGE"))
  })
})

describe("hashedrekord entries (Rekor v2)", () => {
  test("members stand in the order of RFC 8785, and the key decides the names", () => {
    const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" })
    const spki = new Uint8Array(publicKey.export({ type: "spki", format: "der" }))
    const entry = { scheme: "ecdsa-p256-sha256", digest: new Uint8Array(32), signature: utf8("s"), spki } as const
    expect(utf8Decode(hashedRekordEntry({ ...entry, certificate: utf8("c") }))).toBe(
      `{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":{"data":{"algorithm":"SHA2_256","digest":"${"A".repeat(43)}="},` +
        `"signature":{"content":"cw==","verifier":{"keyDetails":"PKIX_ECDSA_P256_SHA_256","x509Certificate":{"rawBytes":"Yw=="}}}}}}`,
    )
    expect(utf8Decode(hashedRekordEntry(entry))).toContain(`"publicKey":{"rawBytes":"${base64Encode(spki)}"}`)
    expect(() => hashedRekordEntry({ ...entry, scheme: "ml-dsa-65" })).toThrow(code("ALGORITHM_UNSUPPORTED"))
    expect(() => hashedRekordEntry({ ...entry, scheme: "ed25519" })).toThrow(code("ALGORITHM_UNSUPPORTED"))
  })

  test("RSA keys are named by padding, size and hash", () => {
    const { publicKey } = generateKeyPairSync("rsa", { modulusLength: 3072 })
    const spki = new Uint8Array(publicKey.export({ type: "spki", format: "der" }))
    const name = (scheme: "rsa-pss-sha384" | "rsa-pkcs1-sha256") =>
      utf8Decode(hashedRekordEntry({ scheme, digest: new Uint8Array(32), signature: utf8("s"), spki }))
    expect(name("rsa-pkcs1-sha256")).toContain('"keyDetails":"PKIX_RSA_PKCS1V15_3072_SHA256"')
    expect(name("rsa-pss-sha384")).toContain('"keyDetails":"PKIX_RSA_PSS_3072_SHA384"')
  })
})
