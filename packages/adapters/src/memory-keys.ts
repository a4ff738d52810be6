import { ServiceError } from "@sealwright/core/errors"
import {
  type EphemeralKey,
  type KeyMaker,
  type KeyPurpose,
  type KeyWrapper,
  type SigningKeys,
  WRAPPED_KEY,
} from "@sealwright/core/ports"
import { makeEphemeralKey } from "./ephemeral-key.ts"

export interface MemoryKeys extends SigningKeys, KeyMaker, KeyWrapper {
  /** As an operator disables a key: signing with it is refused from now on. */
  disable(keyId: string): void
  purposeOf(keyId: string): KeyPurpose | undefined
}

interface StoredKey {
  readonly key: EphemeralKey
  readonly purpose: KeyPurpose
}

/** Keys in memory with real signatures. For tests. */
export function createMemoryKeys(make: typeof makeEphemeralKey = makeEphemeralKey): MemoryKeys {
  const stored = new Map<string, StoredKey>()
  const disabled = new Set<string>()
  return {
    async create(name, purpose, scheme) {
      const keyId = `memory:${name}`
      const found = stored.get(keyId)
      if (found !== undefined && found.key.scheme !== scheme)
        throw new ServiceError("ALREADY_EXISTS", `the key ${name} has another algorithm`)
      const { key } = found ?? { key: make(scheme) }
      if (found === undefined) stored.set(keyId, { key, purpose })
      return { keyId, scheme, spki: new Uint8Array(key.spki) }
    },
    async wrap(name, purpose, scheme) {
      const keyId = `${WRAPPED_KEY}memory:${name}#${stored.size}`
      const key = make(scheme)
      stored.set(keyId, { key, purpose })
      return { keyId, scheme, spki: new Uint8Array(key.spki) }
    },
    async sign({ keyId, scheme }, message) {
      const found = stored.get(keyId)
      if (found === undefined || disabled.has(keyId) || found.key.scheme !== scheme)
        throw new ServiceError("KEY_NOT_USABLE", `key ${keyId} is missing, disabled or of another algorithm`)
      return found.key.sign(message)
    },
    disable: (keyId) => void disabled.add(keyId),
    purposeOf: (keyId) => stored.get(keyId)?.purpose,
  }
}
