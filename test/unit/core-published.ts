import { hexEncode } from "@sealwright/formats/bytes"
import { parseCrl, revokedEntries } from "@sealwright/formats/crl"
import { type AllowList, parseAllowList, parseRevocationList } from "@sealwright/formats/revocation-list"
import { parseRegistry, type Registry } from "@sealwright/formats/trust-bundle"
import { decodeMetadata } from "@sealwright/formats/tuf"
import { expect } from "vitest"
import { fsck } from "../../packages/cli/src/fsck/check.ts"
import type { StoredItem } from "../../packages/cli/src/fsck/state.ts"
import type { createService } from "../support/service.ts"

export type Service = ReturnType<typeof createService>

/** What a reader of the bucket finds below the timestamp that is shown. */
export function published(service: Service) {
  const objects = new Map([...service.memory.objects.dump()].map(([key, { bytes }]) => [key, bytes]))
  const need = (key: string): Uint8Array => {
    const bytes = objects.get(key)
    if (bytes === undefined) throw new Error(`${key} is not published`)
    return bytes
  }
  const timestamp = need("tuf/timestamp.json")
  const epoch = decodeMetadata(timestamp, "timestamp", timestamp.length).signed.version
  const target = (role: "lists" | "registry", path: string): Uint8Array => {
    const metadata = need(`tuf/${epoch}.${role}.json`)
    const file = decodeMetadata(metadata, "targets", metadata.length).signed.targets.get(path)
    const cut = path.lastIndexOf("/") + 1
    return need(`tuf/targets/${path.slice(0, cut)}${file?.hashes.get("sha256")}.${path.slice(cut)}`)
  }
  return {
    epoch,
    objects,
    list: () => parseRevocationList(target("lists", "lists/revocations.json")).content,
    allow: (): AllowList => parseAllowList(target("lists", "lists/allow.json")).content,
    registry: (): Registry => parseRegistry(target("registry", "registry/registry.json")),
    notation: () => JSON.parse(new TextDecoder().decode(need("trees/notation.json"))),
    crl: (issuerKeyId: string) => {
      const crl = parseCrl(need(`crl/${issuerKeyId}.crl`))
      const entries = [...revokedEntries(crl)].map((entry) => [hexEncode(entry.serial), entry] as const)
      return { ...crl, entries: new Map(entries) }
    },
  }
}

export function dumpOf(service: Service) {
  const objects = new Map([...service.memory.objects.dump()].map(([key, { bytes }]) => [key, bytes]))
  return { items: [...service.memory.table.dump()] as StoredItem[], objects }
}

/** fsck finds nothing. @returns how many signatures it saw */
export function expectSound(service: Service): number {
  const { findings, records } = fsck(dumpOf(service))
  expect(findings).toEqual([])
  return records
}

export function auditOf(service: Service): readonly StoredItem[] {
  return dumpOf(service).items.filter((item) => item.pk.startsWith("audit#"))
}

export const withCode = (code: string) => expect.objectContaining({ code })
