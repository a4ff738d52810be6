import { TUF_ROLES, type TufKeys } from "../model.ts"
import type { Item } from "../ports.ts"
import { type Attributes, keyAttributes, keyFrom } from "./attributes.ts"

/** The first key of each role, as deployments had it that knew no other; those after it, where there are any, beside. */
export function tufAttributes(tuf: TufKeys): { readonly [name: string]: Item[string] } {
  const first = TUF_ROLES.flatMap((role) => tuf[role].slice(0, 1).map((key) => [role, keyAttributes(key)] as const))
  const later = TUF_ROLES.flatMap((role) =>
    tuf[role].length > 1 ? [[role, tuf[role].slice(1).map(keyAttributes)] as const] : [],
  )
  return { tuf: Object.fromEntries(first), ...(later.length > 0 && { tufLater: Object.fromEntries(later) }) }
}

/** @param attributes of the deployment's item */
export function tufFrom(attributes: Attributes): TufKeys {
  const first = attributes.map("tuf")
  const later = attributes.has("tufLater") ? attributes.map("tufLater") : undefined
  const keysOf = (role: string) => [
    keyFrom(first.map(role)),
    ...(later?.has(role) ? later.maps(role).map(keyFrom) : []),
  ]
  return Object.fromEntries(TUF_ROLES.map((role) => [role, keysOf(role)])) as unknown as TufKeys
}
