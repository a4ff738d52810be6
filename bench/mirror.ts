import { createHash } from "node:crypto"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { sequence } from "@sealwright/core/log/flow"
import { LOG_KINDS, type SignatureRecord } from "@sealwright/core/model"
import { Fetcher } from "../packages/cli/src/bundles/fetcher.ts"
import type { LogCopy } from "../packages/cli/src/bundles/log-tree.ts"
import { logsAt } from "../packages/cli/src/bundles/logs.ts"
import { besideOf } from "../packages/cli/src/bundles/replace.ts"
import { mirrorTrust } from "../packages/cli/src/bundles/update.ts"
import type { Figure } from "./measure.ts"
import { readyService, type Service, signMany, waitAgain } from "./memory-log.ts"

const SIGNED = 500
const BEFORE = { signatures: 20_000, revocations: 100 }
const HOUR = { signatures: 3_600, revocations: 5, publications: 6 }
const NOTE = `${HOUR.signatures.toLocaleString("en")} signatures logged, ${HOUR.revocations} revocations, ${HOUR.publications} publications; ${BEFORE.signatures.toLocaleString("en")} signatures and ${BEFORE.revocations} revocations before`

const COPIES = {
  "trust data": undefined,
  "and log heads": "seen",
  "and log tiles": "tiles",
  "and whole logs": "entries",
} as const satisfies Record<string, LogCopy | undefined>

/** Bytes that a mirror fetches for an hour, as `sealwright mirror` counts them, beside all that the updated bundle's parts have. */
export async function mirrorFigures(): Promise<Figure[]> {
  const service = await readyService()
  const records = await signMany(service, SIGNED, "before")
  await logged(service, records, BEFORE.signatures - SIGNED)
  for (const { id } of records.slice(0, BEFORE.revocations)) await service.revoke({ kind: "signature", signature: id })
  await published(service)
  const folder = mkdtempSync(join(tmpdir(), "sealwright-mirror-"))
  const bucket = await serve(service)
  try {
    const names = Object.keys(COPIES) as (keyof typeof COPIES)[]
    const update = async (name: keyof typeof COPIES) => {
      const target = join(folder, name.replaceAll(" ", "-"))
      const now = service.ports.clock()
      const trust = { pinnedRoot: pinnedRoot(service), now, floors: undefined }
      const fetcher = new Fetcher(besideOf(target, "partial"))
      const copy = COPIES[name]
      const logs = copy && { source: logsAt(`${bucket.url}/log`, fetcher), copy, now, required: true }
      return await mirrorTrust(target, `${bucket.url}/tuf`, trust, fetcher, logs)
    }
    for (const name of names) await update(name)
    await passHour(service, records)
    const figures: Figure[] = []
    for (const name of names) {
      const { bytesFetched, bytesOfFullCopy } = await update(name)
      figures.push(
        { figure: `mirror: an hour's update, ${name}`, value: bytesFetched, unit: "bytes", note: NOTE },
        { figure: `mirror: a full copy, ${name}`, value: bytesOfFullCopy, unit: "bytes" },
        {
          figure: `mirror: an hour's update against a full copy, ${name}`,
          value: bytesFetched / bytesOfFullCopy,
          unit: "x",
        },
      )
    }
    return figures
  } finally {
    bucket.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

async function passHour(service: Service, records: readonly SignatureRecord[]): Promise<void> {
  const revoked = records.slice(BEFORE.revocations)
  for (let i = 0; i < HOUR.publications; i++) {
    service.pass(3600 / HOUR.publications)
    await logged(service, records, HOUR.signatures / HOUR.publications)
    const { id } = revoked[i] as SignatureRecord
    if (i < HOUR.revocations) await service.revoke({ kind: "signature", signature: id })
    await published(service)
  }
}

async function published(service: Service): Promise<void> {
  await service.publish(true)
  for (const kind of LOG_KINDS) await sequence(service.ports, kind)
}

async function logged(service: Service, records: readonly SignatureRecord[], count: number): Promise<void> {
  await waitAgain(service, records, count)
  while ((await sequence(service.ports, "signatures")).logged > 0);
}

function pinnedRoot(service: Service): Uint8Array {
  const root = service.memory.objects.dump().get("tuf/1.root.json")?.bytes
  if (root === undefined) throw new Error("no root")
  return root
}

/** The bucket behind a plain web server, with ETags. */
async function serve({ memory }: Service): Promise<{ readonly url: string; close(): void }> {
  const server = createServer((request, response) => {
    memory.objects.get(decodeURIComponent((request.url ?? "/").slice(1)), 2 ** 30).then((stored) => {
      if (stored === undefined) return response.writeHead(404).end()
      const etag = `"${createHash("sha256").update(stored.bytes).digest("hex")}"`
      if (request.headers["if-none-match"] === etag) return response.writeHead(304, { etag }).end()
      return response.writeHead(200, { etag, "content-length": stored.bytes.length }).end(stored.bytes)
    })
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}
