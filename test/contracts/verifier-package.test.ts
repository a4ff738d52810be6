import { execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { afterAll, beforeAll, expect, test } from "vitest"
import { type BuiltPackage, buildVerifier } from "../../scripts/pack-verifier.ts"

const root = resolve(import.meta.dirname, "../..")
const work = mkdtempSync(join(tmpdir(), "sealwright-verifier-"))
const consumer = join(work, "consumer")
let built: BuiltPackage

const node = (file: string) => execFileSync(process.execPath, [file], { cwd: consumer, encoding: "utf8" }).trim()
const npm = (args: readonly string[], cwd: string) =>
  execFileSync("npm", [...args, "--offline", "--no-audit", "--no-fund", "--loglevel=error"], { cwd, encoding: "utf8" })

function pack(folder: string): string {
  const to = join(folder, "packed")
  mkdirSync(to)
  const [{ filename }] = JSON.parse(npm(["pack", "--json", "--pack-destination", to], folder))
  return join(to, filename)
}

beforeAll(async () => {
  built = await buildVerifier(join(work, "built"))
  mkdirSync(consumer)
  writeFileSync(join(consumer, "package.json"), JSON.stringify({ name: "consumer", private: true }))
  npm(["install", pack(built.folder)], consumer)
}, 120_000)

afterAll(() => rmSync(work, { recursive: true, force: true }))

/** What the parts of the package weigh today. The goal is 32,768 bytes. */
const WHOLE_BYTES = 134_000

test(`the whole verifier stays below ${WHOLE_BYTES} bytes, minified`, () => {
  process.stdout.write(`verifier: ${built.wholeBytes} bytes, minified\n`)
  expect(built.wholeBytes).toBeLessThan(WHOLE_BYTES)
})

test("the package has no dependencies and installs alone", () => {
  const manifest = JSON.parse(readFileSync(join(consumer, "node_modules/@sealwright/verifier/package.json"), "utf8"))
  expect(Object.keys(manifest).filter((name) => /dependencies|scripts/i.test(name))).toEqual([])
  expect(readdirSync(join(consumer, "node_modules")).filter((name) => !name.startsWith("."))).toEqual(["@sealwright"])
})

const USE = `
  const trusted = openBundle({ read: () => undefined, pinnedRoot: new Uint8Array(), now: new Date(0) })
  const loaded = loadTrustPolicy(new TextEncoder().encode('{"trustPolicy":{"trustStore":[]}}'), () => undefined)
  const artifact = { digest: "sha256:" + "00".repeat(32) }
  const input = { artifact, envelopes: [], policy: loaded.policy, now: new Date(0) }
`

test("it runs as ES module and as CommonJS, synchronously and with promises", () => {
  writeFileSync(
    join(consumer, "sync.mjs"),
    `import { loadTrustPolicy, openBundleSync as openBundle, verifySync } from "@sealwright/verifier/node"
     ${USE} console.log(trusted.code, verifySync({ ...input, trusted }).code)`,
  )
  writeFileSync(
    join(consumer, "async.mjs"),
    `import { loadTrustPolicy, openBundle, verify } from "@sealwright/verifier"
     ${USE} console.log((await trusted).code, (await verify({ ...input, trusted: await trusted })).code)`,
  )
  writeFileSync(
    join(consumer, "sync.cjs"),
    `const { loadTrustPolicy, openBundleSync: openBundle, verifySync } = require("@sealwright/verifier/node")
     ${USE} console.log(trusted.code, verifySync({ ...input, trusted }).code)`,
  )
  for (const file of ["sync.mjs", "async.mjs", "sync.cjs"])
    expect(node(file), file).toBe("BUNDLE_MISSING NO_SIGNATURES")
})

test("its types stand alone, for both kinds of module", () => {
  const source = `
    import { VERDICT_CODES, verify, type Verdict, type VerifyInput } from "@sealwright/verifier"
    import { openBundleSync, verifySync } from "@sealwright/verifier/node"
    export const ask = (input: VerifyInput): Verdict => verifySync(input)
    export const wait = (input: VerifyInput): Promise<Verdict> => verify(input)
    export const text: string = VERDICT_CODES.ACCEPTED.remedy
    export const open = openBundleSync({ read: () => undefined, pinnedRoot: new Uint8Array(), now: new Date() })
    // @ts-expect-error: an artifact needs a digest
    verifySync({ artifact: {}, envelopes: [], policy: undefined, now: new Date() })
  `
  const compilerOptions = {
    strict: true,
    noEmit: true,
    module: "nodenext",
    target: "es2022",
    lib: ["es2022"],
    types: [],
    skipLibCheck: false,
  }
  writeFileSync(join(consumer, "use.mts"), source)
  writeFileSync(join(consumer, "use.cts"), source)
  writeFileSync(join(consumer, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["use.mts", "use.cts"] }))
  const tsc = join(root, "node_modules/typescript/bin/tsc")
  try {
    execFileSync(process.execPath, [tsc, "-p", consumer], { encoding: "utf8" })
  } catch (error) {
    throw new Error(String((error as { stdout?: string }).stdout))
  }
  for (const part of ["verifier", "formats"]) {
    const folder = join(built.folder, "esm/types", part, "src")
    for (const file of readdirSync(folder))
      expect(readFileSync(join(folder, file), "utf8")).not.toMatch(/@sealwright\//)
  }
}, 60_000)

test("equal sources give equal packages", async () => {
  const again = await buildVerifier(join(work, "again"))
  expect(readFileSync(pack(again.folder))).toEqual(
    readFileSync(join(built.folder, "packed", readdirSync(join(built.folder, "packed"))[0] as string)),
  )
}, 120_000)

test("one file alone imports a module of Node", () => {
  const importing = ["packages/verifier/src", "packages/formats/src"].flatMap((folder) =>
    readdirSync(join(root, folder)).filter((file) =>
      /from "node:/.test(readFileSync(join(root, folder, file), "utf8")),
    ),
  )
  expect(importing).toEqual(["node-crypto.ts"])
})
