import type { Item } from "@sealwright/core/ports"

/** How the key service of the bench answers. */
export const LATENCY_MS = 15
export const SIGNATURES_PER_SEC = 1_000
export const STACK = "bench"

/** Asked of this process. `authority` gives the ledger's items that the authority reads; `count` answers and forgets the calls to KMS. */
export type Question =
  | { readonly kind: "authority"; readonly items: readonly Item[] }
  | { readonly kind: "timestamps"; readonly queries: readonly string[] }
  | { readonly kind: "count" }
  | { readonly kind: "end" }

export interface Answer {
  readonly id: number
  readonly value: unknown
}
