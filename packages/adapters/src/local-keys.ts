/** Private keys in a folder of this machine, each in a file of its own, encrypted under a password (R1). */
import type { KeyObject } from "node:crypto"
import { lstat, mkdir, readdir } from "node:fs/promises"
import { dirname, join, relative, resolve, sep } from "node:path"
import { ServiceError } from "@sealwright/core/errors"
import type { KeyHome, KeyReference, NamedKey } from "@sealwright/core/ports"
import { bytesEqual } from "@sealwright/formats/bytes"
import { schemesOfKey } from "@sealwright/formats/key-scheme"
import { parsePublicKey } from "@sealwright/formats/x509"
import { type DerivationName, encryptKey } from "./key-encryption.ts"
import { createKeyFile, type KeyFile, readKeyFile, type UnlockedKey, unlock } from "./key-file.ts"
import { checkFits, type KeyPair, makeKeyPair, preferredScheme, signInProcess, spkiOf } from "./key-pair.ts"
import { checkOwnersAlone, unsafe } from "./own-file.ts"
import { randomBytes } from "./platform.ts"

export interface LocalHomeSettings {
  /** made with permissions 0700 when it is not there */
  readonly folder: string
  /** of every key in the folder; asked for once, when it is first needed */
  readonly password: () => Promise<string>
  /** default: `scrypt` */
  readonly derivation?: DerivationName
}

export interface LocalHome extends KeyHome {
  /**
   * Takes in a private key that was made elsewhere, re-encrypted under this home's password.
   * @throws ServiceError ALREADY_EXISTS, KEY_ALGORITHM_UNSUPPORTED, KEY_PASSWORD_SHORT
   */
  add(name: string, privateKey: KeyObject, publicKey: KeyObject): Promise<KeyReference>
  /** @throws ServiceError KEY_UNKNOWN; KEY_PASSWORD_WRONG where the file does not tell its public key */
  find(name: string): Promise<KeyReference>
}

const PREFIX = "local:"
const SUFFIX = ".key.pem"
/** Folders and a file, none of them hidden, e.g. `issuer/ci-2026`. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}(?:\/[A-Za-z0-9][A-Za-z0-9._-]{0,63}){0,3}$/
const MIN_PASSWORD_LENGTH = 12

/**
 * Opens a folder of key files. A key is decrypted when it first signs, stays in this process as an opaque object, and is forgotten by `close`.
 * Codes of every call, beside those of `KeyHome`: KEY_FILE_UNSAFE, KEY_FILE_MALFORMED, and SECRET_UNAVAILABLE from the password's source.
 * An RSA key signs under both paddings with the hash of its size; its reference names the one that was asked for, RSA-PSS in a list.
 */
export function openLocalHome({ folder, password, derivation = "scrypt" }: LocalHomeSettings): LocalHome {
  const root = resolve(folder)
  const unlocked = new Map<string, Promise<UnlockedKey>>()
  let asked: Promise<string> | undefined

  /** What failed or did not fit is asked for again, so that a mistyped password is not final. */
  const secret = (): Promise<string> => {
    asked ??= password().catch((error: unknown) => {
      asked = undefined
      throw error
    })
    return asked
  }
  const pathOf = (name: string): string => {
    if (!NAME.test(name)) throw new ServiceError("KEY_UNKNOWN", `${name} is no name of a key in a folder`)
    return join(root, ...name.split("/")) + SUFFIX
  }

  async function read(name: string): Promise<KeyFile | undefined> {
    const path = pathOf(name)
    for (let at = dirname(path); at !== dirname(root); at = dirname(at)) if (!(await isOwnFolder(at))) return undefined
    return await readKeyFile(path)
  }

  function open(name: string, file: KeyFile): Promise<UnlockedKey> {
    const known = unlocked.get(name)
    if (known !== undefined) return known
    const opening = secret()
      .then((given) => unlock(pathOf(name), file, given))
      .catch((error: unknown) => {
        unlocked.delete(name)
        asked = undefined
        throw error
      })
    unlocked.set(name, opening)
    return opening
  }

  async function publicKeyOf(name: string): Promise<Uint8Array | undefined> {
    const file = await read(name)
    return file && (file.spki ?? (await open(name, file)).spki)
  }

  async function store(name: string, scheme: KeyReference["scheme"], pair: KeyPair): Promise<KeyReference> {
    const given = await secret()
    if ([...given].length < MIN_PASSWORD_LENGTH)
      throw new ServiceError(
        "KEY_PASSWORD_SHORT",
        `a new key's password has at least ${MIN_PASSWORD_LENGTH} characters`,
      )
    const path = pathOf(name)
    await makeFolders(dirname(path))
    const pkcs8 = pair.privateKey.export({ type: "pkcs8", format: "der" })
    const spki = spkiOf(pair.publicKey)
    try {
      const created = await createKeyFile(path, await encryptKey(pkcs8, given, derivation, randomBytes), spki)
      if (!created) throw new ServiceError("ALREADY_EXISTS", `there is a key ${name}`)
    } finally {
      pkcs8.fill(0)
    }
    return { keyId: PREFIX + name, scheme, spki }
  }

  async function makeFolders(path: string): Promise<void> {
    await mkdir(path, { recursive: true, mode: 0o700 })
    for (let at = path; at !== dirname(root); at = dirname(at)) await isOwnFolder(at)
  }

  async function list(): Promise<readonly NamedKey[]> {
    if (!(await isOwnFolder(root))) return []
    const files = await readdir(root, { recursive: true, withFileTypes: true })
    const names = files
      .filter((entry) => entry.isFile() && entry.name.endsWith(SUFFIX))
      .map((entry) => relative(root, join(entry.parentPath, entry.name)).split(sep).join("/").slice(0, -SUFFIX.length))
      .filter((name) => NAME.test(name))
      .sort()
    const found: NamedKey[] = []
    for (const name of names) found.push({ name, key: await find(name) })
    return found
  }

  async function find(name: string): Promise<KeyReference> {
    const spki = await publicKeyOf(name)
    if (spki === undefined) throw new ServiceError("KEY_UNKNOWN", `there is no key ${name} in ${root}`)
    return { keyId: PREFIX + name, scheme: preferredScheme(spki), spki }
  }

  return {
    async create(name, _purpose, scheme) {
      const standing = (): Promise<KeyReference | undefined> =>
        publicKeyOf(name).then((spki) => spki && existing(name, spki, scheme))
      const found = await standing()
      if (found !== undefined) return found
      try {
        return await store(name, scheme, makeKeyPair(scheme))
      } catch (error) {
        if (!(error instanceof ServiceError) || error.code !== "ALREADY_EXISTS") throw error
        return (await standing()) ?? Promise.reject(error)
      }
    },
    async sign({ keyId, scheme, spki }, message) {
      const name = keyId.startsWith(PREFIX) ? keyId.slice(PREFIX.length) : ""
      const file = NAME.test(name) ? await read(name) : undefined
      if (file === undefined) throw new ServiceError("KEY_NOT_USABLE", `there is no key ${keyId} in ${root}`)
      const key = await open(name, file)
      if (!bytesEqual(key.spki, spki)) throw new ServiceError("KEY_NOT_USABLE", `${keyId} is another key by now`)
      checkFits(keyId, spki, scheme)
      return signInProcess(key.privateKey, scheme, message)
    },
    async add(name, privateKey, publicKey) {
      return await store(name, preferredScheme(spkiOf(publicKey)), { privateKey, publicKey })
    },
    find,
    list,
    async close() {
      unlocked.clear()
      asked = undefined
    },
  }
}

function existing(name: string, spki: Uint8Array, scheme: KeyReference["scheme"]): KeyReference {
  if (!schemesOfKey(parsePublicKey(spki)).includes(scheme))
    throw new ServiceError("ALREADY_EXISTS", `the key ${name} has another algorithm`)
  return { keyId: PREFIX + name, scheme, spki }
}

/** @returns false when it is not there. @throws ServiceError KEY_FILE_UNSAFE */
async function isOwnFolder(path: string): Promise<boolean> {
  const stats = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined
    throw unsafe(path, `cannot be read (${error.code})`, error)
  })
  if (stats === undefined) return false
  if (!stats.isDirectory()) throw unsafe(path, "is not a folder")
  checkOwnersAlone(path, stats.mode)
  return true
}
