import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"

/** Throws an error that carries an AWS `code` (and `status`) unless the request is authentic. */
export type Authenticate = (request: IncomingMessage, body: Uint8Array) => unknown

export interface Listener {
  readonly port: number
  /** `http://127.0.0.1:port`: an address, so that SDKs use path style */
  readonly url: string
  close(): Promise<void>
}

const HOST = "127.0.0.1"
const MAX_HEADER_BYTES = 32 * 1024
const REQUEST_TIMEOUT_MS = 120_000
const HEADERS_TIMEOUT_MS = 10_000

/** Serves on the loopback address alone. @param port 0 lets the system choose */
export async function listenOnLoopback(
  answer: (request: IncomingMessage, response: ServerResponse) => Promise<void>,
  port: number,
): Promise<Listener> {
  const server = createServer(
    { maxHeaderSize: MAX_HEADER_BYTES, requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: HEADERS_TIMEOUT_MS },
    (request, response) => {
      answer(request, response).catch(() => response.destroy())
    },
  )
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject)
    server.listen(port, HOST, resolve)
  })
  const bound = (server.address() as AddressInfo).port
  return { port: bound, url: `http://${HOST}:${bound}`, close: () => closeServer(server) }
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}

/** Thrown before more than `maxBytes` were kept in memory. */
export class BodyTooLarge extends Error {}

/** Reads the whole body. @throws BodyTooLarge by the declared length before reading, else while reading; the request stays open for an answer */
export async function readBody(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const declared = Number(request.headers["content-length"] ?? 0)
  if (!(declared <= maxBytes)) throw new BodyTooLarge()
  const chunks: Buffer[] = []
  let length = 0
  const incoming: AsyncIterable<Buffer> = request.iterator({ destroyOnReturn: false })
  for await (const chunk of incoming) {
    length += chunk.length
    if (length > maxBytes) throw new BodyTooLarge()
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, length)
}

const DRAIN_MS = 500

/** Ends the connection after an answer that came before the body was read; leaves the client a moment to read the answer. */
export function closeAfterAnswer(request: IncomingMessage, response: ServerResponse): void {
  response.setHeader("connection", "close")
  response.once("finish", () => setTimeout(() => request.destroy(), DRAIN_MS).unref())
}
