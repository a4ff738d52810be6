import { createServer, request } from "node:http"
import type { AddressInfo } from "node:net"

export interface Call {
  /** operation, e.g. `Sign` or `TransactWriteItems` */
  readonly operation: string
  readonly body: string
}

export interface CountingProxy {
  readonly url: string
  /** all calls since the last `clear` */
  readonly calls: readonly Call[]
  clear(): void
  close(): void
}

/**
 * Stands before one AWS endpoint, passes calls on unchanged and writes them down.
 * @param canned what a client hears of an operation, whatever the endpoint says: for a client that repeats a call whose condition no longer holds.
 * The endpoint is asked all the same, so that the client waits as long as others do
 */
export async function startCountingProxy(target: string, canned?: ReadonlyMap<string, string>): Promise<CountingProxy> {
  const calls: Call[] = []
  const { hostname, port } = new URL(target)
  const server = createServer((incoming, outgoing) => {
    const chunks: Buffer[] = []
    incoming.on("data", (chunk: Buffer) => chunks.push(chunk))
    incoming.on("end", () => {
      const body = Buffer.concat(chunks)
      const operation = String(incoming.headers["x-amz-target"]).split(".").at(-1) ?? ""
      calls.push({ operation, body: body.toString("utf8") })
      const answer = canned?.get(operation)
      const { method, url, headers } = incoming
      const onward = request({ hostname, port, method, path: url, headers }, (reply) => {
        if (answer !== undefined) {
          reply.resume().on("end", () => {
            outgoing.writeHead(200, { "content-type": "application/x-amz-json-1.0" }).end(answer)
          })
          return
        }
        outgoing.writeHead(reply.statusCode ?? 502, reply.headers)
        reply.pipe(outgoing)
      })
      onward.on("error", () => outgoing.destroy())
      onward.end(body)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    clear: () => void calls.splice(0),
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}
