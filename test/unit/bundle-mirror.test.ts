import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { dirname, join } from "node:path"
import { utf8 } from "@sealwright/formats/bytes"
import { openBundle } from "@sealwright/verifier/bundle"
import { runSync } from "@sealwright/verifier/node-crypto"
import type { BundleFloors } from "@sealwright/verifier/state"
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { folderReader } from "../../packages/cli/src/bundle-folder.ts"
import { Fetcher, PATIENCE, type Patience } from "../../packages/cli/src/bundles/fetcher.ts"
import { indexOfFolder, sha256Of, writeIndex } from "../../packages/cli/src/bundles/folder.ts"
import { besideOf } from "../../packages/cli/src/bundles/replace.ts"
import { mirrorBundle, mirrorTrust, type Updated } from "../../packages/cli/src/bundles/update.ts"
import { type Files, readFiles, scratch, writeFiles } from "../support/bundles.ts"
import { NOW } from "../support/chains.ts"
import { afterSec, Deployment } from "../support/deployment.ts"

/** A mirror that does what a test tells it to. */
interface Mirror {
  url: string
  files: Files
  /** answers in place of the files when it returns true */
  answer: (path: string, request: IncomingMessage, response: ServerResponse) => boolean
  asked: { readonly path: string; readonly range: string | undefined; readonly status: number }[]
  close(): void
}

const QUICK: Patience = { ...PATIENCE, attempts: 3, retries: 8, baseMs: 1, capMs: 4, idleMs: 150, requestMs: 2000 }
const work = scratch()
let mirror: Mirror
let counter = 0
let target = ""
let deployment: Deployment
let first: Files
let second: Files

beforeAll(async () => {
  mirror = await serveMirror()
})

afterAll(() => {
  mirror.close()
  work.remove()
})

beforeEach(() => {
  const at = join(work.path, String(counter++))
  mkdirSync(at)
  target = join(at, "bundle")
  deployment = new Deployment()
  first = withBulk(deployment.publish())
  second = withBulk(deployment.publish({ date: afterSec(60) }))
  serveTuf(first)
})

/** Files beside the trust data, as an export has them. */
function withBulk(files: Files): Files {
  return new Map([...files, ["policy/trustpolicy.json", utf8("{}")], ["log/tile/0/000", utf8("t".repeat(60_000))]])
}

/** What a web server over a bundle's `tuf` folder answers. */
function serveTuf(files: Files): void {
  mirror.files = new Map(
    [...files].flatMap(([path, bytes]) => (path.startsWith("tuf/") ? [[path.slice(4), bytes]] : [])),
  )
  mirror.answer = () => false
  mirror.asked = []
}

/** What a web server over a bundle's folder answers. */
function serveBundle(files: Files, change: (folder: string) => void = () => undefined): void {
  const folder = writeFiles(join(dirname(target), `served-${counter++}`), files)
  writeIndex(folder, indexOfFolder(folder, { date: NOW, epoch: 1 }))
  change(folder)
  mirror.files = new Map(
    [...readFiles(folder)].map(([path, text]) => [path, new Uint8Array(Buffer.from(text, "latin1"))]),
  )
  mirror.answer = () => false
  mirror.asked = []
}

const trust = (floors?: BundleFloors) => ({ pinnedRoot: deployment.pinnedRoot, now: afterSec(120), floors })
const fetcher = () => new Fetcher(besideOf(target, "partial"), QUICK)
const update = (floors?: BundleFloors): Promise<Updated> => mirrorTrust(target, mirror.url, trust(floors), fetcher())
const updateAll = (floors?: BundleFloors): Promise<Updated> =>
  mirrorBundle(target, mirror.url, { ...trust(floors), keys: [], maxBytes: 10_000_000 }, fetcher())
const opens = () =>
  runSync(openBundle({ read: folderReader(target), pinnedRoot: deployment.pinnedRoot, now: afterSec(120) }))
const epoch = () => {
  const bundle = opens()
  return bundle.ok ? bundle.freshness.find(({ part }) => part === "lists/revocations.json")?.version : bundle.code
}

describe("a mirror follows with what changed alone (R26)", () => {
  test("from a TUF repository: the first copy is whole, a repeat is a timestamp by its ETag, the next takes the difference", async () => {
    const whole = await update()
    expect(whole.bytesFetched).toBe(whole.bytesOfFullCopy)
    expect(epoch()).toBe(1)
    const before = readFiles(target)
    const again = await update()
    expect({ bytes: again.bytesFetched, files: again.filesWritten }).toEqual({ bytes: 0, files: 0 })
    expect(mirror.asked.at(-1)?.status).toBe(304)
    expect(readFiles(target)).toEqual(before)
    serveTuf(second)
    const next = await update()
    expect(epoch()).toBe(2)
    expect(next.bytesFetched).toBeLessThan(next.bytesOfFullCopy)
    expect(mirror.asked.some(({ path, status }) => path.includes("trust-bundle.json") && status === 200)).toBe(false)
  })

  test("CRLs stand where certificates say, and are of the lists' epoch", async () => {
    await update()
    serveTuf(second)
    await update()
    const crls = readdirSync(join(target, "crl"))
    expect(crls).toHaveLength(2)
    for (const name of crls) {
      const listed = [...second].find(([path]) => path.endsWith(`.${name}`))?.[1] as Uint8Array
      expect(new Uint8Array(readFileSync(join(target, "crl", name)))).toEqual(listed)
    }
  })

  test("clients in the middle of the set before still find it; the one after that takes it away", async () => {
    await update()
    serveTuf(second)
    await update()
    expect(existsSync(join(target, "tuf/1.snapshot.json"))).toBe(true)
    serveTuf(deployment.publish({ date: afterSec(90) }))
    await update()
    expect(existsSync(join(target, "tuf/1.snapshot.json"))).toBe(false)
    expect(existsSync(join(target, "tuf/2.snapshot.json"))).toBe(true)
  })

  test("from a bundle: files that are as the index says are not asked for again", async () => {
    serveBundle(first)
    const whole = await updateAll()
    expect(whole.bytesFetched).toBe(whole.bytesOfFullCopy)
    expect(readFiles(target)).toEqual(
      new Map([...mirror.files].map(([path, bytes]) => [path, Buffer.from(bytes).toString("latin1")])),
    )
    serveBundle(second)
    const next = await updateAll()
    expect(next.bytesFetched).toBeLessThan(next.bytesOfFullCopy / 3)
    expect(mirror.asked.map(({ path }) => path)).not.toContain("log/tile/0/000")
    expect(readFileSync(join(target, "log/tile/0/000"), "utf8")).toBe("t".repeat(60_000))
    expect(epoch()).toBe(2)
    expect((await updateAll()).bytesFetched).toBe(0)
  })

  test("a cut download goes on where it was, in the same run and in the next", async () => {
    serveBundle(first)
    const big = mirror.files.get("log/tile/0/000") as Uint8Array
    let cuts = 0
    mirror.answer = (path, request, response) => {
      if (path !== "log/tile/0/000" || cuts >= 3) return false
      cuts += 1
      const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0)
      const head = {
        "content-length": big.length - from,
        "content-range": `bytes ${from}-${big.length - 1}/${big.length}`,
      }
      response.writeHead(from > 0 ? 206 : 200, head).write(big.subarray(from, from + 10_000), () => response.destroy())
      return true
    }
    await expect(updateAll()).rejects.toMatchObject({ code: "UNREACHABLE" })
    expect(existsSync(target)).toBe(false)
    mirror.asked = []
    const updated = await updateAll()
    const ranges = mirror.asked.filter(({ path }) => path === "log/tile/0/000").map(({ range }) => range)
    expect(ranges).toEqual([expect.stringMatching(/^bytes=[1-3]\d{4}-$/)])
    expect(updated.bytesFetched).toBeLessThan(updated.bytesOfFullCopy)
    expect(epoch()).toBe(1)
    expect(readdirSync(besideOf(target, "partial")).filter((name) => !name.startsWith("head-"))).toEqual([])
  })

  test("a server without ranges gives it whole", async () => {
    serveBundle(first)
    const big = mirror.files.get("log/tile/0/000") as Uint8Array
    mkdirSync(besideOf(target, "partial"))
    writeFileSync(join(besideOf(target, "partial"), `${sha256Of(big)}.part`), "t".repeat(100))
    mirror.answer = (path, _, response) => {
      if (path !== "log/tile/0/000") return false
      response.writeHead(200, { "content-length": big.length }).end(big)
      return true
    }
    await updateAll()
    expect(readFileSync(join(target, "log/tile/0/000"))).toEqual(Buffer.from(big))
  })

  test("failures that pass are tried again, under one budget", async () => {
    let failures = 0
    mirror.answer = (_, __, response) => {
      if (failures >= 2) return false
      failures += 1
      response.writeHead(503).end()
      return true
    }
    await update()
    expect(epoch()).toBe(1)
    let asked = 0
    mirror.answer = (_, __, response) => {
      asked += 1
      response.writeHead(500).end()
      return true
    }
    await expect(update()).rejects.toMatchObject({ code: "UNREACHABLE", status: 5 })
    expect(asked).toBe(QUICK.attempts)
    expect(epoch()).toBe(1)
  })
})

describe("a hostile mirror is refused, and the bundle stays as it was (R28)", () => {
  interface Attack {
    readonly name: string
    readonly code: string | RegExp
    readonly whole?: true
    readonly serve: () => void
  }

  const later = () => serveTuf(second)
  const swap = (path: RegExp, bytes: (good: Uint8Array) => Uint8Array) => {
    mirror.files = new Map([...mirror.files].map(([each, good]) => [each, path.test(each) ? bytes(good) : good]))
  }
  const reply = (path: RegExp, act: (response: ServerResponse) => void) => {
    mirror.answer = (each, _, response) => {
      if (!path.test(each)) return false
      act(response)
      return true
    }
  }
  const flipped = (good: Uint8Array) => {
    const copy = Uint8Array.from(good)
    copy[good.length >> 1] = (good[good.length >> 1] as number) ^ 1
    return copy
  }
  const endless = (response: ServerResponse) => {
    response.writeHead(200)
    const more = () => {
      while (!response.destroyed && response.write(Buffer.alloc(65_536, 0x20)));
    }
    response.on("drain", more)
    more()
  }
  const bundleOf = (files: Files, change?: (folder: string) => void) => serveBundle(files, change)

  const ATTACKS: readonly Attack[] = [
    { name: "a rolled-back repository", code: "TUF_ROLLBACK", serve: () => serveTuf(first) },
    {
      name: "old lists under new names",
      // Signatures vary in length: where the old list is the longer one, the limit comes first.
      code: /^(?:TUF_HASH_MISMATCH|FILE_TOO_LARGE)$/,
      serve: () => {
        third()
        const old = [...first].find(([path]) => path.endsWith("1.lists.json"))?.[1] as Uint8Array
        swap(/^3\.lists\.json$/, () => old)
      },
    },
    {
      name: "a swapped target",
      code: "FETCHED_OTHER_BYTES",
      serve: () => {
        third()
        swap(/revocations\.json$/, flipped)
      },
    },
    {
      name: "an endless timestamp",
      code: "FILE_TOO_LARGE",
      serve: () => {
        later()
        reply(/timestamp/, endless)
      },
    },
    {
      name: "an endless target",
      code: "FILE_TOO_LARGE",
      serve: () => {
        third()
        reply(/revocations\.json$/, endless)
      },
    },
    {
      name: "an endless root",
      code: "FILE_TOO_LARGE",
      serve: () => {
        later()
        reply(/root\.json$/, endless)
      },
    },
    {
      name: "a compressed body",
      code: "ENCODING_REFUSED",
      serve: () => {
        later()
        reply(/timestamp/, (response) => response.writeHead(200, { "content-encoding": "gzip" }).end("x"))
      },
    },
    {
      name: "a redirect",
      code: "REDIRECT_REFUSED",
      serve: () => {
        later()
        reply(/timestamp/, (response) => response.writeHead(302, { location: "/elsewhere" }).end())
      },
    },
    {
      name: "silence",
      code: "UNREACHABLE",
      serve: () => {
        later()
        reply(/timestamp/, (response) => response.writeHead(200).flushHeaders())
      },
    },
    {
      name: "a cut",
      code: "UNREACHABLE",
      serve: () => {
        later()
        reply(/timestamp/, (response) => response.destroy())
      },
    },
    {
      name: "a target that is gone",
      code: /TUF_MISSING|TUF_TARGET/,
      serve: () => {
        third()
        reply(/revocations\.json$/, (response) => response.writeHead(404).end())
      },
    },
    { name: "another deployment's repository", code: /^TUF_/, serve: () => serveTuf(new Deployment().publish()) },
    { name: "a bundle that is older", code: "TUF_ROLLBACK", whole: true, serve: () => bundleOf(first) },
    {
      name: "a bundle with a swapped file",
      code: "FETCHED_OTHER_BYTES",
      whole: true,
      serve: () => bundleOf(thirdFiles(), (folder) => writeFileSync(join(folder, "tuf/timestamp.json"), "{}")),
    },
    {
      name: "a bundle with a file that grows without end",
      code: "FILE_TOO_LARGE",
      whole: true,
      serve: () => {
        bundleOf(thirdFiles())
        reply(/tuf\/timestamp/, endless)
      },
    },
    {
      name: "an index that climbs",
      code: "PATH_REFUSED",
      whole: true,
      serve: () =>
        bundleOf(thirdFiles(), (folder) => {
          const index = join(folder, "bundle-index.json")
          writeFileSync(index, readFileSync(index, "utf8").replace("log/tile/0/000", "../escaped"))
        }),
    },
    {
      name: "an index of a petabyte",
      code: "BUNDLE_TOO_LARGE",
      whole: true,
      serve: () =>
        bundleOf(thirdFiles(), (folder) => {
          const index = join(folder, "bundle-index.json")
          writeFileSync(index, readFileSync(index, "utf8").replace('"size":60000', '"size":1000000000000000'))
        }),
    },
    {
      name: "an endless index",
      code: "FILE_TOO_LARGE",
      whole: true,
      serve: () => {
        bundleOf(first)
        reply(/bundle-index/, endless)
      },
    },
    { name: "no index", code: "BUNDLE_NOT_INDEXED", whole: true, serve: () => serveTuf(first) },
    {
      name: "a mixture of two bundles under an index of its own",
      code: /^TUF_|^LIST_/,
      whole: true,
      serve: () => {
        const files = new Map(thirdFiles())
        files.set(
          "tuf/timestamp.json",
          deployment.publish({ date: afterSec(100) }).get("tuf/timestamp.json") as Uint8Array,
        )
        bundleOf(files)
      },
    },
  ]

  let thirdFiles: () => Files
  const third = () => serveTuf(thirdFiles())

  test.each(ATTACKS)("$name: $code", async ({ code, whole, serve }) => {
    serveTuf(second)
    const { bundle } = await update()
    const made = withBulk(deployment.publish({ date: afterSec(90) }))
    thirdFiles = () => made
    const before = readFiles(target)
    const around = readdirSync(dirname(target)).sort()
    serve()
    const attempt = whole ? updateAll(bundle.floors) : update(bundle.floors)
    await expect(attempt).rejects.toMatchObject({ code: typeof code === "string" ? code : expect.stringMatching(code) })
    expect(readFiles(target)).toEqual(before)
    const now = readdirSync(dirname(target))
      .filter((name) => !name.startsWith("served-"))
      .sort()
    expect(now).toEqual(around.filter((name) => !name.startsWith("served-")))
    expect(existsSync(join(dirname(target), "escaped"))).toBe(false)
    // The honest mirror is followed again, whatever the hostile one left of its bytes.
    serveTuf(made)
    expect((await update(bundle.floors)).bundle.ok).toBe(true)
    expect(epoch()).toBeGreaterThan(2)
  })
})

async function serveMirror(): Promise<Mirror> {
  const server = createServer((request, response) => {
    const path = decodeURIComponent((request.url ?? "/").slice(1))
    const note = () => mirror.asked.push({ path, range: request.headers.range, status: response.statusCode })
    response.on("error", () => undefined)
    if (mirror.answer(path, request, response)) {
      note()
      return
    }
    const bytes = mirror.files.get(path)
    const etag = bytes && `"${sha256Of(bytes).slice(0, 16)}"`
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0)
    if (bytes === undefined || etag === undefined) response.writeHead(404).end()
    else if (request.headers["if-none-match"] === etag) response.writeHead(304, { etag }).end()
    else {
      const range = { "content-range": `bytes ${from}-${bytes.length - 1}/${bytes.length}` }
      response.writeHead(from > 0 ? 206 : 200, { etag, "content-length": bytes.length - from, ...(from > 0 && range) })
      response.end(bytes.subarray(from))
    }
    note()
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    files: new Map(),
    answer: () => false,
    asked: [],
    close: () => {
      server.close()
      server.closeAllConnections()
    },
  }
}
