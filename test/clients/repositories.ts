import { createServer } from "node:http"
import type { AddressInfo } from "node:net"

/** A static repository on loopback; its files may be exchanged while it serves. */
export interface StaticRepository {
  readonly url: string
  files: ReadonlyMap<string, Uint8Array>
  close(): Promise<void>
}

export async function serve(files: ReadonlyMap<string, Uint8Array>): Promise<StaticRepository> {
  const server = createServer((request, response) => {
    const path = decodeURIComponent((request.url ?? "/").slice(1))
    const bytes = repository.files.get(path)
    if (bytes === undefined) response.writeHead(404).end()
    else response.writeHead(200, { "content-length": bytes.length }).end(bytes)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const repository: StaticRepository = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    files,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
  return repository
}
