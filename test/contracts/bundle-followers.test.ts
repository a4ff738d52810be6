import { spawnSync } from "node:child_process"
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { BUNDLE_MARKER, BUNDLE_TYPE } from "@sealwright/verifier/bundle"
import { Updater } from "tuf-js"
import { afterAll, expect, test } from "vitest"
import { Fetcher } from "../../packages/cli/src/bundles/fetcher.ts"
import { besideOf } from "../../packages/cli/src/bundles/replace.ts"
import { mirrorTrust } from "../../packages/cli/src/bundles/update.ts"
import { readFiles, scratch } from "../support/bundles.ts"
import { createService, signRequest } from "../support/service.ts"

const work = scratch()
const closing: (() => void)[] = []
afterAll(() => {
  for (const close of closing) close()
  work.remove()
})

/** A plain web server: paths to bytes, and nothing more. */
async function serve(read: () => ReadonlyMap<string, string | Uint8Array>): Promise<string> {
  const server = createServer((request, response) => {
    const bytes = read().get(decodeURIComponent((request.url ?? "/").slice(1)))
    if (bytes === undefined) response.writeHead(404).end()
    else response.writeHead(200).end(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  closing.push(
    () => server.closeAllConnections(),
    () => server.close(),
  )
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

test("a plain web server over a mirrored folder is a TUF repository for an unmodified client, and a place of CRLs (R26, R28, R32)", async () => {
  const service = createService()
  service.pass((Date.now() - service.ports.clock().getTime()) / 1000 - 120)
  await service.setUp()
  await service.profile("release")
  const published = () => new Map([...service.memory.objects.dump()].map(([key, { bytes }]) => [key, bytes]))
  await service.publish(true)
  const origin = await serve(published)
  const pinnedRoot = published().get("tuf/1.root.json") as Uint8Array
  const target = join(work.path, "bundle")
  const mirror = () => {
    const trust = { pinnedRoot, now: new Date(), floors: undefined }
    return mirrorTrust(target, `${origin}/tuf`, trust, new Fetcher(besideOf(target, "partial")))
  }
  await mirror()
  const copy = await serve(() => readFiles(target))

  const [metadataDir, targetDir] = [join(work.path, "metadata"), join(work.path, "targets")]
  mkdirSync(metadataDir)
  mkdirSync(targetDir)
  writeFileSync(join(work.path, "root.json"), pinnedRoot)
  copyFileSync(join(work.path, "root.json"), join(metadataDir, "root.json"))
  const follow = async (): Promise<string> => {
    const updater = new Updater({
      metadataDir,
      metadataBaseUrl: `${copy}/tuf`,
      targetDir,
      targetBaseUrl: `${copy}/tuf/targets`,
    })
    await updater.refresh()
    const found = await updater.getTargetInfo("lists/revocations.json")
    if (found === undefined) throw new Error("no list")
    return readFileSync(await updater.downloadTarget(found), "utf8")
  }
  const epoch = (list: string): number => JSON.parse(list).signed.epoch
  const before = epoch(await follow())
  const [settled] = await service.signer()(signRequest(["one"]))
  if (settled === undefined || !("signed" in settled)) throw new Error("not signed")
  service.pass(60)
  await service.revoke({ kind: "signature", signature: settled.signed.id })
  await service.publish(true)
  expect(epoch(await follow())).toBe(before)
  await mirror()
  expect(epoch(await follow())).toBeGreaterThan(before)

  for (const [path, bytes] of published()) {
    if (!path.startsWith("crl/")) continue
    const served = new Uint8Array(await (await fetch(`${copy}/${path}`)).arrayBuffer())
    expect(served, path).toEqual(new Uint8Array(bytes))
    const shown = spawnSync("openssl", ["crl", "-inform", "DER", "-noout", "-text"], { input: served })
    if (shown.error === undefined) expect(String(shown.stdout)).toContain("Certificate Revocation List")
  }
  expect(readFiles(target).get(BUNDLE_MARKER)).toContain(BUNDLE_TYPE)
}, 60_000)
