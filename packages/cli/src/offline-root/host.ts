import { createHash } from "node:crypto"
import { createReadStream, readdirSync, readFileSync } from "node:fs"
import { arch, networkInterfaces, platform, release, userInfo } from "node:os"
import { basename, dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const OWN = fileURLToPath(import.meta.url)
/** The command as it is published is one folder, where this file is part of `main.mjs`. */
const PUBLISHED = basename(OWN) === "main.mjs"
const MANIFEST = PUBLISHED ? join(dirname(OWN), "package.json") : join(dirname(OWN), "../../package.json")

/**
 * What a transcript says of program and machine: which bytes ran, on what, and whether the machine had a network. Nothing of it is proof: a machine
 * that lies about its program lies here too.
 */
export async function hostFacts(): Promise<string[]> {
  const { version } = JSON.parse(readFileSync(MANIFEST, "utf8")) as { version: string }
  return [
    `program: sealwright ${version}, SHA-256 of its files ${programDigest()}`,
    `runtime: Node ${process.version} with OpenSSL ${process.versions.openssl}, SHA-256 of its executable ${await fileDigest(process.execPath)}`,
    `machine: ${platform()} ${release()}, ${arch()}, user ${printable(userInfo().username)}`,
    `network: ${networkFact()}`,
  ]
}

/** SHA-256 over one line a file, `<SHA-256>  <package>/<path>`, in the order of `LC_ALL=C sort -k2`: what `sha256sum` writes. */
function programDigest(): string {
  const packages = PUBLISHED ? { cli: dirname(OWN) } : sources()
  const files = Object.entries(packages).flatMap(([name, folder]) =>
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((path) => ({ path, name: name + path.slice(folder.length) })),
  )
  files.sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)))
  const all = createHash("sha256")
  for (const { path, name } of files)
    all.update(`${createHash("sha256").update(readFileSync(path)).digest("hex")}  ${name}\n`)
  return all.digest("hex")
}

function sources(): { readonly [name: string]: string } {
  return {
    adapters: folderOf("@sealwright/adapters/platform"),
    cli: dirname(dirname(OWN)),
    core: folderOf("@sealwright/core/errors"),
    formats: folderOf("@sealwright/formats/bytes"),
    verifier: folderOf("@sealwright/verifier/verdict"),
  }
}

function folderOf(module: string): string {
  return dirname(fileURLToPath(import.meta.resolve(module)))
}

async function fileDigest(path: string): Promise<string> {
  const hash = createHash("sha256")
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer)
  return hash.digest("hex")
}

function networkFact(): string {
  const up = Object.entries(networkInterfaces())
    .filter(([, addresses]) => addresses?.some(({ internal }) => !internal))
    .map(([name]) => printable(name))
  return up.length === 0 ? "no interface but loopback is up" : `INTERFACES ARE UP: ${up.join(", ")}`
}

function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, "?").slice(0, 64)
}
