import { createRequire } from "node:module"
import { isAbsolute, join } from "node:path"
import { ServiceError } from "@sealwright/core/errors"
import type { Cryptoki } from "./cryptoki.ts"

/** In a variable, so that neither the compiler nor a bundler asks for a package that most deployments do not have. */
const PACKAGE = "graphene-pk11"
const REMEDY = "`npm explore pkcs11js -- npm run build` compiles it, where a C++ compiler is (docs/keys.md)"

interface Graphene {
  readonly Module: { load(path: string): { readonly lib: Cryptoki } }
}

const loaded = new Map<string, Cryptoki>()

/**
 * Loads a PKCS #11 module into this process, once a path. graphene-pk11 loads it; calls go to the pkcs11js object inside, for three reasons: graphene's
 * own `Sign.once` lets the message go before the thread that signs has read it (pkcs11js issue 121), cuts signatures at 1,024 bytes, and opens
 * every session with a call more.
 * @param path absolute path of the vendor's library
 * @param packageFolder where graphene-pk11 is installed, when Node does not find it from here, as in a Lambda layer
 * @throws ServiceError PKCS11_MODULE_MISSING: the npm package or the library is not there, or is not for this machine
 */
export async function loadCryptoki(path: string, packageFolder?: string): Promise<Cryptoki> {
  if (!isAbsolute(path)) throw missing(`the path of the PKCS #11 module is not absolute: ${path}`)
  const found = loaded.get(path)
  if (found !== undefined) return found
  const { Module } = await loadGraphene(packageFolder)
  try {
    const cryptoki = withFindErrors(Module.load(path).lib)
    loaded.set(path, cryptoki)
    return cryptoki
  } catch (cause) {
    throw missing(`the PKCS #11 module ${path} can't be loaded: ${textOf(cause)}`, cause)
  }
}

/** Of this one call pkcs11js passes errors on as its native part makes them: name and number in one text. */
function withFindErrors(cryptoki: Cryptoki): Cryptoki {
  const find = cryptoki.C_FindObjects.bind(cryptoki)
  cryptoki.C_FindObjects = (session, maxObjects) => {
    try {
      return find(session, maxObjects)
    } catch (error) {
      const [, name, code] = /^(CKR_\w+):(\d+)/.exec(textOf(error)) ?? []
      if (name === undefined) throw error
      throw Object.assign(new Error(name, { cause: error }), { code: Number(code) })
    }
  }
  return cryptoki
}

async function loadGraphene(packageFolder: string | undefined): Promise<Graphene> {
  try {
    if (packageFolder !== undefined) return createRequire(join(packageFolder, "index.js"))(PACKAGE)
    const namespace: { readonly default: Graphene } = await import(PACKAGE)
    return namespace.default
  } catch (cause) {
    throw missing(`graphene-pk11 is not here or its native part is not compiled: ${REMEDY}`, cause)
  }
}

function missing(detail: string, cause?: unknown): ServiceError {
  return new ServiceError("PKCS11_MODULE_MISSING", detail, { cause })
}

function textOf(cause: unknown): string {
  return cause instanceof Error ? (cause.message.split("\n")[0] ?? "") : String(cause)
}
