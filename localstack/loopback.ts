import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"

export interface HttpRequest {
  readonly method: string
  /** as received, before the "?" */
  readonly rawPath: string
  /** as received, after the first "?"; "" when there is none */
  readonly rawQuery: string
  /** names in lower case; a repeated header is joined with "," */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
  readonly sourceIp: string
}

export interface HttpReply {
  readonly status: number
  readonly headers: Readonly<Record<string, string | readonly string[]>>
  readonly body: Uint8Array | string
}

export interface LoopbackOptions {
  /** 0, the default, takes a free port */
  readonly port?: number
  /** the answer "hang-up" cuts the connection without a byte */
  readonly onRequest: (request: HttpRequest) => Promise<HttpReply | "hang-up">
  readonly maxBodyBytes: number
  /** sent as soon as the limit is passed; the rest of the body is read and dropped */
  readonly tooLarge: () => HttpReply
  /** sent when `onRequest` throws */
  readonly failed: (error: unknown) => HttpReply
}

export interface LoopbackServer {
  readonly port: number
  /** `http://127.0.0.1:port`, no slash at the end */
  readonly url: string
  close(): Promise<void>
}

const MAX_HEADER_BYTES = 32 * 1024
const MAX_HEADERS = 100
const HEADERS_TIMEOUT_MS = 10_000
const RECEIVE_TIMEOUT_MS = 60_000
const KEEP_ALIVE_MS = 60_000

/** An HTTP/1.1 server on 127.0.0.1 that bounds headers, body and time before anything is parsed. */
export async function listenOnLoopback(options: LoopbackOptions): Promise<LoopbackServer> {
  const server = createServer(
    {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: RECEIVE_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
    },
    (incoming, response) => {
      response.on("error", () => response.destroy())
      serve(incoming, response, options).catch(() => response.destroy())
    },
  )
  server.maxHeadersCount = MAX_HEADERS
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject)
    server.listen(options.port ?? 0, "127.0.0.1", () => {
      server.off("error", reject)
      resolve()
    })
  })
  const { port } = server.address() as AddressInfo
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function serve(incoming: IncomingMessage, response: ServerResponse, options: LoopbackOptions): Promise<void> {
  const body = await readBody(incoming, options.maxBodyBytes)
  if (body === "too large") {
    send(response, options.tooLarge(), incoming.method)
    incoming.resume()
    return
  }
  const target = incoming.url ?? ""
  if (!target.startsWith("/")) {
    send(response, { status: 400, headers: {}, body: "" }, incoming.method)
    return
  }
  const question = target.indexOf("?")
  const reply = await options
    .onRequest({
      method: incoming.method ?? "",
      rawPath: question < 0 ? target : target.slice(0, question),
      rawQuery: question < 0 ? "" : target.slice(question + 1),
      headers: joinHeaders(incoming.rawHeaders),
      body,
      sourceIp: incoming.socket.remoteAddress ?? "127.0.0.1",
    })
    .catch((error: unknown) => options.failed(error))
  if (reply === "hang-up") incoming.socket.destroy()
  else send(response, reply, incoming.method)
}

function send(response: ServerResponse, reply: HttpReply, method: string | undefined): void {
  const body = typeof reply.body === "string" ? Buffer.from(reply.body) : reply.body
  for (const [name, value] of Object.entries(reply.headers)) response.setHeader(name, value)
  if (!response.hasHeader("content-length") && reply.status !== 204 && reply.status !== 304) {
    response.setHeader("content-length", body.length)
  }
  response.writeHead(reply.status)
  response.end(method === "HEAD" ? undefined : body)
}

function readBody(incoming: IncomingMessage, maxBytes: number): Promise<Uint8Array | "too large"> {
  if (Number(incoming.headers["content-length"] ?? 0) > maxBytes) return Promise.resolve("too large")
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let length = 0
    const onData = (chunk: Buffer) => {
      length += chunk.length
      if (length <= maxBytes) chunks.push(chunk)
      else {
        incoming.off("data", onData)
        resolve("too large")
      }
    }
    incoming.on("data", onData)
    incoming.once("end", () => resolve(Buffer.concat(chunks)))
    incoming.once("error", reject)
  })
}

function joinHeaders(rawHeaders: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = Object.create(null)
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] as string).toLowerCase()
    const value = rawHeaders[i + 1] as string
    const earlier = headers[name]
    headers[name] = earlier === undefined ? value : `${earlier},${value}`
  }
  return headers
}
