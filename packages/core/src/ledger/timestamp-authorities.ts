import type { TimestampAuthority } from "../model.ts"
import type { Table, Write } from "../ports.ts"
import { Attributes, keyAttributes, keyFrom } from "./attributes.ts"
import { keys, queryAll } from "./keys.ts"

/** Holds only while there is no authority of this generation. */
export function newTimestampAuthority(authority: TimestampAuthority): Write {
  return {
    put: {
      ...keys.timestampAuthority(authority.generation),
      generation: authority.generation,
      ...keyAttributes(authority.key),
      certificate: authority.certificate,
      chain: [...authority.chain],
      notBefore: authority.notBefore.toISOString(),
      notAfter: authority.notAfter.toISOString(),
      state: authority.state,
    },
    if: { absent: true },
  }
}

export function revokeTimestampAuthority({ generation }: TimestampAuthority): Write {
  return { update: keys.timestampAuthority(generation), set: { state: "revoked" }, if: { exists: true } }
}

/** All generations, the oldest first. */
export async function listTimestampAuthorities(table: Table): Promise<TimestampAuthority[]> {
  return (await queryAll(table, "timestamp-authorities")).map((item) => {
    const attributes = Attributes.of(item)
    return {
      generation: attributes.number("generation"),
      key: keyFrom(attributes),
      certificate: attributes.bytes("certificate"),
      chain: attributes.list("chain") as readonly Uint8Array[],
      notBefore: attributes.date("notBefore"),
      notAfter: attributes.date("notAfter"),
      state: attributes.text("state") as TimestampAuthority["state"],
    }
  })
}
