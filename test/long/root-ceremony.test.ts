import { createHash, verify, X509Certificate } from "node:crypto"
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { PassThrough } from "node:stream"
import { afterAll, beforeAll, expect, inject, test } from "vitest"
import { askParticipant } from "../../packages/cli/src/offline-root/ask.ts"
import { type Outcome, runCli, SOURCES, temporaryFolder } from "../e2e/local.ts"
import { issuerRequest, MAKE_CRL, MAKE_ROOT, PARTICIPANTS, scriptBytes } from "../support/root-ceremony.ts"

/** `sealwright root ceremony` as it is run: a process, an encrypted key file, a folder and its transcripts. */

const PASSWORD = "correct horse battery"
const folder = temporaryFolder()
const work = join(folder.path, "work")
const temporary = join(folder.path, "tmp")
const BY = ["--password-source", "env:ROOT_PASSWORD", "--yes"]

function ceremony(...args: readonly string[]): Promise<Outcome> {
  return runCli(work, { ROOT_PASSWORD: PASSWORD, TMPDIR: temporary }, ["root", "ceremony", ...args])
}

function filesBelow(path: string): string[] {
  return readdirSync(path, { recursive: true, encoding: "utf8" }).filter((name) => statSync(join(path, name)).isFile())
}

beforeAll(async () => {
  mkdirSync(work)
  mkdirSync(temporary)
  const { pem, step } = await issuerRequest()
  writeFileSync(join(work, "ci-corp.csr"), pem)
  writeFileSync(join(work, "ceremony.json"), scriptBytes([MAKE_ROOT, step, MAKE_CRL]))
})

afterAll(() => folder.remove())

test("a rehearsal leaves its transcript and nothing else", async () => {
  const before = filesBelow(work)
  const { status, stdout } = await ceremony("ceremony.json", "--rehearse", "--yes", "--transcript", "rehearsal.txt")
  expect([status, stdout]).toEqual([0, expect.stringContaining("REHEARSAL")])
  expect(filesBelow(work).sort()).toEqual([...before, "rehearsal.txt"].sort())
  expect(readdirSync(temporary)).toEqual([])
}, 60_000)

test("R1, R5: a ceremony with a key of this machine, whose transcript the root's key signs", async () => {
  const { status, stdout, json } = await ceremony("ceremony.json", "--transcript", "first.txt", "--json", ...BY)
  expect(status, stdout).toBe(0)
  expect(json).toMatchObject({ rehearsal: false, steps: [{ done: "now" }, { done: "now" }, { done: "now" }] })
  const made = join(work, "root-ceremony/out")
  expect(readdirSync(made).sort()).toEqual(["ci-corp.chain.pem", "crl-1.crl", "root.pem"])
  const root = new X509Certificate(readFileSync(join(made, "root.pem")))
  expect(root.subject).toContain("CN=Wabbit Networks corporate root")
  const text = readFileSync(join(work, "first.txt"), "utf8")
  const signed = text.slice(0, text.indexOf("end of what is signed\n") + "end of what is signed\n".length)
  const signature = Buffer.from(json.transcriptSignature, "base64")
  expect(verify("sha384", Buffer.from(signed), root.publicKey, signature)).toBe(true)
  expect(text).toContain(json.transcriptSignature)
  expect(text).toContain("program: sealwright 0.1.0, SHA-256 of its files")
  expect(json.events.map(({ text: line }: { text: string }) => line).at(-1)).toBe("end of what is signed")
}, 60_000)

test("a transcript tells which files ran, of the command as it is published and from its sources (R1)", async () => {
  const published = dirname(inject("built").command)
  const sha256 = (bytes: string | Uint8Array) => createHash("sha256").update(bytes).digest("hex")
  const lines = ["main.mjs", "package.json", "sealwright.cjs", "verify.cjs"].map(
    (name) => `${sha256(readFileSync(join(published, name)))}  cli/${name}\n`,
  )
  const text = readFileSync(join(work, "first.txt"), "utf8")
  expect(text).toContain(`program: sealwright 0.1.0, SHA-256 of its files ${sha256(lines.join(""))}`)
  const rehearse = ["root", "ceremony", "ceremony.json", "--rehearse", "--yes", "--transcript", "sources.txt"]
  const { status } = await runCli(work, { TMPDIR: temporary }, rehearse, SOURCES)
  expect(status).toBe(0)
  const [, digest] = /program: sealwright 0.1.0, SHA-256 of its files ([0-9a-f]{64})/.exec(
    readFileSync(join(work, "sources.txt"), "utf8"),
  ) as RegExpExecArray
  expect(text).not.toContain(digest)
}, 60_000)

test("a repeat changes no byte of what was made; a transcript is never written over", async () => {
  const made = join(work, "root-ceremony/out")
  const before = readdirSync(made).map((name) => readFileSync(join(made, name), "hex"))
  expect(await ceremony("ceremony.json", "--transcript", "first.txt", "--json", ...BY)).toMatchObject({
    status: 2,
    json: { error: { code: "FILE_EXISTS" } },
  })
  const { json } = await ceremony("ceremony.json", "--transcript", "second.txt", "--json", ...BY)
  expect(json.steps.map(({ done }: { done: string }) => done)).toEqual(["before", "before", "before"])
  expect(readdirSync(made).map((name) => readFileSync(join(made, name), "hex"))).toEqual(before)
}, 60_000)

test("R14: neither password nor key stands in anything that was written", () => {
  const written = filesBelow(work).filter((name) => !name.endsWith(".key.pem"))
  expect(written).toContain("first.txt")
  for (const name of written) {
    const text = readFileSync(join(work, name), "latin1")
    expect(text.includes(PASSWORD) || text.includes("PRIVATE KEY"), name).toBe(false)
  }
})

test("without a terminal nobody is taken to have confirmed; a wrong password signs nothing", async () => {
  const alone = ["ceremony.json", "--folder", "other", "--transcript", "third.txt", "--json", "--home", "other-keys"]
  expect(await ceremony(...alone, "--password-source", "env:ROOT_PASSWORD")).toMatchObject({
    status: 4,
    json: { error: { code: "CEREMONY_NOT_CONFIRMED" } },
  })
  expect(readFileSync(join(work, "third.txt"), "utf8")).toMatch(/stopped: CEREMONY_NOT_CONFIRMED.*not signed\n$/)
  const wrong = await runCli(work, { ROOT_PASSWORD: "another password" }, [
    ...["root", "ceremony", "ceremony.json", "--transcript", "fourth.txt", "--json", ...BY],
  ])
  expect(wrong).toMatchObject({ status: 4, json: { error: { code: "KEY_PASSWORD_WRONG" } } })
}, 60_000)

test("a folder in which something else writes is refused", async () => {
  writeFileSync(join(work, "root-ceremony/journal/0009.json"), "{}")
  expect(await ceremony("ceremony.json", "--transcript", "fifth.txt", "--json", ...BY)).toMatchObject({
    json: { error: { code: "CEREMONY_JOURNAL_DAMAGED" } },
  })
}, 60_000)

test("nothing but yes confirms", async () => {
  const answers: [string | undefined, boolean][] = [
    ["yes\n", true],
    ["y\n", false],
    ["no\n", false],
    [undefined, false],
  ]
  for (const [answer, confirmed] of answers) {
    const input = Object.assign(new PassThrough(), { isTTY: true })
    const output = new PassThrough()
    const asked = askParticipant(PARTICIPANTS[0], "root (make-root)", { input, output })
    if (answer === undefined) input.end()
    else input.write(answer)
    expect(await asked).toBe(confirmed)
    expect(String(output.read())).toContain("Ada Example, ceremony lead: type yes to confirm: ")
  }
})
