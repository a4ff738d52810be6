/** The key homes of a function: AWS KMS, and a PKCS #11 token where the deployment names one (R1). */
import type {
  EphemeralKey,
  KeyMaker,
  KeyPurpose,
  KeyReference,
  MakeEphemeralKey,
  SigningKeys,
} from "@sealwright/core/ports"
import { makeEphemeralKey } from "./ephemeral-key.ts"
import { openPkcs11Home, type Pkcs11Home } from "./pkcs11/home.ts"
import { pinSource } from "./pkcs11/pin-sources.ts"
import { openReadSecret } from "./secrets-manager.ts"

export interface TokenSettings {
  /** absolute path of the vendor's library */
  readonly module: string
  /** folder that graphene-pk11 is installed in */
  readonly packageFolder: string
  readonly tokenLabel: string
  /** a source as `pinSource` takes it */
  readonly pin: string
}

export interface ServiceKeys {
  readonly keys: SigningKeys
  /** keys for one act: session objects of the token where there is one */
  readonly makeEphemeralKey: MakeEphemeralKey
  /** Keys of certificates are made on the token where there is one; those of TUF and of timestamps always in KMS. */
  withMaker(kms: KeyMaker): KeyMaker
}

const ON_TOKEN: ReadonlySet<KeyPurpose> = new Set(["root", "issuer", "held"])

/**
 * @param token undefined: every key lives in KMS
 * @param open how the token's home is opened; tried again by the next call when it failed
 */
export function serviceKeys(
  kms: SigningKeys,
  token: TokenSettings | undefined,
  open: (settings: TokenSettings) => Promise<Pkcs11Home> = openToken,
): ServiceKeys {
  if (token === undefined) return { keys: kms, makeEphemeralKey, withMaker: (maker) => maker }
  let opening: Promise<Pkcs11Home> | undefined
  const home = (): Promise<Pkcs11Home> => {
    opening ??= open(token).catch((error: unknown) => {
      opening = undefined
      throw error
    })
    return opening
  }
  return {
    keys: {
      sign: async (key, message, note) => await (isOnToken(key) ? await home() : kms).sign(key, message, note),
    },
    makeEphemeralKey: async (scheme): Promise<EphemeralKey> => await (await home()).makeEphemeralKey(scheme),
    withMaker: (maker) => ({
      create: async (name, purpose, scheme) =>
        await (ON_TOKEN.has(purpose) ? await home() : maker).create(name, purpose, scheme),
    }),
  }
}

function isOnToken({ keyId }: KeyReference): boolean {
  return keyId.startsWith("pkcs11:")
}

async function openToken({ module, packageFolder, tokenLabel, pin }: TokenSettings): Promise<Pkcs11Home> {
  const source = pinSource(pin, { readAwsSecret: (id) => openReadSecret()(id) })
  return await openPkcs11Home({ module, packageFolder, tokenLabel, pin: source })
}
