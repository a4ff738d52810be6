import { createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto"
import type { SignatureScheme } from "@sealwright/formats/algorithms"
import { hexEncode, utf8 } from "@sealwright/formats/bytes"
import type { TufKey } from "@sealwright/formats/tuf"
import { keyMaterial, tufKey } from "@sealwright/formats/tuf-key"
import { describe, expect, it, test } from "vitest"
import { newSigner, type Signer, SimulatedClient, TufSimulator } from "../support/tuf-simulator.ts"

type Online = "timestamp" | "snapshot" | "targets"

function setUp() {
  const repository = new TufSimulator()
  return { repository, client: new SimulatedClient(repository) }
}

/** Ten keys, made once: the rotations below name them by their place. */
const KEYS = Array.from({ length: 10 }, () => newSigner())
const pick = (places: readonly number[]) => places.map((place) => KEYS[place] as Signer)

describe("thresholds", () => {
  it("a snapshot with two of three signatures is refused", () => {
    const { repository, client } = setUp()
    repository.addKey("snapshot")
    repository.addKey("snapshot")
    repository.authorise("snapshot", repository.root.roles.snapshot.keyids, 3)
    repository.publish("root", "snapshot", "timestamp")
    expect(client.result()).toBe("ok")
    repository.signers.get("snapshot")?.pop()
    repository.publish("snapshot", "timestamp")
    expect(client.result()).toBe("TUF_SIGNATURES_MISSING")
    expect(client.versions().snapshot).toBe(2)
  })

  it("a threshold above the number of keys is never met", () => {
    const { repository, client } = setUp()
    for (let i = 0; i < 4; i++) repository.addKey("snapshot")
    repository.tamper.set("root", (signed) => {
      signed.roles.snapshot.threshold = 6
    })
    repository.publish("root", "snapshot", "timestamp")
    expect(client.result()).toBe("TUF_SIGNATURES_MISSING")
    expect(client.versions()).toEqual({ root: 2, timestamp: 2 })
  })

  test.each([0, -1, "1", null])("a threshold of %j is refused with the document that holds it", (threshold) => {
    for (const role of ["root", "timestamp", "snapshot", "targets"]) {
      const { repository, client } = setUp()
      repository.tamper.set("root", (signed) => {
        signed.roles[role].threshold = threshold
      })
      repository.publish("root")
      expect(client.result()).toBe("TUF_MALFORMED")
      expect(client.versions()).toEqual({ root: 1 })
    }
    const { repository, client } = setUp()
    repository.delegate("targets", "lists")
    repository.tamper.set("targets", (signed) => {
      signed.delegations.roles[0].threshold = threshold
    })
    repository.publish("lists", "targets", "snapshot", "timestamp")
    expect(client.result()).toBe("TUF_MALFORMED")
    expect(client.versions().targets).toBeUndefined()
  })

  it("one key listed nine times counts once", () => {
    const { repository, client } = setUp()
    const signer = repository.addKey("snapshot")
    repository.tamper.set("root", (signed) => {
      signed.roles.snapshot.keyids.push(...Array(8).fill(signer.keyid))
      signed.roles.snapshot.threshold = 6
    })
    repository.publish("root", "snapshot", "timestamp")
    expect(client.result()).toBe("TUF_SIGNATURES_MISSING")
    expect(client.versions().snapshot).toBeUndefined()
  })

  it("one key listed nine times, with its signature nine times, does not meet a threshold", () => {
    const { repository, client } = setUp()
    const signer = repository.addKey("snapshot")
    repository.tamper.set("root", (signed) => {
      signed.roles.snapshot.keyids.push(...Array(8).fill(signer.keyid))
      signed.roles.snapshot.threshold = 6
    })
    repository.publish("root", "snapshot", "timestamp")
    repository.rewrite("snapshot", ({ signatures }) => {
      signatures.push(...signatures.filter(({ keyid }) => keyid === signer.keyid).flatMap((own) => Array(8).fill(own)))
    })
    expect(client.result()).toBe("TUF_MALFORMED")
    expect(client.versions()).toEqual({ root: 2, timestamp: 2 })
  })

  it("one signature repeated under its keyid is refused, even where one is enough", () => {
    const { repository, client } = setUp()
    repository.rewrite("snapshot", ({ signatures }) => {
      signatures.push(...signatures)
    })
    expect(client.result()).toBe("TUF_MALFORMED")
    expect(client.versions().snapshot).toBeUndefined()
  })

  it.each([
    ["another keyid", (key: TufKey) => key],
    ["another keytype", (key: TufKey) => ({ ...key, keytype: "ecdsa-sha2-nistp256" })],
    ["other line breaks", (key: TufKey) => ({ ...key, public: key.public.replace(/\n/g, "\r\n") })],
    ["hex", (key: TufKey) => ({ ...key, public: rawPoint(key) })],
  ])("one key under %s counts once", (_, disguise) => {
    const { repository, client } = setUp()
    const [signer] = repository.signers.get("timestamp") as [Signer]
    repository.addKey("timestamp", { ...signer, keyid: "ab".repeat(32), key: disguise(signer.key) })
    repository.publish("root", "timestamp")
    expect(client.result()).toBe("ok")
    repository.authorise("timestamp", repository.root.roles.timestamp.keyids, 2)
    repository.publish("root", "timestamp")
    expect(client.result()).toBe("TUF_SIGNATURES_MISSING")
  })

  it("two signatures that ECDSA makes of one, under two keyids of one key, count once", () => {
    const { repository, client } = setUp()
    const [signer] = repository.signers.get("timestamp") as [Signer]
    const twin = { ...signer, keyid: "cd".repeat(32) }
    repository.addKey("timestamp", twin)
    repository.authorise("timestamp", repository.root.roles.timestamp.keyids, 2)
    repository.publish("root", "timestamp")
    repository.rewrite("timestamp", ({ signatures }) => {
      const [first, second] = signatures
      if (first === undefined || second === undefined) throw new Error("two signers sign")
      second.sig = otherS(first.sig)
      expect(second.sig).not.toBe(first.sig)
    })
    expect(client.result()).toBe("TUF_SIGNATURES_MISSING")
  })

  it("a signature that is wrong, empty or no hex does no harm beside one that counts", () => {
    const { repository, client } = setUp()
    repository.addKey("timestamp")
    repository.publish("root")
    for (const sig of ["3045022100", "", "zz", Buffer.from(newSigner().sign(utf8("x"))).toString("hex")]) {
      repository.publish("timestamp")
      repository.rewrite("timestamp", ({ signatures }) => {
        ;(signatures[0] as { sig: string }).sig = sig
      })
      expect(client.result()).toBe("ok")
    }
  })

  it("a signature over one role's document does not count for another, nor from a key of another role", () => {
    const { repository, client } = setUp()
    const [snapshotKey] = repository.signers.get("snapshot") as [Signer]
    repository.signers.set("timestamp", [snapshotKey])
    repository.publish("timestamp")
    expect(client.result()).toBe("TUF_SIGNATURES_MISSING")
  })
})

describe("key types", () => {
  test.each<[SignatureScheme]>([["ecdsa-p256-sha256"], ["ecdsa-p384-sha384"], ["rsa-pss-sha256"], ["ed25519"]])(
    "%s: a right signature counts, a wrong one doesn't",
    (scheme) => {
      const { repository, client } = setUp()
      const signer = repository.addKey("root", newSigner(scheme))
      repository.authorise("root", repository.root.roles.root.keyids, 2)
      repository.publish("root")
      expect(client.result()).toBe("ok")
      repository.publish("root")
      repository.rewrite("root", ({ signatures }) => {
        const own = signatures.find(({ keyid }) => keyid === signer.keyid) as { sig: string }
        own.sig = Buffer.from(signer.sign(utf8("something else"))).toString("hex")
      })
      expect(client.result()).toBe("TUF_SIGNATURES_MISSING")
      expect(client.versions().root).toBe(2)
    },
  )

  test.each<[SignatureScheme]>([["ecdsa-p256-sha256"], ["ecdsa-p384-sha384"], ["rsa-pss-sha256"], ["ed25519"]])(
    "%s: the key object and its SPKI are one",
    (scheme) => {
      const { key } = newSigner(scheme)
      const material = keyMaterial(key)
      expect(material?.scheme).toBe(scheme)
      expect(tufKey(scheme, material?.spki as Uint8Array)).toEqual(key)
    },
  )

  const p256 = newSigner().key
  const p384 = newSigner("ecdsa-p384-sha384").key
  const rsa = newSigner("rsa-pss-sha256").key
  const ed25519 = newSigner("ed25519").key
  const exported = ({ publicKey }: { publicKey: KeyObject }) =>
    publicKey.export({ format: "pem", type: "spki" }).toString()
  const withDer = (key: TufKey, change: (der: Buffer) => Buffer) => ({ ...key, public: pem(change(der(key))) })

  test.each<[string, TufKey]>([
    ["a scheme that isn't known", { ...p256, scheme: "ecdsa-sha2-nistp521" }],
    ["RSA with PKCS#1 v1.5", { ...rsa, scheme: "rsa-pkcs1v15-sha256" }],
    ["a keytype of another scheme", { ...p256, keytype: "rsa" }],
    ["a keytype that names another curve", { ...p256, keytype: "ecdsa-sha2-nistp384" }],
    ["P-384 under P-256's scheme", { ...p256, public: p384.public }],
    ["P-256 under P-384's scheme", { ...p384, public: p256.public }],
    ["an RSA key under an EC scheme", { ...p256, public: rsa.public }],
    [
      "another curve of the same length",
      { ...p256, public: exported(generateKeyPairSync("ec", { namedCurve: "secp256k1" })) },
    ],
    ["a compressed point", withDer(p256, (spki) => compressed(spki))],
    ["bytes after the key", withDer(p256, (spki) => Buffer.concat([spki, Buffer.from([0])]))],
    ["RSA of 1,024 bits", { ...rsa, public: exported(generateKeyPairSync("rsa", { modulusLength: 1024 })) }],
    [
      "RSA with exponent 3",
      { ...rsa, public: exported(generateKeyPairSync("rsa", { modulusLength: 2048, publicExponent: 3 })) },
    ],
    ["RSA with bytes after the key", withDer(rsa, (spki) => Buffer.concat([spki, Buffer.from([0])]))],
    ["RSA with a longer form of a length", withDer(rsa, (spki) => longerLength(spki))],
    ["a PSS-only RSA key", { ...rsa, public: exported(generateKeyPairSync("rsa-pss", { modulusLength: 2048 })) }],
    ["upper-case hex", { ...ed25519, public: ed25519.public.toUpperCase() }],
    ["31 bytes of Ed25519", { ...ed25519, public: ed25519.public.slice(2) }],
    ["a private key's label", { ...p256, public: p256.public.replace(/PUBLIC/g, "PRIVATE") }],
    ["two keys in one PEM", { ...p256, public: p256.public + p256.public }],
    ["text before the PEM", { ...p256, public: `x\n${p256.public}` }],
    ["nothing", { ...p256, public: "" }],
  ])("%s counts for nothing", (_, key) => {
    expect(keyMaterial(key)).toBeUndefined()
  })

  it("only keys that TUF has a name for are written", () => {
    const p521 = generateKeyPairSync("ec", { namedCurve: "P-521" }).publicKey.export({ format: "der", type: "spki" })
    const unsupported = expect.objectContaining({ code: "ALGORITHM_UNSUPPORTED" })
    expect(() => tufKey("ecdsa-p521-sha512", new Uint8Array(p521))).toThrow(unsupported)
    expect(() => tufKey("ed25519", new Uint8Array(der(p256)))).toThrow(unsupported)
    expect(() => tufKey("ecdsa-p384-sha384", new Uint8Array(der(p256)))).toThrow(unsupported)
  })
})

interface RootVersion {
  readonly keys: readonly number[]
  readonly threshold: number
  readonly signedBy: readonly number[]
}

const of = (keys: readonly number[], threshold: number, signedBy: readonly number[]): RootVersion => ({
  keys,
  threshold,
  signedBy,
})

describe("chains of roots (R17)", () => {
  const FIVE = [0, 1, 2, 3, 4]
  const FIVE_LATER = [0, 1, 3, 4, 5]

  test.each<[string, RootVersion[]]>([
    ["one key gives way to another", [of([1], 1, [1]), of([2], 1, [2, 1]), of([2], 1, [2])]],
    ["signatures by strangers don't matter", [of([1], 1, [3, 1, 4]), of([2], 1, [3, 2, 1, 4]), of([2], 1, [3, 2, 4])]],
    [
      "any 3 of 5 will do",
      [of(FIVE, 3, [0, 2, 4]), of(FIVE, 3, [0, 4, 1]), of(FIVE, 3, [0, 1, 3]), of(FIVE, 3, [0, 1, 3])],
    ],
    ["one of five changes, by keys of both", [of(FIVE, 3, [0, 2, 4]), of(FIVE_LATER, 3, [0, 4, 1])]],
    [
      "one of five changes, in two steps",
      [of(FIVE, 3, [0, 2, 4]), of(FIVE_LATER, 3, [0, 2, 4, 5]), of(FIVE_LATER, 3, [0, 4, 5])],
    ],
    [
      "all five change",
      [of(FIVE, 3, [0, 2, 4]), of([5, 6, 7, 8, 9], 3, [0, 2, 4, 5, 6, 7]), of([5, 6, 7, 8, 9], 3, [5, 6, 7])],
    ],
    ["1 of 3 becomes 2 of 3", [of([1, 2, 3], 1, [1]), of([1, 2, 3], 2, [1, 2])]],
    ["2 of 3 becomes 1 of 3", [of([1, 2, 3], 2, [1, 2]), of([1, 2, 3], 1, [1, 2]), of([1, 2, 3], 1, [1])]],
    ["1 of 1 becomes 2 of 2", [of([1], 1, [1]), of([1, 2], 2, [1, 2])]],
  ])("accepted: %s", (_, versions) => {
    const { client, roots } = publishRoots(versions)
    expect(client.result()).toBe("ok")
    expect(client.state.root).toEqual(roots.at(-1))
  })

  test.each<[string, RootVersion[]]>([
    ["not signed by the old key", [of([1], 1, [1]), of([2], 1, [2, 3, 4])]],
    ["not signed by the new key", [of([1], 1, [1]), of([2], 1, [1, 3, 4])]],
    ["below the new threshold of five", [of(FIVE, 3, [0, 2, 4]), of(FIVE_LATER, 3, [0, 2, 4])]],
    ["below the old threshold of five", [of(FIVE, 3, [0, 2, 4]), of(FIVE_LATER, 3, [0, 4, 5])]],
    ["below the raised threshold", [of([1, 2, 3], 1, [1]), of([1, 2, 3], 2, [2])]],
    ["below the threshold that is being lowered", [of([1, 2, 3], 2, [1, 2]), of([1, 2, 3], 1, [1])]],
    ["the second step is broken", [of([1], 1, [1]), of([2], 1, [1, 2]), of([3], 1, [1, 3])]],
  ])("refused, with the last good one kept: %s", (_, versions) => {
    const { client, roots } = publishRoots(versions)
    expect(client.result()).toBe("TUF_SIGNATURES_MISSING")
    expect(client.state.root).toEqual(roots.at(-2))
  })

  it("no step of the chain can be left out", () => {
    const { client, repository } = publishRoots([of([1], 1, [1]), of([1], 1, [1]), of([1], 1, [1])])
    const files = repository.files.get("root") as Uint8Array[]
    repository.files.set("root", [files[0] as Uint8Array, files[2] as Uint8Array])
    expect(client.result()).toBe("TUF_VERSION_MISMATCH")
    repository.files.set("root", [files[0] as Uint8Array, files[0] as Uint8Array])
    expect(client.result()).toBe("TUF_VERSION_MISMATCH")
    expect(client.versions()).toEqual({ root: 1 })
  })

  function publishRoots(versions: readonly RootVersion[]) {
    const repository = new TufSimulator()
    repository.files.set("root", [])
    repository.root.version = 0
    for (const { keys, threshold, signedBy } of versions) {
      const keyids = pick(keys).map(({ keyid }) => keyid)
      repository.authorise("root", keyids, threshold, pick(keys))
      repository.signers.set("root", pick(signedBy))
      repository.publish("root")
    }
    const roots = repository.files.get("root") as Uint8Array[]
    return { repository, roots, client: new SimulatedClient(repository) }
  }
})

describe("rotation of the other top-level roles", () => {
  test.each<[string, RootVersion, boolean]>([
    ["a new key", of([2], 1, [2]), true],
    ["signatures by strangers beside its own", of([1], 1, [3, 1, 4]), true],
    ["strangers alone", of([2], 1, [1, 3, 4]), false],
    ["2 of 3 and a stranger", of([0, 1, 3, 4, 5], 3, [0, 2, 4]), false],
    ["2 of 3", of([0, 1, 3, 4, 5], 3, [0, 4]), false],
    ["0, 2, 4 of five", of([0, 1, 2, 3, 4], 3, [0, 2, 4]), true],
    ["0, 4, 1 of five", of([0, 1, 2, 3, 4], 3, [0, 4, 1]), true],
    ["0, 1, 3 of five", of([0, 1, 2, 3, 4], 3, [0, 1, 3]), true],
    ["1, 2, 3 of five", of([0, 1, 2, 3, 4], 3, [1, 2, 3]), true],
    ["2, 3, 4 of five", of([0, 1, 2, 3, 4], 3, [2, 3, 4]), true],
  ])("%s", (_, { keys, threshold, signedBy }, accepted) => {
    const { repository, client } = setUp()
    for (const role of ["timestamp", "snapshot", "targets"] as Online[]) {
      const keyids = pick(keys).map(({ keyid }) => keyid)
      repository.authorise(role, keyids, threshold, pick(keys))
      repository.signers.set(role, pick(signedBy))
      repository.publish("root", "targets", "snapshot", "timestamp")
      expect(client.result()).toBe(accepted ? "ok" : "TUF_SIGNATURES_MISSING")
      if (accepted && role !== "targets") expect(client.state[role]).toEqual(repository.newest(role))
      if (accepted) expect(client.state.targets?.get("targets")).toEqual(repository.newest("targets"))
    }
  })
})

function der({ public: text }: TufKey): Buffer {
  return createPublicKey(text).export({ format: "der", type: "spki" })
}

function pem(spki: Buffer): string {
  return `-----BEGIN PUBLIC KEY-----\n${spki.toString("base64")}\n-----END PUBLIC KEY-----\n`
}

function rawPoint(key: TufKey): string {
  return hexEncode(new Uint8Array(der(key).subarray(-65)))
}

function compressed(spki: Buffer): Buffer {
  const [head, x, y] = [spki.subarray(0, 26), spki.subarray(27, 59), spki.subarray(59)]
  const short = Buffer.from(head)
  short[1] = (short[1] as number) - 32
  short[24] = (short[24] as number) - 32
  return Buffer.concat([short, Buffer.from([2 + ((y.at(-1) as number) & 1)]), x])
}

/** The same key with a length of three bytes where two are enough: BER that some libraries read. */
function longerLength(spki: Buffer): Buffer {
  return Buffer.concat([Buffer.from([0x30, 0x83, 0, spki[2] as number, spki[3] as number]), spki.subarray(4)])
}

/** The other valid S of an ECDSA P-256 signature: order - S. */
function otherS(hex: string): string {
  const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
  const bytes = Buffer.from(hex, "hex")
  const rEnd = 4 + (bytes[3] as number)
  const s = BigInt(`0x${bytes.subarray(rEnd + 2).toString("hex")}`)
  const other = (order - s).toString(16).padStart(64, "0")
  const content = Buffer.from((Number.parseInt(other.slice(0, 2), 16) & 0x80 ? "00" : "") + other, "hex")
  const minimal = content.subarray(content.findIndex((byte, i) => byte !== 0 || (content[i + 1] as number) >= 0x80))
  const body = Buffer.concat([bytes.subarray(2, rEnd), Buffer.from([2, minimal.length]), minimal])
  return Buffer.concat([Buffer.from([0x30, body.length]), body]).toString("hex")
}
