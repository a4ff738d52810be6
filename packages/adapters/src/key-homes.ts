import { resolve } from "node:path"
import { ServiceError } from "@sealwright/core/errors"
import { readKeyFile, unlock } from "./key-file.ts"
import { checkFits, preferredScheme, signInProcess } from "./key-pair.ts"
import { openLocalHome } from "./local-keys.ts"
import type { OpenedKey } from "./opened-key.ts"
import type { ClientSettings } from "./sdk.ts"

export interface KeyAccess {
  /** where `local:NAME` is found */
  readonly folder: string
  /** of local keys; asked for when the key is first needed */
  readonly password: () => Promise<string>
  readonly kms: ClientSettings
}

/**
 * Opens a key wherever it lives (R1):
 * - `local:NAME` a key of the folder, e.g. `local:release`; `local:/…`, `local:./…` and `local:../…` a key file;
 * - `awskms:ARN`, `awskms:KEY-ID`, `awskms:alias/NAME` a key of AWS KMS.
 * @throws ServiceError KEY_HOME_UNKNOWN; KEY_UNKNOWN, KEY_PASSWORD_WRONG, KEY_FILE_UNSAFE, KEY_FILE_MALFORMED, KEY_ALGORITHM_UNSUPPORTED and
 * SECRET_UNAVAILABLE for local keys; KEY_NOT_USABLE and SIGNER_UNAVAILABLE for KMS
 */
export async function openKey(uri: string, access: KeyAccess): Promise<OpenedKey> {
  const [, home, rest = ""] = /^([a-z0-9]+):(.+)$/s.exec(uri) ?? []
  switch (home) {
    case "local":
      return /^\.{0,2}\//.test(rest) ? await openFile(resolve(rest), access) : await openInFolder(rest, access)
    case "awskms":
      return await openInKms(rest, access)
    default:
      throw new ServiceError("KEY_HOME_UNKNOWN", "a key is named local:… or awskms:…")
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
