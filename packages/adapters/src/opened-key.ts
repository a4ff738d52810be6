import type { KeyReference, SigningKeys } from "@sealwright/core/ports"

/** One key that was opened by its name, and the home that signs with it. */
export interface OpenedKey {
  readonly key: KeyReference
  readonly keys: SigningKeys
  /** Forgets the key; no other call may follow. */
  close(): Promise<void>
}
