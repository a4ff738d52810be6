import { existsSync, readFileSync } from "node:fs"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { parseCheckpoint } from "@sealwright/formats/checkpoint"
import { leafInput } from "@sealwright/formats/merkle"
import { parseNote } from "@sealwright/formats/signed-note"
import {
  allTiles,
  entriesPath,
  growTree,
  parseEntries,
  TileTree,
  tileHashes,
  tileOf,
  tilePath,
} from "@sealwright/formats/tlog-tiles"
import { afterAll, beforeAll, expect, test } from "vitest"
import { Fetcher } from "../../packages/cli/src/bundles/fetcher.ts"
import { logsAt } from "../../packages/cli/src/bundles/logs.ts"
import { mirrorTrust } from "../../packages/cli/src/bundles/update.ts"
import { scratch, writeFiles } from "../support/bundles.ts"
import { NOW, sha256 } from "../support/chains.ts"
import { Deployment } from "../support/deployment.ts"
import { nameLogs, servedFiles, TestLog } from "../support/log.ts"

/** A log behind a plain web server, a mirror of it behind another, and a reader who knows tlog-tiles alone. */

const work = scratch()
const ours = new Deployment()
const log = new TestLog().fill(300)
const events = new TestLog("events.example.test").fill(2)
const target = join(work.path, "mirrored")
let server: Server
let base = ""

beforeAll(async () => {
  server = createServer((request, reply) => {
    const path = join(work.path, request.url ?? "")
    if (existsSync(path)) reply.end(readFileSync(path))
    else reply.writeHead(404).end()
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  writeFiles(
    join(work.path, "origin"),
    ours.publish({
      change: (targets) => nameLogs(targets, { signatures: log, events, policy: log.policy() }),
    }),
  )
})

afterAll(() => {
  server.closeAllConnections()
  server.close()
  work.remove()
})

function serveLogs(signatures = log): void {
  writeFiles(join(work.path, "origin/log/signatures"), servedFiles(signatures))
  writeFiles(join(work.path, "origin/log/events"), servedFiles(events))
}

async function mirror(from: string, to = target) {
  const fetcher = new Fetcher(`${to}-partial`)
  const trust = { pinnedRoot: ours.pinnedRoot, now: NOW, floors: undefined }
  const logs = { source: logsAt(`${from}/log`, fetcher), copy: "entries", now: NOW, required: true } as const
  return await mirrorTrust(to, `${from}/tuf`, trust, fetcher, logs)
}

/** Reads the whole log as a stranger: every tile and entry by its name, the tree anew from the entries. */
async function readWhole(url: string): Promise<bigint> {
  const get = async (path: string) => {
    const answer = await fetch(`${url}/${path}`)
    expect(answer.status, path).toBe(200)
    return new Uint8Array(await answer.arrayBuffer())
  }
  const { size, root } = parseCheckpoint(parseNote(await get("checkpoint")).text)
  const tiles = new Map<string, Uint8Array>()
  for (const tile of allTiles(size)) tiles.set(tilePath(tile), await get(tilePath(tile)))
  expect(new TileTree(size, (tile) => tiles.get(tilePath(tile)), sha256).root()).toEqual(root)
  const entries: Uint8Array[] = []
  for (let index = 0n, tile = tileOf(0, index, size); tile !== undefined; tile = tileOf(0, ++index, size)) {
    const some = parseEntries(await get(entriesPath(tile)), tile.width)
    expect(some.map((entry) => sha256(leafInput(entry)))).toEqual(
      tileHashes(tiles.get(tilePath(tile)) as Uint8Array, tile.width),
    )
    entries.push(...some)
  }
  const again = growTree(0n, [], [], entries, sha256)
  expect(again.tree).toEqual({ size, root })
  expect(new Map([...again.tiles].map(([tile, bytes]) => [tilePath(tile), bytes]))).toEqual(tiles)
  return size
}

test("a mirrored folder behind a plain web server is the log, whole, and grows with it (R26, R30)", async () => {
  serveLogs()
  const first = await mirror(`${base}/origin`)
  expect(await readWhole(`${base}/mirrored/log/signatures`)).toBe(300n)
  expect(await readWhole(`${base}/mirrored/log/events`)).toBe(2n)
  expect(first.bundle.floors.logs?.get(log.origin)?.size).toBe(300n)
  log.fill(300)
  serveLogs()
  const next = await mirror(`${base}/origin`)
  expect(await readWhole(`${base}/mirrored/log/signatures`)).toBe(600n)
  expect(next.bytesFetched).toBeLessThan(next.bytesOfFullCopy)
  // Who has just read the checkpoint before still finds its edge.
  expect((await fetch(`${base}/mirrored/log/signatures/tile/0/001.p/44`)).status).toBe(200)
  expect(await mirror(`${base}/origin`)).toMatchObject({ filesWritten: 0 })
})

test("a mirror of the mirror is as good (R26)", async () => {
  await mirror(`${base}/mirrored`, join(work.path, "second"))
  expect(await readWhole(`${base}/second/log/signatures`)).toBe(600n)
})

test("a log that goes back or was written anew leaves the mirror as it was (R28)", async () => {
  const checkpoint = readFileSync(join(target, "log/signatures/checkpoint"))
  for (const [changed, code] of [
    [new TestLog(log.origin, log.signer).append(...log.entries.slice(0, 599)), "LOG_ROLLBACK"],
    [new TestLog(log.origin, log.signer).fill(600, "other"), "LOG_FORKED"],
    [new TestLog(log.origin, log.signer).fill(601, "other"), "LOG_INCONSISTENT"],
  ] as const) {
    serveLogs(changed)
    await expect(mirror(`${base}/origin`)).rejects.toMatchObject({ code })
    expect(readFileSync(join(target, "log/signatures/checkpoint"))).toEqual(checkpoint)
  }
  expect(await readWhole(`${base}/mirrored/log/signatures`)).toBe(600n)
})

test("a file that grows without end is cut off at its tile's size (R28)", async () => {
  const endless = createServer((request, reply) => {
    const path = join(work.path, "origin", request.url ?? "")
    if (request.url?.includes("/tile/0/")) reply.end(Buffer.alloc(1_000_000))
    else if (existsSync(path)) reply.end(readFileSync(path))
    else reply.writeHead(404).end()
  })
  await new Promise<void>((resolve) => endless.listen(0, "127.0.0.1", resolve))
  try {
    serveLogs()
    const url = `http://127.0.0.1:${(endless.address() as AddressInfo).port}`
    await expect(mirror(url, join(work.path, "third"))).rejects.toMatchObject({ code: "FILE_TOO_LARGE" })
    expect(existsSync(join(work.path, "third"))).toBe(false)
  } finally {
    endless.closeAllConnections()
    endless.close()
  }
})
