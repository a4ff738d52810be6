import { createHash } from "node:crypto"
import { closeSync, constants, fstatSync, lstatSync, mkdirSync, openSync, readdirSync, readSync, rmSync } from "node:fs"
import { join } from "node:path"
import { base64Decode, bytesEqual, utf8 } from "@sealwright/formats/bytes"
import { pemEncode } from "@sealwright/formats/pem"
import { array, integer, object, openObject, string } from "@sealwright/formats/shape"
import { parseJson } from "@sealwright/formats/strict-json"
import { parseCertificate } from "@sealwright/formats/x509"
import { BUNDLE_MARKER, BUNDLE_TYPE } from "@sealwright/verifier/bundle"
import { writeFileWhole } from "./files.ts"

const NAME = /^[A-Za-z0-9][A-Za-z0-9._%-]{0,200}$/

/**
 * Reads a bundle's files. Names that could leave the folder, links and anything that is no plain file count as absent.
 * @returns undefined when there is no such file; of a longer file `maxBytes + 1` bytes
 */
export function folderReader(folder: string): (path: string, maxBytes: number) => Uint8Array | undefined {
  return (path, maxBytes) => {
    const names = path.split("/")
    if (!names.every((name) => NAME.test(name))) return undefined
    let at = folder
    for (const name of names.slice(0, -1)) {
      at = join(at, name)
      if (lstatSync(at, { throwIfNoEntry: false })?.isDirectory() !== true) return undefined
    }
    return readPlainFile(join(at, names.at(-1) ?? ""), maxBytes)
  }
}

function readPlainFile(path: string, maxBytes: number): Uint8Array | undefined {
  let file: number
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch {
    return undefined
  }
  try {
    const stats = fstatSync(file)
    if (!stats.isFile()) return undefined
    const bytes = new Uint8Array(Math.min(stats.size, maxBytes + 1))
    let at = 0
    while (at < bytes.length) {
      const read = readSync(file, bytes, at, bytes.length - at, null)
      if (read === 0) break
      at += read
    }
    return bytes.subarray(0, at)
  } finally {
    closeSync(file)
  }
}

/** What makes a folder a bundle. */
export function writeMarker(folder: string): void {
  writeFileWhole(join(folder, BUNDLE_MARKER), utf8(`${JSON.stringify({ mediaType: BUNDLE_TYPE })}\n`))
}

const TIMESTAMP = "tuf/timestamp.json"

/**
 * Brings a folder to a verified set of trust data: new files first, the timestamp last, then what nothing names any more is removed. A cut at any
 * moment leaves the old set or the new one whole.
 * @param kept paths that stay although nothing names them, for clients that are in the middle of the set before
 */
export function writeTrustData(
  folder: string,
  files: ReadonlyMap<string, Uint8Array>,
  kept: ReadonlySet<string> = new Set(),
): { readonly written: number; readonly bytes: number } {
  const read = folderReader(folder)
  let written = 0
  let total = 0
  const write = (path: string, bytes: Uint8Array) => {
    const standing = read(path, bytes.length)
    if (standing !== undefined && Buffer.compare(standing, bytes) === 0) return
    writeFileWhole(join(folder, path), bytes)
    written += 1
    total += bytes.length
  }
  for (const [path, bytes] of files) if (path.startsWith("tuf/") && path !== TIMESTAMP) write(path, bytes)
  const timestamp = files.get(TIMESTAMP)
  if (timestamp !== undefined) write(TIMESTAMP, timestamp)
  for (const path of listFiles(folder, "tuf"))
    if (!files.has(path) && !kept.has(path) && !path.endsWith(".root.json")) rmSync(join(folder, path), { force: true })
  return { written, bytes: total }
}

/** Where certificates say that CRLs are: a web server over the folder answers `http://<CRL host>/crl/<issuer key id>.crl`. */
export function writeCrls(folder: string, crls: ReadonlyMap<string, Uint8Array>): void {
  mkdirSync(join(folder, "crl"), { recursive: true })
  const read = folderReader(folder)
  const kept = new Set<string>()
  for (const [issuerKeyId, bytes] of crls) {
    const path = `crl/${issuerKeyId}.crl`
    kept.add(path)
    const standing = read(path, bytes.length)
    if (standing === undefined || Buffer.compare(standing, bytes) !== 0) writeFileWhole(join(folder, path), bytes)
  }
  for (const path of listFiles(folder, "crl")) if (!kept.has(path)) rmSync(join(folder, path), { force: true })
}

function listFiles(folder: string, below: string): string[] {
  const entries = readdirSync(join(folder, below), { withFileTypes: true })
  return entries.flatMap((entry) => {
    const path = `${below}/${entry.name}`
    return entry.isDirectory() ? listFiles(folder, path) : [path]
  })
}

const statement = object({
  name: string(4000),
  registryScopes: array(string(255), 10_000, 1),
  signatureVerification: object({ level: string(20) }),
  trustStores: array(string(100), 1_000, 1),
  trustedIdentities: array(string(1000), 10_000, 1),
})
const certificates = array(string(21_848), 10_000, 1)
const storeName = string(80, /^[A-Za-z0-9_-]+$/)
const store = object({ type: string(20, /^(?:signingAuthority|ca)$/), name: storeName, certificates })
const treeShape = openObject(
  {
    mediaType: string(100, /^application\/vnd\.sealwright\.notation-tree\.v1\+json$/),
    epoch: integer(1),
    trustPolicy: object({ version: string(10), trustPolicies: array(statement, 10_000) }),
    trustStore: store,
    crls: array(object({ url: string(2048, /^http:\/\//), target: string(100, /^lists\/[0-9a-f]{64}\.crl$/) }), 10_001),
  },
  { externalStores: array(store, 10_000), timestampStores: array(object({ name: storeName, certificates }), 1_000) },
)

export type NotationTree = ReturnType<typeof treeShape>

export const MAX_TREE_BYTES = 4 * 1024 * 1024
export const NOTATION_TREE = "notation/tree.json"

/** @throws FormatError for bytes that are no notation tree */
export function parseNotationTree(bytes: Uint8Array): NotationTree {
  return treeShape(parseJson(bytes, { maxBytes: MAX_TREE_BYTES }), "notation tree")
}

/** Whether a certificate is one of the roots, or was issued by one. */
function belongsTo(roots: readonly Uint8Array[]): (der: Uint8Array) => boolean {
  if (roots.length === 0) return () => false
  const names = roots.map((der) => parseCertificate(der).subject.der)
  return (der) => {
    const { issuer, subject } = parseCertificate(der)
    if (bytesEqual(issuer.der, subject.der)) return roots.some((root) => bytesEqual(root, der))
    return names.some((name) => bytesEqual(name, issuer.der))
  }
}

/**
 * Writes what notation reads: with `XDG_CONFIG_HOME=<bundle>/notation/config` and `XDG_CACHE_HOME=<bundle>/notation/cache` it verifies offline,
 * CRLs included. The policy comes last, so that a half-written tree trusts nothing new.
 * @param crlOf the verified CRL behind a target of the bundle
 * @param waiting roots that nobody has accepted: they are left out, and the issuers below them
 */
export function writeNotationTree(
  folder: string,
  tree: Uint8Array,
  crlOf: (target: string) => Uint8Array | undefined,
  waiting: readonly Uint8Array[],
): void {
  const isLeft = belongsTo(waiting)
  const { trustPolicy, trustStore, externalStores = [], timestampStores = [], crls } = parseNotationTree(tree)
  const config = join(folder, "notation/config/notation")
  const kept = new Set<string>()
  const writeStore = (type: string, name: string, roots: readonly string[]) => {
    for (const [i, root] of roots.entries()) {
      if (isLeft(base64Decode(root))) continue
      const path = `truststore/x509/${type}/${name}/root-${i + 1}.crt`
      if (kept.has(path)) continue
      writeFileWhole(join(config, path), utf8(pemEncode("CERTIFICATE", base64Decode(root))))
      kept.add(path)
    }
  }
  const named = new Set(trustPolicy.trustPolicies.flatMap(({ trustStores }) => trustStores))
  for (const { type, name, certificates: roots } of [trustStore, ...externalStores]) {
    writeStore(type, name, roots)
    // Signatures with a timestamp are of the scheme whose roots notation looks for under `ca`.
    if (named.has(`ca:${name}`)) writeStore("ca", name, roots)
  }
  for (const { name, certificates: roots } of timestampStores) writeStore("tsa", name, roots)
  for (const path of listFiles(config, "truststore")) if (!kept.has(path)) rmSync(join(config, path), { force: true })
  for (const { url, target } of crls) {
    const crl = crlOf(target)
    if (crl === undefined) continue
    const name = createHash("sha256").update(url).digest("hex")
    writeFileWhole(
      join(folder, "notation/cache/notation/crl", name),
      utf8(JSON.stringify({ baseCRL: Buffer.from(crl).toString("base64") })),
    )
  }
  writeFileWhole(join(config, "trustpolicy.json"), utf8(`${JSON.stringify(trustPolicy, null, 2)}\n`))
  writeFileWhole(join(folder, NOTATION_TREE), tree)
}
