import { createHash } from "node:crypto"
import { join, resolve } from "node:path"
import { openKey, type TokenAccess } from "@sealwright/adapters/key-homes"
import { type LocalHome, openLocalHome } from "@sealwright/adapters/local-keys"
import type { OpenedKey } from "@sealwright/adapters/opened-key"
import { pinSource } from "@sealwright/adapters/pkcs11/pin-sources"
import { secretSource } from "@sealwright/adapters/secret-sources"
import { ERROR_CODES, ServiceError } from "@sealwright/core/errors"
import type { KeyReference } from "@sealwright/core/ports"
import { SCHEMES, type SignatureScheme } from "@sealwright/formats/algorithms"
import { FormatError } from "@sealwright/formats/errors"
import type { Arguments } from "./arguments.ts"
import { configFolder } from "./config-folder.ts"
import { CommandFailure, EXIT, usage } from "./exit.ts"

/** AWS's SDK is loaded when a secret of its Secrets Manager is asked for. */
const PLACES = {
  readAwsSecret: async (id: string) => {
    const { openReadSecret } = await import("@sealwright/adapters/secrets-manager")
    return await openReadSecret()(id)
  },
}

/** A key as it is printed; `spkiSha256` is what certificates and lists call its key id. */
export function keyView({ keyId, scheme, spki }: KeyReference) {
  return { keyId, algorithm: scheme, spkiSha256: createHash("sha256").update(spki).digest("hex") }
}

export function keyFolder(args: Arguments): string {
  return args.text("home") ?? join(configFolder(), "keys")
}

/** The folder of local keys, open for as long as `use` runs. */
export async function withLocalHome<T>(home: LocalHome, use: (home: LocalHome) => Promise<T>): Promise<T> {
  return await coded(() => use(home).finally(() => home.close()))
}

/** @param options settings of the home beside folder and password */
export function localHome(args: Arguments, password: () => Promise<string>, options = {}): LocalHome {
  return openLocalHome({ folder: keyFolder(args), password, ...options })
}

/** The key that `uri` names, open for as long as `use` runs. */
export async function withKey<T>(args: Arguments, uri: string, use: (opened: OpenedKey) => Promise<T>): Promise<T> {
  const region = args.text("region")
  return await coded(async () => {
    const opened = await openKey(uri, {
      folder: keyFolder(args),
      password: passwordOf(args, `Password of ${uri}`),
      kms: { ...(region !== undefined && { region }) },
      pkcs11: tokenAccess(args),
    })
    return await use(opened).finally(() => opened.close())
  })
}

/** @returns undefined when no module is named */
export function tokenAccess(args: Arguments): TokenAccess | undefined {
  const module = args.text("module")
  if (module === undefined) return undefined
  const graphene = args.text("graphene")
  return {
    module: resolve(module),
    packageFolder: graphene === undefined ? undefined : resolve(graphene),
    pin: pinSource(args.text("pin-source") ?? "prompt", PLACES),
  }
}

export function passwordOf(args: Arguments, what: string, option = "password-source"): () => Promise<string> {
  return () => secretSource(args.text(option) ?? "prompt", what, PLACES)()
}

/** A password that something new is encrypted under: typed twice where it is typed. */
export function newPasswordOf(args: Arguments, what: string): () => Promise<string> {
  const source = args.text("password-source") ?? "prompt"
  return async () => {
    const password = await secretSource(source, what, PLACES)()
    if (source === "prompt" && (await secretSource(source, `${what}, again`, PLACES)()) !== password)
      throw usage("the two passwords differ", "Type the same password twice.")
    return password
  }
}

/** @throws CommandFailure USAGE for a name outside the table of algorithms */
export function schemeOption(args: Arguments): SignatureScheme {
  const name = args.text("algorithm") ?? "ecdsa-p256-sha256"
  if (!Object.hasOwn(SCHEMES, name))
    throw usage(`there is no algorithm ${name}`, `Name one of ${Object.keys(SCHEMES).join(", ")}.`)
  return name as SignatureScheme
}

/** Codes of what runs on this side become this command's failures, with the status that the service's answer would have. */
export async function coded<T>(act: () => Promise<T>): Promise<T> {
  try {
    return await act()
  } catch (error) {
    if (error instanceof ServiceError) {
      const { kind, remedy } = ERROR_CODES[error.code]
      const status = kind === "denied" ? EXIT.denied : kind === "backend" ? EXIT.unavailable : EXIT.rejected
      throw new CommandFailure(status, error.code, error.message, remedy)
    }
    if (error instanceof FormatError) throw new CommandFailure(EXIT.rejected, error.code, error.message)
    throw error
  }
}
