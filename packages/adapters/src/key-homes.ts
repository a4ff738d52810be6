import { resolve } from "node:path"
import { ServiceError } from "@sealwright/core/errors"
import { parsePkcs11Uri } from "@sealwright/formats/pkcs11-uri"
import { readKeyFile, unlock } from "./key-file.ts"
import { checkFits, preferredScheme, signInProcess } from "./key-pair.ts"
import { openLocalHome } from "./local-keys.ts"
import type { OpenedKey } from "./opened-key.ts"
import { findTokenKey } from "./pkcs11/find-key.ts"
import type { ClientSettings } from "./sdk.ts"

export interface KeyAccess {
  /** where `local:NAME` is found */
  readonly folder: string
  /** of local keys; asked for when the key is first needed */
  readonly password: () => Promise<string>
  readonly kms: ClientSettings
  /** undefined: keys on tokens can't be opened */
  readonly pkcs11: TokenAccess | undefined
}

export interface TokenAccess {
  /** absolute path of the vendor's library */
  readonly module: string
  /** folder that graphene-pk11 is installed in; undefined: beside this code */
  readonly packageFolder: string | undefined
  readonly pin: () => Promise<string>
}

/**
 * Opens a key wherever it lives (R1):
 * - `local:NAME` a key of the folder, e.g. `local:release`; `local:/…`, `local:./…` and `local:../…` a key file;
 * - `awskms:ARN`, `awskms:KEY-ID`, `awskms:alias/NAME` a key of AWS KMS;
 * - `pkcs11:token=LABEL;object=NAME` and as RFC 7512 has it, a key on a token.
 * @throws ServiceError KEY_HOME_UNKNOWN; KEY_UNKNOWN, KEY_PASSWORD_WRONG, KEY_FILE_UNSAFE, KEY_FILE_MALFORMED, KEY_ALGORITHM_UNSUPPORTED and
 * SECRET_UNAVAILABLE for local keys; KEY_NOT_USABLE and SIGNER_UNAVAILABLE for KMS; KEY_UNKNOWN, PKCS11_MODULE_MISSING, PKCS11_TOKEN_UNKNOWN,
 * PIN_INCORRECT, PIN_LOCKED, PIN_UNREADABLE and SIGNER_UNAVAILABLE for tokens
 * @throws FormatError URI_MALFORMED, TOO_LARGE for a URI that is not as `parsePkcs11Uri` reads it
 */
export async function openKey(uri: string, access: KeyAccess): Promise<OpenedKey> {
  const [, home, rest = ""] = /^([a-z0-9]+):(.+)$/s.exec(uri) ?? []
  switch (home) {
    case "local":
      return /^\.{0,2}\//.test(rest) ? await openFile(resolve(rest), access) : await openInFolder(rest, access)
    case "awskms":
      return await openInKms(rest, access)
    case "pkcs11":
      return await openOnToken(uri, access)
    default:
      throw new ServiceError("KEY_HOME_UNKNOWN", "a key is named local:…, awskms:… or pkcs11:…")
  }
}

async function openInFolder(name: string, { folder, password }: KeyAccess): Promise<OpenedKey> {
  const home = openLocalHome({ folder, password })
  return { key: await home.find(name), keys: home, close: () => home.close() }
}

/** A key file by its path: the file itself must be its owner's alone, where it lies is the caller's choice. */
async function openFile(path: string, { password }: KeyAccess): Promise<OpenedKey> {
  const file = await readKeyFile(path)
  if (file === undefined) throw new ServiceError("KEY_UNKNOWN", `there is no file ${path}`)
  let unlocked: ReturnType<typeof unlock> | undefined
  const open = (): ReturnType<typeof unlock> => {
    unlocked ??= password().then((given) => unlock(path, file, given))
    return unlocked
  }
  const spki = file.spki ?? (await open()).spki
  const key = { keyId: `local:${path}`, scheme: preferredScheme(spki), spki }
  return {
    key,
    keys: {
      async sign({ scheme }, message) {
        checkFits(key.keyId, spki, scheme)
        return signInProcess((await open()).privateKey, scheme, message)
      },
    },
    async close() {
      unlocked = undefined
    },
  }
}

/** The SDK is loaded for keys in KMS alone. */
async function openInKms(identifier: string, { kms }: KeyAccess): Promise<OpenedKey> {
  const { openKmsKey } = await import("./kms.ts")
  const region = /^arn:[a-z-]+:kms:([a-z0-9-]+):/.exec(identifier)?.[1]
  return await openKmsKey(identifier, { ...kms, ...(region !== undefined && { region }) })
}

async function openOnToken(uri: string, { pkcs11 }: KeyAccess): Promise<OpenedKey> {
  const wanted = parsePkcs11Uri(uri)
  if (pkcs11 === undefined) throw new ServiceError("PKCS11_MODULE_MISSING", "no PKCS #11 module is named")
  const { module, packageFolder, pin } = pkcs11
  const { openPkcs11Home } = await import("./pkcs11/home.ts")
  const home = await openPkcs11Home({
    module,
    tokenLabel: wanted.token,
    pin,
    sessions: 1,
    ...(packageFolder !== undefined && { packageFolder }),
  })
  try {
    return { key: await findTokenKey(home, wanted), keys: home, close: () => home.close() }
  } catch (error) {
    await home.close()
    throw error
  }
}
