import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { Updater } from "tuf-js"
import { afterAll, beforeAll, expect, test } from "vitest"
import { startCdn } from "../../localstack/cdn/front.ts"
import type { LoopbackServer } from "../../localstack/loopback.ts"
import { run, withClients } from "../support/clients.ts"
import { type Running, startServer } from "../support/processes.ts"
import { createService } from "../support/service.ts"

const YEAR_SEC = 31_536_000
/** A reader behind a cache learns of a publication this late at most. */
const HEAD_SEC = 30
/** A name that is absent now may be there soon: the next root. */
const ABSENT_SEC = 10

withClients("R28: a cache in front keeps what never changes and asks again for what does", ["varnish"], (varnishd) => {
  const work = mkdtempSync(join(tmpdir(), "sealwright-varnish-"))
  const root = dirname(dirname(dirname(varnishd)))
  const libraries = `${join(root, "libraries")}:${join(root, "libraries/varnish")}`
  const service = createService()
  const asked: string[] = []
  let origin: LoopbackServer
  let cache: Running

  beforeAll(async () => {
    service.pass((Date.now() - service.ports.clock().getTime()) / 1000 - 60)
    await service.setUp()
    await service.profile("release")
    await service.publish(true)
    origin = await startCdn({
      publicPaths: ["tuf/", "crl/"],
      read: async (key) => {
        asked.push(key)
        const found = service.memory.objects.dump().get(key)
        return found && { ...found, body: found.bytes, etag: '"1"', lastModified: new Date() }
      },
    })
    const own = ["-F", "-j", "none", "-n", join(work, "run"), "-s", "malloc,32m", "-b", `127.0.0.1:${origin.port}`]
    cache = await startServer(varnishd, (port) => [...own, "-a", `127.0.0.1:${port}`], {
      environment: () => ({ LD_LIBRARY_PATH: libraries }),
    })
  }, 120_000)

  afterAll(async () => {
    await cache?.stop()
    await origin?.close()
    rmSync(work, { recursive: true, force: true })
  })

  /** Seconds that the cache keeps a path, by its own log. */
  async function keptSec(path: string): Promise<number> {
    await fetch(`${cache.url}/${path}`)
    const log = ["-n", join(work, "run"), "-d", "-g", "raw", "-i", "BereqURL,TTL"]
    const { stdout } = await run(join(root, "usr/bin/varnishlog"), log, { LD_LIBRARY_PATH: libraries })
    const lines = stdout.split("\n")
    const at = lines.findLastIndex((line) => line.endsWith(` b /${path}`))
    const transaction = lines[at]?.trim().split(/\s+/)[0]
    const found = lines.slice(at).find((line) => line.trim().startsWith(`${transaction} `) && / TTL +b RFC /.test(line))
    return Number(/ b RFC (-?\d+)/.exec(found ?? "")?.[1])
  }

  const published = () => [...service.memory.objects.dump().keys()]

  test("what a version or digest names is kept for a year, and asked for once", async () => {
    const names = published().filter((key) => /^tuf\/(?:\d|targets\/)/.test(key))
    expect(names.length).toBeGreaterThan(6)
    for (const name of names) {
      expect(await keptSec(name), name).toBe(YEAR_SEC)
      const bytes = new Uint8Array(await (await fetch(`${cache.url}/${name}`)).arrayBuffer())
      expect(bytes).toEqual(service.memory.objects.dump().get(name)?.bytes)
      expect(asked.filter((key) => key === name)).toHaveLength(1)
    }
  })

  test("heads are kept for half a minute, absent names for less", async () => {
    const heads = published().filter((key) => key === "tuf/timestamp.json" || key.startsWith("crl/"))
    expect(heads.length).toBeGreaterThan(1)
    for (const head of heads) expect(await keptSec(head), head).toBe(HEAD_SEC)
    expect(await keptSec("tuf/2.root.json")).toBeLessThanOrEqual(ABSENT_SEC)
    expect((await fetch(`${cache.url}/tuf/2.root.json`)).status).toBe(404)
  })

  test("no transfer coding changes the bytes that hashes are over", async () => {
    const response = await fetch(`${cache.url}/tuf/timestamp.json`, { headers: { "accept-encoding": "gzip, br" } })
    expect(response.headers.get("content-encoding")).toBeNull()
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(
      service.memory.objects.dump().get("tuf/timestamp.json")?.bytes,
    )
  })

  test("a TUF client follows through it", async () => {
    const metadataDir = mkdtempSync(join(work, "client-"))
    const targetDir = mkdtempSync(join(work, "targets-"))
    const first = service.memory.objects.dump().get("tuf/1.root.json")?.bytes as Uint8Array
    writeFileSync(join(metadataDir, "root.json"), first)
    const url = `${cache.url}/tuf`
    const updater = new Updater({ metadataDir, metadataBaseUrl: url, targetDir, targetBaseUrl: `${url}/targets` })
    await updater.refresh()
    expect(await updater.getTargetInfo("lists/revocations.json")).toBeDefined()
  })
})
