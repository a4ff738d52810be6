import { verify as verifyBytes } from "node:crypto"
import { createMemoryKeys } from "@sealwright/adapters/memory-keys"
import { digest } from "@sealwright/adapters/platform"
import { issuerKeyId } from "@sealwright/core/admin/certificates"
import { ServiceError } from "@sealwright/core/errors"
import { rehearsalOf } from "@sealwright/core/offline-root/rehearsal"
import { parseScript } from "@sealwright/core/offline-root/script"
import { hexEncode, utf8, utf8Decode } from "@sealwright/formats/bytes"
import { parseCrl, revokedEntries } from "@sealwright/formats/crl"
import { assembleCsr, CSR_LABEL, csrInfo } from "@sealwright/formats/csr"
import { pemDecode, pemDecodeAll, pemEncode } from "@sealwright/formats/pem"
import { ATTRIBUTE, nameAttribute, parseCertificate } from "@sealwright/formats/x509"
import { EXTENSION, readExtension } from "@sealwright/formats/x509-extensions"
import { distinguishedName, issuingCaRequestExtensions, subjectKeyIdentifier } from "@sealwright/formats/x509-write"
import { runSync } from "@sealwright/verifier/node-crypto"
import { verifyCaPath } from "@sealwright/verifier/x509-path"
import { describe, expect, test } from "vitest"
import { makeSigner } from "../support/chains.ts"
import {
  createDesk,
  type Desk,
  issuerRequest,
  MAKE_CRL,
  MAKE_ROOT,
  PARTICIPANTS,
  ROOT,
  scriptBytes,
  scriptOf,
} from "../support/root-ceremony.ts"
import { withCode } from "./core-published.ts"

const ISSUER = await issuerRequest()
const REVOKE = { id: "gone", do: "revoke-issuer", issuer: "ci-corp", reason: "keyCompromise" } as const
const FIRST = scriptOf([MAKE_ROOT, ISSUER.step, MAKE_CRL])
const SECOND = scriptOf([REVOKE, { ...MAKE_CRL, id: "crl-2" }])

function desk(): Desk {
  return createDesk({ "ci-corp.csr": ISSUER.pem })
}

function chainOf({ outputs }: Desk) {
  return pemDecodeAll("CERTIFICATE", utf8Decode(outputs.get("ci-corp.chain.pem") as Uint8Array)).map(parseCertificate)
}

function crlOf({ outputs }: Desk, id: string) {
  return parseCrl(outputs.get(`${id}.crl`) as Uint8Array)
}

describe("a ceremony of an offline root (R1, R5, R14)", () => {
  test("R5: makes a root, an issuer below it that our verifier takes, and the root's CRL", async () => {
    const room = desk()
    const { steps } = await room.hold(FIRST)
    expect(steps.map(({ id, done }) => [id, done])).toEqual([
      ["root", "now"],
      ["ci-corp", "now"],
      ["crl-1", "now"],
    ])
    const [issuer, root] = chainOf(room) as [ReturnType<typeof parseCertificate>, ReturnType<typeof parseCertificate>]
    const time = room.ports.clock()
    expect(runSync(verifyCaPath([issuer, root], { trusted: [root.der], time }))).toMatchObject({ ok: true })
    expect(issuer.spki).toEqual(ISSUER.key.spki)
    expect(issuer.basicConstraints).toEqual({ ca: true, pathLength: 0 })
    expect(issuer.extKeyUsage).toEqual(["1.3.6.1.5.5.7.3.3"])
    expect(readExtension(issuer.extensions, EXTENSION.crlDistributionPoints)).toEqual([
      `http://${ROOT.crlHost}/crl/${issuerKeyId(digest, root.spki)}.crl`,
    ])
    expect(crlOf(room, "crl-1")).toMatchObject({ crlNumber: 1n, entryCount: 0 })
    expect(nameAttribute(root.subject, ATTRIBUTE.commonName)).toBe(ROOT.subject.commonName)
  })

  test("R24: a revoked issuer stands on the next CRL, whose number goes up", async () => {
    const room = desk()
    await room.hold(FIRST)
    room.pass(86_400)
    await room.hold(SECOND)
    const crl = crlOf(room, "crl-2")
    expect(crl.crlNumber).toBe(2n)
    expect([...revokedEntries(crl)].map(({ serial, reason }) => [hexEncode(serial), reason])).toEqual([
      [hexEncode(chainOf(room)[0]?.serialBytes as Uint8Array), "keyCompromise"],
    ])
  })

  test("what was done stays done: a repeat shows the same bytes, asks nobody and reads no request", async () => {
    const room = desk()
    await room.hold(FIRST)
    const before = new Map(room.outputs)
    room.outputs.clear()
    room.pass(3600)
    const refuse = async () => Promise.reject(new Error("called"))
    const { steps } = await room.hold(FIRST, { readInput: refuse, confirm: refuse })
    expect(steps.map(({ done }) => done)).toEqual(["before", "before", "before"])
    expect(room.outputs).toEqual(before)
  })

  test("the transcript tells each step, and the root's key signs it", async () => {
    const room = desk()
    const asked: string[] = []
    const { transcript } = await room.hold(FIRST, {
      confirm: async ({ name }, question) => asked.push(`${name}: ${question.split("\n")[0]}`) > 0,
    })
    expect(asked).toHaveLength(6)
    expect(asked[1]).toBe("Grace Sample: root (make-root)")
    const text = room.lines.join("\n")
    for (const told of ["a fact", "confirmed by Ada Example, ceremony lead", ISSUER.step.sha256])
      expect(text).toContain(told)
    const end = room.lines.findIndex((line) => line.endsWith("end of what is signed"))
    const signed = utf8(`${room.lines.slice(0, end + 1).join("\n")}\n`)
    const [, root] = chainOf(room)
    const key = { key: Buffer.from(root?.spki as Uint8Array), format: "der", type: "spki" } as const
    expect(transcript.sha256).toBe(hexEncode(digest("sha256", signed)))
    expect(verifyBytes("sha384", signed, key, transcript.signature)).toBe(true)
    expect(verifyBytes("sha384", signed.subarray(1), key, transcript.signature)).toBe(false)
    expect(room.lines.slice(1, end + 1).every((line, at) => line.startsWith(String(at + 1).padStart(4, "0")))).toBe(
      true,
    )
  })

  test("who does not confirm stops it before anything is signed", async () => {
    const room = desk()
    const confirm = async ({ name }: { name: string }) => name !== PARTICIPANTS[1].name
    await expect(room.hold(FIRST, { confirm })).rejects.toThrow(withCode("CEREMONY_NOT_CONFIRMED"))
    expect([room.journal.length, room.outputs.size]).toEqual([0, 0])
    expect(room.lines.at(-1)).toContain("stopped: CEREMONY_NOT_CONFIRMED")
  })

  test("an existing key is taken as it is, a new one must not stand yet", async () => {
    const room = desk()
    const existing = scriptOf([MAKE_ROOT], { root: { ...ROOT, keyIs: "existing" } })
    await expect(room.hold(existing)).rejects.toThrow(withCode("KEY_UNKNOWN"))
    await room.ports.rootKey.make()
    await expect(room.hold(FIRST)).rejects.toThrow(withCode("ALREADY_EXISTS"))
    await room.hold(existing)
    expect([...room.outputs.keys()]).toEqual(["root.pem"])
  })
})

describe("what a ceremony refuses", () => {
  test.each([
    ["an unknown member", scriptBytes([MAKE_ROOT], { more: 1 }), "SHAPE_MISMATCH"],
    ["an unknown member of a step", scriptBytes([{ ...MAKE_ROOT, more: 1 }]), "SHAPE_MISMATCH"],
    ["an unknown step", scriptBytes([{ id: "root", do: "constructor" }]), "SHAPE_MISMATCH"],
    [
      "a name with a line end",
      scriptBytes([MAKE_ROOT], { participants: [{ name: "A\n0001", role: "b" }] }),
      "SHAPE_MISMATCH",
    ],
    ["nobody", scriptBytes([MAKE_ROOT], { participants: [] }), "SHAPE_MISMATCH"],
    ["a key in KMS", scriptBytes([MAKE_ROOT], { root: { ...ROOT, key: "awskms:alias/root" } }), "SHAPE_MISMATCH"],
    ["a hold", scriptBytes([{ ...REVOKE, reason: "certificateHold" }]), "SHAPE_MISMATCH"],
    [
      "a name without room for a rehearsal's mark",
      scriptBytes([MAKE_ROOT], { root: { ...ROOT, subject: { ...ROOT.subject, commonName: "x".repeat(55) } } }),
      "SHAPE_MISMATCH",
    ],
    [
      "a later version",
      scriptBytes([MAKE_ROOT], { mediaType: "application/vnd.sealwright.root-ceremony.v2+json" }),
      "VERSION_UNKNOWN",
    ],
    ["too much", new Uint8Array(65_537), "TOO_LARGE"],
    ["a member twice", utf8('{"root":1,"root":2}'), "JSON_MALFORMED"],
    ["an id twice", scriptBytes([MAKE_ROOT, { ...MAKE_CRL, id: "root" }]), "CEREMONY_SCRIPT_INVALID"],
    ["two roots", scriptBytes([MAKE_ROOT, { ...MAKE_ROOT, id: "other" }]), "CEREMONY_SCRIPT_INVALID"],
    [
      "a participant twice",
      scriptBytes([MAKE_ROOT], { participants: [PARTICIPANTS[0], PARTICIPANTS[0]] }),
      "CEREMONY_SCRIPT_INVALID",
    ],
  ])("a script with %s", (_, bytes, code) => {
    expect(() => parseScript(bytes)).toThrow(expect.objectContaining({ code }))
  })

  test("steps whose ground is missing", async () => {
    for (const steps of [[MAKE_CRL], [REVOKE], [MAKE_ROOT, REVOKE]])
      await expect(desk().hold(scriptOf(steps))).rejects.toThrow(withCode("CEREMONY_SCRIPT_INVALID"))
    const room = desk()
    await room.hold(FIRST)
    await room.hold(SECOND)
    for (const steps of [[{ ...REVOKE, id: "again" }], [{ ...MAKE_ROOT, id: "second" }]])
      await expect(room.hold(scriptOf(steps))).rejects.toThrow(withCode("CEREMONY_SCRIPT_INVALID"))
  })

  test("a step that was done otherwise, and another root than the folder's", async () => {
    const room = desk()
    await room.hold(FIRST)
    await expect(room.hold(scriptOf([{ ...MAKE_CRL, days: 90 }]))).rejects.toThrow(withCode("CEREMONY_STEP_DIFFERS"))
    const other = scriptOf([MAKE_CRL], { root: { ...ROOT, crlHost: "crl.example.com" } })
    await expect(room.hold(other)).rejects.toThrow(withCode("CEREMONY_STEP_DIFFERS"))
    const { key } = await issuerRequest("other")
    const find = async () => key
    await expect(room.hold(scriptOf([MAKE_CRL]), { rootKey: { ...room.ports.rootKey, find } })).rejects.toThrow(
      withCode("CERTIFICATE_NOT_OF_KEY"),
    )
    const none = { ...room.ports.rootKey, find: async () => undefined }
    await expect(room.hold(scriptOf([MAKE_CRL]), { rootKey: none })).rejects.toThrow(withCode("KEY_UNKNOWN"))
  })

  test("R18: an issuer that would outlive the root, and a clock behind the journal", async () => {
    const room = desk()
    const short = scriptOf([{ ...MAKE_ROOT, years: 1 }, ISSUER.step])
    await expect(room.hold(short)).rejects.toThrow(withCode("ISSUER_OUTLIVES_CA"))
    room.pass(-60)
    await expect(room.hold(scriptOf([MAKE_CRL]))).rejects.toThrow(withCode("CLOCK_WENT_BACK"))
  })

  test("an old copy of the folder, by the entry that the participants know", async () => {
    const room = desk()
    const { journal } = await room.hold(FIRST)
    const knowing = scriptOf([{ ...MAKE_CRL, id: "crl-2" }], { journal })
    await room.hold(knowing)
    await room.hold(knowing)
    room.journal.splice(2)
    await expect(room.hold(knowing)).rejects.toThrow(withCode("CEREMONY_JOURNAL_STALE"))
  })

  test("a journal that was changed, entry by entry", async () => {
    const room = desk()
    await room.hold(FIRST)
    await room.hold(SECOND)
    expect(room.journal.length).toBe(6)
    for (const [at, entry] of room.journal.entries()) {
      const text = utf8Decode(entry)
      const changes = [
        text.replace('"number":', '"number":1'),
        text.replace('"kind":"done"', '"kind":"intent"'),
        text.replace(/"made":"(.{200})./, '"made":"$1A'),
        `${text} `,
      ].filter((changed) => changed !== text)
      for (const changed of changes.slice(0, at === room.journal.length - 1 ? -1 : undefined)) {
        const files = room.journal.with(at, utf8(changed))
        const folder = { ...room.ports.folder, entries: async () => files }
        await expect(room.hold(SECOND, { folder }), changed).rejects.toThrow(withCode("CEREMONY_JOURNAL_DAMAGED"))
      }
    }
    const folder = { ...room.ports.folder, entries: async () => room.journal.toSpliced(3, 1) }
    await expect(room.hold(SECOND, { folder })).rejects.toThrow(withCode("CEREMONY_JOURNAL_DAMAGED"))
  })

  test("another ceremony in the same folder", async () => {
    const room = desk()
    const folder = { ...room.ports.folder, append: async () => false }
    await expect(room.hold(FIRST, { folder })).rejects.toThrow(withCode("CEREMONY_CONFLICT"))
  })

  const signer = makeSigner("ecdsa-p256-sha256")
  const name = (commonName: string) =>
    distinguishedName({ country: "US", stateOrProvince: "Washington", organization: "Wabbit Networks", commonName })
  const ca = issuingCaRequestExtensions(subjectKeyIdentifier(digest("sha256", signer.spki)), 0)
  const request = (subject: Uint8Array, extensions: readonly Uint8Array[], by = signer) => {
    const info = csrInfo({ subject, spki: signer.spki, extensions })
    return pemEncode(CSR_LABEL, assembleCsr(info, signer.scheme, by.sign(info)))
  }
  test.each([
    ["is none", "text"],
    ["is signed by another key", request(name("ci issuing CA"), ca, makeSigner("ecdsa-p256-sha256"))],
    ["asks for nothing", request(name("ci issuing CA"), [])],
    [
      "asks for a longer path",
      request(
        name("ci issuing CA"),
        issuingCaRequestExtensions(subjectKeyIdentifier(digest("sha256", signer.spki)), 1),
      ),
    ],
    ["has the root's name", request(name(ROOT.subject.commonName), ca)],
    ["has a name with a line end", request(name("ci\n0007  confirmed"), ca)],
    ["has a name without room for the mark", request(name("x".repeat(60)), ca)],
  ])("a request that %s", async (_, pem) => {
    const bytes = utf8(pem)
    const step = { ...ISSUER.step, sha256: hexEncode(digest("sha256", bytes)) }
    const room = createDesk({ "ci-corp.csr": bytes })
    await expect(room.hold(scriptOf([MAKE_ROOT, step]))).rejects.toThrow(withCode("CERTIFICATE_REQUEST_INVALID"))
    expect([...room.outputs.keys()]).toEqual(["root.pem"])
  })

  test("another key under a name that was certified, and another file than the script's", async () => {
    const second = await issuerRequest()
    const room = createDesk({ "ci-corp.csr": ISSUER.pem, "second.csr": second.pem })
    await room.hold(FIRST)
    const steps = [{ ...second.step, id: "second", request: "second.csr" }]
    await expect(room.hold(scriptOf(steps))).rejects.toThrow(withCode("CERTIFICATE_REQUEST_INVALID"))
    const swapped = [{ ...ISSUER.step, id: "second", request: "second.csr" }]
    await expect(room.hold(scriptOf(swapped))).rejects.toThrow(withCode("CEREMONY_INPUT_DIFFERS"))
  })

  test("a key that signs wrongly", async () => {
    const other = createMemoryKeys()
    const room = desk()
    const keys = {
      sign: async (_: unknown, message: Uint8Array) =>
        other.sign(await other.create("x", "root", ROOT.algorithm), message),
    }
    await expect(room.hold(FIRST, { keys })).rejects.toThrow(withCode("KEY_NOT_USABLE"))
    expect(room.outputs.size).toBe(0)
  })
})

describe("a rehearsal", () => {
  test("comes to where the folder stands, then does the same, with marked certificates", async () => {
    const room = desk()
    const { journal } = await room.hold(FIRST)
    const script = scriptOf([REVOKE, { ...MAKE_CRL, id: "crl-2" }], { journal })
    const { script: whole, inputs, replayed } = rehearsalOf(room.ports, script, room.journal)
    const other = createDesk(Object.fromEntries(inputs))
    const asked = new Set<string>()
    const confirm = async (_: unknown, question: string) => asked.add(question.split(" ")[0] as string).size > 0
    await other.hold(whole, { confirm }, { rehearsal: true, replayed })
    expect([...asked]).toEqual(["gone", "crl-2"])
    const root = parseCertificate(pemDecode("CERTIFICATE", utf8Decode(other.outputs.get("root.pem") as Uint8Array)))
    for (const { subject } of [root, ...chainOf(other)])
      expect(nameAttribute(subject, ATTRIBUTE.commonName)).toMatch(/ REHEARSAL$/)
    expect(other.lines[0]).toContain("REHEARSAL")
    expect(crlOf(other, "crl-2")).toMatchObject({ crlNumber: 2n, entryCount: 1 })
    expect(room.outputs.has("crl-2.crl")).toBe(false)
  })

  test("is refused where the ceremony would be", async () => {
    const room = desk()
    await room.hold(FIRST)
    const stale = scriptOf([REVOKE], { journal: "00".repeat(32) })
    expect(() => rehearsalOf(room.ports, stale, room.journal)).toThrow(withCode("CEREMONY_JOURNAL_STALE"))
  })
})

describe("a ceremony that is cut", () => {
  const WRITES = ["append", "release", "make", "sign", "write"] as const

  /** Fails one call of one port, before or after it took effect. */
  function cutting(room: Desk, name: (typeof WRITES)[number] | undefined, nth: number, when: "before" | "after") {
    const seen = { append: 0, release: 0, make: 0, sign: 0, write: 0 }
    const around =
      <A extends unknown[], T>(port: (typeof WRITES)[number], call: (...args: A) => Promise<T>) =>
      async (...args: A): Promise<T> => {
        const hit = ++seen[port] === nth && port === name
        if (hit && when === "before") throw new ServiceError("STORE_UNAVAILABLE", "cut")
        const result = await call(...args)
        if (hit) throw new ServiceError("STORE_UNAVAILABLE", "cut")
        return result
      }
    const { folder, rootKey, keys, write } = room.ports
    const ports = {
      folder: { ...folder, append: around("append", folder.append), release: around("release", folder.release) },
      rootKey: { ...rootKey, make: around("make", rootKey.make) },
      keys: { sign: around("sign", keys.sign) },
      write: around("write", write),
    }
    return { ports, seen }
  }

  test("at any write or signature, before or after it took effect, ends as one that was not", async () => {
    const script = scriptOf([MAKE_ROOT, ISSUER.step, REVOKE, MAKE_CRL])
    const whole = desk()
    const recorded = cutting(whole, undefined, 0, "before")
    await whole.hold(script, recorded.ports)
    expect(recorded.seen).toMatchObject({ append: 5, release: 3, make: 1, sign: 4 })
    for (const name of WRITES)
      for (let nth = 1; nth <= recorded.seen[name]; nth++)
        for (const when of ["before", "after"] as const) {
          const room = desk()
          await expect(room.hold(script, cutting(room, name, nth, when).ports)).rejects.toThrow(
            withCode("STORE_UNAVAILABLE"),
          )
          const shown = new Map(room.outputs)
          const { steps } = await room.hold(script)
          expect(steps.map(({ id }) => id)).toEqual(["root", "ci-corp", "gone", "crl-1"])
          // What was seen before the cut is what stands after it: `release` fails on other bytes.
          for (const [output, bytes] of shown) expect(room.outputs.get(output), `${name} ${nth} ${when}`).toEqual(bytes)
          expect([...room.outputs.keys()].sort()).toEqual(["ci-corp.chain.pem", "crl-1.crl", "root.pem"])
          expect(crlOf(room, "crl-1")).toMatchObject({ crlNumber: 1n, entryCount: 1 })
          expect(room.journal.length).toBe(5)
        }
  })
})
