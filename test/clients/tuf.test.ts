import { createHash } from "node:crypto"
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { TUF_ROLES } from "@sealwright/core/model"
import { propose, rotateTufKey } from "@sealwright/core/tuf/flow"
import { readRoot } from "@sealwright/core/tuf/rules"
import { encodeMetadata, signedBytes } from "@sealwright/formats/tuf-encode"
import { Updater } from "tuf-js"
import { afterAll, beforeAll, expect, test } from "vitest"
import { PROJECT, run, withClients } from "../support/clients.ts"
import { ADMIN, createService, signRequest } from "../support/service.ts"
import { newPerson, signAll } from "../support/tuf-people.ts"
import { type StaticRepository, serve } from "./repositories.ts"

const LISTS = ["lists/revocations.json", "lists/allow.json"]
const DAY_SEC = 86_400

/** Who follows, with a memory in `folder`. @returns the lists' SHA-256, or why it refused */
interface Follower {
  readonly name: string
  readonly follow: (folder: string, url: string) => Promise<{ readonly targets?: unknown; readonly refused?: string }>
  /** how it calls each attack */
  readonly calls: {
    readonly rollback: RegExp
    readonly freeze: RegExp
    readonly mix: RegExp
    readonly unsigned: RegExp
  }
}

type Files = ReadonlyMap<string, Uint8Array>

withClients("R28, R32: any TUF client follows what is published", ["python", "go-tuf"], (python, goTuf) => {
  const work = mkdtempSync(join(tmpdir(), "sealwright-tuf-"))
  const root = join(work, "root.json")
  let older: Files
  let newer: Files
  let frozen: Files
  let shared: Awaited<ReturnType<typeof publishShared>>
  const frozenRoot = join(work, "frozen-root.json")
  let repository: StaticRepository

  beforeAll(async () => {
    const now = await publishTwice(0)
    older = now.older
    newer = now.newer
    frozen = (await publishTwice(-30 * DAY_SEC)).newer
    shared = await publishShared()
    writeFileSync(root, fileOf(newer, "1.root.json"))
    writeFileSync(frozenRoot, fileOf(frozen, "1.root.json"))
    repository = await serve(newer)
  }, 120_000)

  afterAll(async () => {
    await repository?.close()
    rmSync(work, { recursive: true, force: true })
  })

  const FOLLOWERS: readonly Follower[] = [
    {
      name: "python-tuf",
      follow: async (folder, url) => {
        const script = join(PROJECT, "test/clients/python_tuf.py")
        const own = [join(folder, "pinned.json"), join(folder, "metadata"), url, `${url}/targets`]
        const { status, stdout, stderr } = await run(python, [script, ...own, ...LISTS], { HOME: folder })
        if (status !== 0) throw new Error(stderr)
        return JSON.parse(stdout)
      },
      calls: {
        rollback: /^BadVersionNumberError$/,
        freeze: /^ExpiredMetadataError$/,
        mix: /^(RepositoryError|LengthOrHashMismatchError|DownloadLengthMismatchError)$/,
        unsigned: /^UnsignedMetadataError$/,
      },
    },
    {
      name: "tuf-js",
      follow: async (folder, url) => {
        const metadataDir = join(folder, "metadata")
        if (!readdirSync(metadataDir).includes("root.json"))
          copyFileSync(join(folder, "pinned.json"), join(metadataDir, "root.json"))
        const targetDir = join(folder, "targets")
        mkdirSync(targetDir, { recursive: true })
        try {
          const updater = new Updater({ metadataDir, metadataBaseUrl: url, targetDir, targetBaseUrl: `${url}/targets` })
          await updater.refresh()
          const targets: { [path: string]: string } = {}
          for (const path of LISTS) {
            const found = await updater.getTargetInfo(path)
            if (found === undefined) throw new Error(`no target ${path}`)
            targets[path] = sha256(readFileSync(await updater.downloadTarget(found)))
          }
          return { targets }
        } catch (error) {
          const { message } = error as Error
          const { name } = (error as Error).constructor
          return { refused: `${name}: ${message}` }
        }
      },
      calls: {
        rollback: /^BadVersionError: /,
        freeze: /^ExpiredMetadataError: /,
        mix: /Unable to load targets .*(Max length reached|hash|length)/,
        unsigned: /signed by 0\/2 keys|Unsigned|[Ss]ignature|threshold/,
      },
    },
    {
      name: "go-tuf",
      follow: async (folder, url) => {
        const client = (...args: string[]) => run(goTuf, [...args, "--url", url], { HOME: folder }, folder)
        const refusal = ({ stdout, stderr }: { stdout: string; stderr: string }) => ({
          refused: /Error: (.*)/.exec(stdout + stderr)?.[1] ?? "",
        })
        if (!readdirSync(folder).includes("tuf_metadata")) {
          copyFileSync(join(folder, "pinned.json"), join(folder, "root.json"))
          const begun = await client("init", "--file", "root.json")
          if (begun.status !== 0) return refusal(begun)
        }
        const targets: { [path: string]: string } = {}
        for (const path of LISTS) {
          const got = await client("get", path, "--turl", `${url}/targets`)
          if (got.status !== 0) return refusal(got)
          targets[path] = sha256(readFileSync(join(folder, "tuf_download", encodeURIComponent(path))))
        }
        return { targets }
      },
      calls: {
        rollback: /bad version number/,
        freeze: /expired/,
        // A delegated role that does not fit its hash counts as one that does not know the target.
        mix: /^target lists\/revocations\.json not found/,
        unsigned: /unsigned metadata/,
      },
    },
    {
      name: "our own client",
      follow: async (folder, url) => {
        const metadata = ["--metadata-dir", join(folder, "metadata")]
        const targetDir = join(folder, "targets")
        mkdirSync(targetDir, { recursive: true })
        const client = join(PROJECT, "test/support/tuf-client.ts")
        if (!readdirSync(join(folder, "metadata")).includes("root.json"))
          await run(process.execPath, [client, ...metadata, "init", join(folder, "pinned.json")])
        const names = LISTS.flatMap((path) => ["--target-name", path])
        const addresses = ["--metadata-url", url, "--target-base-url", `${url}/targets`, "--target-dir", targetDir]
        const { status, stderr } = await run(process.execPath, [
          client,
          ...metadata,
          ...addresses,
          ...names,
          "download",
        ])
        if (status !== 0) return { refused: stderr.split(" ")[0] ?? "" }
        const read = (path: string) => sha256(readFileSync(join(targetDir, encodeURIComponent(path))))
        return { targets: Object.fromEntries(LISTS.map((path) => [path, read(path)])) }
      },
      calls: {
        rollback: /^TUF_ROLLBACK$/,
        freeze: /^TUF_EXPIRED$/,
        mix: /^TUF_HASH_MISMATCH$/,
        unsigned: /^TUF_SIGNATURES_MISSING$/,
      },
    },
  ]

  function newFolder(pinned: string): string {
    const folder = mkdtempSync(join(work, "follower-"))
    mkdirSync(join(folder, "metadata"))
    copyFileSync(pinned, join(folder, "pinned.json"))
    return folder
  }

  test.each(FOLLOWERS)("$name refreshes, fetches the lists, and follows the next publication", async ({ follow }) => {
    const folder = newFolder(root)
    repository.files = older
    expect(await follow(folder, repository.url)).toEqual({ targets: digestsOf(older) })
    repository.files = newer
    expect(await follow(folder, repository.url)).toEqual({ targets: digestsOf(newer) })
    expect(digestsOf(newer)).not.toEqual(digestsOf(older))
  })

  test.each(FOLLOWERS)(
    "R29: $name follows a shared root and new keys of every role, and refuses a root that one key signed",
    async ({ follow, calls }) => {
      const { followed, short } = shared
      const pinned = join(work, "shared-root.json")
      writeFileSync(pinned, fileOf(followed[0] as Files, "1.root.json"))
      const folder = newFolder(pinned)
      for (const files of followed) {
        repository.files = files
        expect(await follow(folder, repository.url)).toEqual({ targets: digestsOf(files) })
      }
      repository.files = short
      expect((await follow(folder, repository.url)).refused).toMatch(calls.unsigned)
      repository.files = followed.at(-1) as Files
      expect(await follow(newFolder(pinned), repository.url)).toEqual({ targets: digestsOf(repository.files) })
    },
  )

  test.each(FOLLOWERS)("$name refuses a repository rolled back", async ({ follow, calls }) => {
    const folder = newFolder(root)
    repository.files = newer
    expect(await follow(folder, repository.url)).toEqual({ targets: digestsOf(newer) })
    repository.files = older
    expect((await follow(folder, repository.url)).refused).toMatch(calls.rollback)
  })

  test.each(FOLLOWERS)("$name refuses a repository that stood still", async ({ follow, calls }) => {
    repository.files = frozen
    expect((await follow(newFolder(frozenRoot), repository.url)).refused).toMatch(calls.freeze)
  })

  test.each(FOLLOWERS)("$name refuses old lists under new names", async ({ follow, calls }) => {
    const mixed = new Map(newer)
    mixed.set(newestLists(newer), fileOf(older, newestLists(older)))
    repository.files = mixed
    expect((await follow(newFolder(root), repository.url)).refused).toMatch(calls.mix)
  })
})

withClients("R32: cosign takes a mirror of ours over", ["cosign"], (cosign) => {
  const work = mkdtempSync(join(tmpdir(), "sealwright-cosign-tuf-"))
  afterAll(() => rmSync(work, { recursive: true, force: true }))

  test("`cosign initialize` follows it, and refuses one that stood still or was signed by another", async () => {
    const { newer } = await publishTwice(0)
    const frozen = (await publishTwice(-30 * DAY_SEC)).newer
    const repository = await serve(newer)
    const initialize = (home: string, files: Files, root: Files) => {
      repository.files = files
      mkdirSync(join(work, home))
      writeFileSync(join(work, home, "root.json"), fileOf(root, "1.root.json"))
      const args = ["initialize", "--mirror", repository.url, "--root", join(work, home, "root.json")]
      return run(cosign, args, { HOME: join(work, home) })
    }
    const followed = await initialize("followed", newer, newer)
    expect(followed, followed.stderr).toMatchObject({ status: 0, stdout: expect.stringContaining("trust-bundle.json") })
    expect(await initialize("frozen", frozen, frozen)).toMatchObject({ status: 1 })
    expect(await initialize("strange", newer, frozen)).toMatchObject({ status: 1 })
    await repository.close()
  })
})

/** A root of 2 among the service and two people, new keys of every role, and after that a root that one key alone signed. */
async function publishShared(): Promise<{ readonly followed: readonly Files[]; readonly short: Files }> {
  const service = createService()
  service.pass((Date.now() - service.ports.clock().getTime()) / 1000 - 600)
  await service.setUp()
  const show = async () => {
    service.pass(60)
    await service.publish(true)
    return published(service)
  }
  const followed = [await show()]
  const ann = await newPerson(service, "ann")
  const bob = await newPerson(service, "bob", "ed25519")
  const wish = { role: "root", keys: ["service", "ann", "bob"], threshold: 2, days: undefined } as const
  const waits = async (act: Promise<unknown>) => {
    await expect(act).rejects.toMatchObject({ code: "TUF_SIGNATURES_PENDING" })
    expect(await signAll(service, bob)).toBe(true)
  }
  await waits(propose(service.ports, wish, ADMIN))
  followed.push(await show())
  for (const role of TUF_ROLES) {
    const rotation = rotateTufKey(service.ports, role, 2, ADMIN)
    await (role === "lists" || role === "registry" ? rotation : waits(rotation))
    followed.push(await show())
  }
  const newest = followed.at(-1) as Files
  const version = Math.max(...[...newest.keys()].map((key) => Number(/^(\d+)\.root\.json$/.exec(key)?.[1] ?? 0)))
  const { signed } = readRoot(fileOf(newest, `${version}.root.json`))
  const next = {
    ...signed,
    version: version + 1,
    roles: { ...signed.roles, root: { keyids: [ann.keyid], threshold: 1 } },
  }
  const alone = encodeMetadata(next, [{ keyid: ann.keyid, signature: ann.sign(signedBytes(next)) }])
  return { followed, short: new Map([...newest, [`${version + 1}.root.json`, alone]]) }
}

/** Two publications of a whole service, made `shiftSec` from now: each as a reader finds it. */
async function publishTwice(shiftSec: number): Promise<{ readonly older: Files; readonly newer: Files }> {
  const service = createService()
  service.pass((Date.now() - service.ports.clock().getTime()) / 1000 + shiftSec - 60)
  await service.setUp()
  await service.profile("release")
  const [settled] = await service.signer()(signRequest(["one"]))
  if (settled === undefined || !("signed" in settled)) throw new Error("not signed")
  await service.publish(true)
  const older = published(service)
  service.pass(60)
  await service.revoke({ kind: "signature", signature: settled.signed.id })
  await service.publish(true)
  return { older, newer: published(service) }
}

function published(service: ReturnType<typeof createService>): Files {
  const tuf = [...service.memory.objects.dump()].filter(([key]) => key.startsWith("tuf/"))
  return new Map(tuf.map(([key, { bytes }]) => [key.slice("tuf/".length), bytes]))
}

function fileOf(files: Files, name: string): Uint8Array {
  const bytes = files.get(name)
  if (bytes === undefined) throw new Error(`no ${name} among ${[...files.keys()].join(" ")}`)
  return bytes
}

/** SHA-256 of the lists that the newest `lists` role names. */
function digestsOf(files: Files): { [path: string]: string } {
  const { signed } = JSON.parse(Buffer.from(fileOf(files, newestLists(files))).toString("utf8"))
  return Object.fromEntries(LISTS.map((path) => [path, signed.targets[path].hashes.sha256]))
}

function newestLists(files: Files): string {
  const versions = [...files.keys()].map((key) => Number(/^(\d+)\.lists\.json$/.exec(key)?.[1] ?? 0))
  return `${Math.max(...versions)}.lists.json`
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex")
}
