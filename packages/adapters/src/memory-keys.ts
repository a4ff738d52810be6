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
  enable(keyId: string): void
  purposeOf(keyId: string): KeyPurpose | undefined
  /** every use, oldest first, as CloudTrail would show those of KMS; wrapped keys sign where nobody counts */
  readonly uses: readonly { readonly id: string; readonly keyId: string }[]
}

interface StoredKey {
  readonly key: EphemeralKey
  readonly purpose: KeyPurpose
}

/** Keys in memory with real signatures. For tests. */
export function createMemoryKeys(make: typeof makeEphemeralKey = makeEphemeralKey): MemoryKeys {
  const stored = new Map<string, StoredKey>()
  const disabled = new Set<string>()
  const uses: { readonly id: string; readonly keyId: string }[] = []
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
    async sign({ keyId, scheme }, message, note) {
      const found = stored.get(keyId)
      if (found === undefined || disabled.has(keyId) || found.key.scheme !== scheme)
        throw new ServiceError("KEY_NOT_USABLE", `key ${keyId} is missing, disabled or of another algorithm`)
      const signature = await found.key.sign(message)
      if (!keyId.startsWith(WRAPPED_KEY)) {
        const id = `use-${String(uses.length + 1).padStart(6, "0")}`
        uses.push({ id, keyId })
        note?.(id)
      }
      return signature
    },
    uses,
    disable: (keyId) => void disabled.add(keyId),
    enable: (keyId) => void disabled.delete(keyId),
    purposeOf: (keyId) => stored.get(keyId)?.purpose,
  }
}
