/** A witness after the text of C2SP tlog-witness, over HTTP on this machine, and ways for it to misbehave. It shares no parser with what it tests. */
import { createHash, verify as verifyWithKey } from "node:crypto"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import type { Cosign } from "@sealwright/core/log/witness"
import { base64Encode, concat, hexDecode } from "@sealwright/formats/bytes"
import { parseCheckpoint } from "@sealwright/formats/checkpoint"
import { parseNote } from "@sealwright/formats/signed-note"
import type { NoteSigner } from "./log.ts"

export interface WitnessedTree {
  readonly size: bigint
  readonly root: Buffer
}

export type Misbehaviour = (request: string, reply: ServerResponse, behave: () => void) => void

export class FakeWitness {
  readonly signers: readonly NoteSigner[]
  /** latest cosigned tree, by origin */
  readonly trees = new Map<string, WitnessedTree>()
  /** raw Ed25519 keys of the logs that it knows, by origin */
  readonly logs = new Map<string, Uint8Array>()
  readonly requests: string[] = []
  misbehave: Misbehaviour | undefined
  clock = () => new Date()
  #server: Server | undefined

  constructor(...signers: readonly NoteSigner[]) {
    this.signers = signers
  }

  async listen(): Promise<string> {
    const server = createServer((request, reply) => void this.#serve(request, reply))
    this.#server = server
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/prefix`
  }

  async close(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    server?.closeAllConnections()
    if (server !== undefined) await new Promise((resolve) => server.close(resolve))
  }

  async #serve(request: IncomingMessage, reply: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = Buffer.concat(chunks).toString("utf8")
    this.requests.push(body)
    const behave = () => {
      const {
        status,
        type = "text/plain",
        text = "",
      } = request.method === "POST" && request.url === "/prefix/add-checkpoint" ? this.#answer(body) : { status: 405 }
      reply.writeHead(status, { "content-type": type }).end(text)
    }
    if (this.misbehave === undefined) behave()
    else this.misbehave(body, reply, behave)
  }

  #answer(body: string): { status: number; type?: string; text?: string } {
    const cut = body.indexOf("\n\n")
    const [oldLine = "", ...proofLines] = body.slice(0, cut).split("\n")
    const note = body.slice(cut + 2)
    const signatures = note.lastIndexOf("\n\n")
    const text = note.slice(0, signatures + 1)
    const [origin = "", sizeLine = "", rootLine = ""] = text.split("\n")
    const old = /^old (0|[1-9][0-9]*)$/.exec(oldLine)?.[1]
    if (cut < 0 || old === undefined || proofLines.length > 63) return { status: 400 }
    const key = this.logs.get(origin)
    if (key === undefined) return { status: 404 }
    if (!isSigned(note.slice(signatures + 2), text, origin, key)) return { status: 403 }
    const size = BigInt(sizeLine)
    const root = Buffer.from(rootLine, "base64")
    if (BigInt(old) > size) return { status: 400 }
    const latest = this.trees.get(origin) ?? { size: 0n, root: sha256(Buffer.alloc(0)) }
    if (BigInt(old) !== latest.size) return { status: 409, type: "text/x.tlog.size", text: `${latest.size}\n` }
    if (
      !continues(
        latest,
        { size, root },
        proofLines.map((line) => Buffer.from(line, "base64")),
      )
    )
      return { status: 422 }
    this.trees.set(origin, { size, root })
    const now = this.clock()
    const lines = this.signers.map((signer) => {
      const { name, keyId, signature } = signer.sign({ origin, size, root }, now, text)
      return `\u2014 ${name} ${base64Encode(concat(hexDecode(keyId), signature))}\n`
    })
    return { status: 200, text: lines.join("") }
  }
}

function sha256(...parts: readonly Buffer[]): Buffer {
  return createHash("sha256").update(Buffer.concat(parts)).digest()
}

function isSigned(lines: string, text: string, origin: string, key: Uint8Array): boolean {
  const jwk = { kty: "OKP", crv: "Ed25519", x: Buffer.from(key).toString("base64url") }
  const id = sha256(Buffer.from(`${origin}\n`), Buffer.from([1]), Buffer.from(key)).subarray(0, 4)
  const own = lines.split("\n").flatMap((line) => {
    const [dash, name, encoded = ""] = line.split(" ")
    const bytes = Buffer.from(encoded, "base64")
    return dash === "\u2014" && name === origin && bytes.subarray(0, 4).equals(id) ? [bytes.subarray(4)] : []
  })
  return (
    own.length > 0 &&
    own.every((signature) => verifyWithKey(null, Buffer.from(text), { key: jwk, format: "jwk" }, signature))
  )
}

/** RFC 6962 §2.1.2 read as its definition: PROOF is taken apart recursively, and both roots are put together. */
function continues(old: WitnessedTree, next: WitnessedTree, proof: readonly Buffer[]): boolean {
  if (old.size === 0n) return proof.length === 0 && (next.size > 0n || next.root.equals(sha256(Buffer.alloc(0))))
  if (old.size === next.size) return proof.length === 0 && old.root.equals(next.root)
  const rest = [...proof]
  const node = (left: Buffer, right: Buffer) => sha256(Buffer.from([1]), left, right)
  const sub = (m: bigint, n: bigint, whole: boolean): { readonly old: Buffer; readonly next: Buffer } | undefined => {
    if (m === n) {
      const root = whole ? old.root : rest.shift()
      return root && { old: root, next: root }
    }
    let k = 1n
    while (k * 2n < n) k *= 2n
    const inner = m <= k ? sub(m, k, whole) : sub(m - k, n - k, false)
    const sibling = rest.shift()
    if (inner === undefined || sibling === undefined) return undefined
    return m <= k
      ? { old: inner.old, next: node(inner.next, sibling) }
      : { old: node(sibling, inner.old), next: node(sibling, inner.next) }
  }
  const roots = sub(old.size, next.size, true)
  return roots !== undefined && rest.length === 0 && roots.old.equals(old.root) && roots.next.equals(next.root)
}

/** Witnesses without a network or a memory, whose every request succeeds: a step of the seed's own order between the ports' calls. */
export function cosignAlways(signers: readonly NoteSigner[], clock: () => Date): Cosign {
  return async (_, { note }) => {
    const { text } = parseNote(note)
    const head = parseCheckpoint(text)
    const signatures = signers.map((signer) => signer.sign(head, clock(), text))
    return { signatures, seen: new Map([["https://w.example/", head.size]]), failures: [] }
  }
}
