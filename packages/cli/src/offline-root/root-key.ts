import { randomBytes } from "node:crypto"
import { join } from "node:path"
import { openLocalHome } from "@sealwright/adapters/local-keys"
import { findTokenKey } from "@sealwright/adapters/pkcs11/find-key"
import { isServiceError, ServiceError } from "@sealwright/core/errors"
import type { RootKeyHome } from "@sealwright/core/offline-root/ports"
import { invalid, type RootPlan } from "@sealwright/core/offline-root/script"
import type { KeyHome, KeyReference, SigningKeys } from "@sealwright/core/ports"
import { parsePkcs11Uri } from "@sealwright/formats/pkcs11-uri"
import type { Arguments } from "../arguments.ts"
import { localHome, newPasswordOf, passwordOf, tokenAccess } from "../keys.ts"

/** A root's key in its home, for one ceremony. */
export interface OpenedRootKey {
  readonly rootKey: RootKeyHome
  readonly keys: SigningKeys
  close(): Promise<void>
}

/** Opens the home of the key that the script names: a folder of encrypted files, or a token. */
export async function openRootKey(args: Arguments, plan: RootPlan): Promise<OpenedRootKey> {
  return plan.key.startsWith("pkcs11:") ? await openOnToken(args, plan) : await openInFolder(args, plan)
}

/** A key of this one rehearsal, in a folder that is removed after it, under a password that nobody knows. */
export async function openThrowawayKey(folder: string, plan: RootPlan): Promise<OpenedRootKey> {
  const password = randomBytes(32).toString("base64")
  const home = openLocalHome({ folder: join(folder, "keys"), password: async () => password, derivation: "pbkdf2" })
  if (plan.keyIs === "existing") await home.create("rehearsal", "root", plan.algorithm)
  return opened(home, "rehearsal", plan, () => home.find("rehearsal"))
}

async function openInFolder(args: Arguments, plan: RootPlan): Promise<OpenedRootKey> {
  const name = plan.key.slice("local:".length)
  let stands = true
  const home = localHome(args, () => (stands ? passwordOf : newPasswordOf)(args, `Password of ${plan.key}`)())
  const key = opened(home, name, plan, () => home.find(name))
  stands = (await key.rootKey.find()) !== undefined
  return key
}

async function openOnToken(args: Arguments, plan: RootPlan): Promise<OpenedRootKey> {
  const wanted = parsePkcs11Uri(plan.key)
  const access = tokenAccess(args)
  if (access === undefined) throw new ServiceError("PKCS11_MODULE_MISSING", "no PKCS #11 module is named")
  if (wanted.object === undefined || (plan.keyIs === "new" && wanted.id !== undefined))
    throw invalid("the key's URI names an object, and for a new key no id")
  const { module, packageFolder, pin } = access
  const { openPkcs11Home } = await import("@sealwright/adapters/pkcs11/home")
  const home = await openPkcs11Home({
    module,
    tokenLabel: wanted.token,
    pin,
    sessions: 1,
    ...(packageFolder !== undefined && { packageFolder }),
  })
  const { object } = wanted
  return opened(home, object, plan, async () => {
    // Two keys of one name are as bad as none, and no reason to make a third.
    if (!(await home.list()).some(({ name }) => name === object))
      throw new ServiceError("KEY_UNKNOWN", `the token ${wanted.token} has no key ${object}`)
    return await findTokenKey(home, wanted)
  })
}

function opened(home: KeyHome, name: string, plan: RootPlan, find: () => Promise<KeyReference>): OpenedRootKey {
  return {
    rootKey: {
      async find() {
        try {
          return await find()
        } catch (error) {
          if (isServiceError(error, "KEY_UNKNOWN") && !(await home.list()).some((standing) => standing.name === name))
            return undefined
          throw error
        }
      },
      make: () => home.create(name, "root", plan.algorithm),
    },
    keys: home,
    close: () => home.close(),
  }
}
