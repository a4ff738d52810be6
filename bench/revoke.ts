import { createHash, createHmac } from "node:crypto"
import { setTimeout as sleep } from "node:timers/promises"
import { SignatureV4 } from "@smithy/signature-v4"
import { type Deployment, IMAGE } from "./deployment.ts"
import { type Figure, quantile } from "./measure.ts"

const REVOCATIONS = 30
const POLL_MS = 5
const GIVE_UP_MS = 30_000

/** From the moment a revocation is acknowledged until a stranger can fetch the list that has it. */
export async function revokeFigures(deployment: Deployment): Promise<Figure[]> {
  const signed = await call(deployment, "pipeline", "/v1/profiles/p256/signatures", {
    subjects: Array.from({ length: REVOCATIONS }, (_, i) => ({
      subject: {
        mediaType: "application/vnd.oci.image.manifest.v1+json",
        digest: `sha256:${createHash("sha256").update(`bench ${i}`).digest("hex")}`,
        size: 528,
      },
      reference: `${IMAGE}:v1`,
    })),
  })
  const results = signed.results as { signature: { id: string } }[]
  const times: number[] = []
  for (const { signature } of results) {
    const { epoch } = await call(deployment, "revoker", "/v1/revocations", {
      target: { kind: "signature", signature: signature.id },
      reason: "keyCompromise",
    })
    const began = performance.now()
    while ((await publishedEpoch(deployment.service.trustUrl)) < (epoch as number)) {
      if (performance.now() - began > GIVE_UP_MS) throw new Error(`epoch ${epoch} did not appear`)
      await sleep(POLL_MS)
    }
    times.push(performance.now() - began)
  }
  const note = `${times.length} revocations, one after the other`
  return [
    { figure: "revoke: acknowledged to visible, p50", value: quantile(times, 0.5), unit: "ms", note },
    { figure: "revoke: acknowledged to visible, p95", value: quantile(times, 0.95), unit: "ms", note },
  ]
}

interface Meta {
  readonly signed: {
    readonly meta: { readonly [name: string]: { readonly version: number } }
    readonly targets: { readonly [path: string]: { readonly hashes: { readonly sha256: string } } }
  }
}

/** Walks the repository as a client does: timestamp, snapshot, lists, the list itself. */
async function publishedEpoch(trustUrl: string): Promise<number> {
  const get = async (path: string) => {
    const answer = await fetch(`${trustUrl}/tuf/${path}`)
    if (!answer.ok) throw new Error(`${path}: ${answer.status}`)
    return answer.json() as Promise<unknown>
  }
  const versionOf = (document: unknown, name: string) => (document as Meta).signed.meta[name]?.version
  const snapshot = await get(`${versionOf(await get("timestamp.json"), "snapshot.json")}.snapshot.json`)
  const lists = (await get(`${versionOf(snapshot, "lists.json")}.lists.json`)) as Meta
  const hash = lists.signed.targets["lists/revocations.json"]?.hashes.sha256
  const list = (await get(`targets/lists/${hash}.revocations.json`)) as { signed: { epoch: number } }
  return list.signed.epoch
}

class Sha256 {
  readonly #hash
  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    this.#hash = secret === undefined ? createHash("sha256") : createHmac("sha256", secret as string)
  }
  update(chunk: string | Uint8Array): void {
    this.#hash.update(chunk)
  }
  async digest(): Promise<Uint8Array> {
    return new Uint8Array(this.#hash.digest())
  }
  reset(): void {}
}

async function call(
  { service }: Deployment,
  role: string,
  path: string,
  content: unknown,
): Promise<{ readonly [name: string]: unknown }> {
  const url = new URL(service.apiUrl)
  const credentials = service.keys[role]
  if (credentials === undefined) throw new Error(`no role ${role}`)
  const signer = new SignatureV4({ service: "execute-api", region: "us-east-1", credentials, sha256: Sha256 })
  const body = JSON.stringify(content)
  const { headers } = await signer.sign({
    method: "POST",
    protocol: "http:",
    hostname: url.hostname,
    path,
    headers: { host: url.host, "content-type": "application/json" },
    body,
  })
  const answer = await fetch(new URL(path, url), { method: "POST", headers, body })
  const value = (await answer.json()) as { readonly [name: string]: unknown }
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${JSON.stringify(value)}`)
  return value
}
