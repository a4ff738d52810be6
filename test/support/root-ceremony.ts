import { createMemoryKeys } from "@sealwright/adapters/memory-keys"
import { digest, randomBytes } from "@sealwright/adapters/platform"
import { requestCertificate } from "@sealwright/core/admin/certificates"
import { type CeremonyOptions, holdRootCeremony } from "@sealwright/core/offline-root/flow"
import type { RootCeremonyPorts } from "@sealwright/core/offline-root/ports"
import { type CeremonyScript, type CeremonyStep, parseScript, SCRIPT_TYPE } from "@sealwright/core/offline-root/script"
import type { KeyReference } from "@sealwright/core/ports"
import { hexEncode, utf8 } from "@sealwright/formats/bytes"
import { CSR_LABEL } from "@sealwright/formats/csr"
import { pemEncode } from "@sealwright/formats/pem"
import { runSync } from "@sealwright/verifier/node-crypto"
import { at } from "./chains.ts"
import { NAMES } from "./service.ts"

export const ROOT = {
  key: "local:corporate-root",
  keyIs: "new",
  algorithm: "ecdsa-p384-sha384",
  subject: {
    country: "US",
    state: "Washington",
    organisation: "Wabbit Networks",
    commonName: "Wabbit Networks corporate root",
  },
  crlHost: "crl.wabbit-networks.io",
} as const

export const PARTICIPANTS = [
  { name: "Ada Example", role: "ceremony lead" },
  { name: "Grace Sample", role: "witness" },
] as const

export const MAKE_ROOT = { id: "root", do: "make-root", years: 20 } as const
export const MAKE_CRL = { id: "crl-1", do: "make-crl", days: 180 } as const

export function scriptBytes(steps: readonly object[], more: object = {}): Uint8Array {
  return utf8(JSON.stringify({ mediaType: SCRIPT_TYPE, root: ROOT, participants: PARTICIPANTS, steps, ...more }))
}

export function scriptOf(steps: readonly CeremonyStep[], more: object = {}): CeremonyScript {
  return parseScript(scriptBytes(steps, more))
}

/** A request as `issuer create --external` makes it, and the step that certifies it. */
export async function issuerRequest(name = "ci-corp") {
  const keys = createMemoryKeys()
  const key = await keys.create(name, "issuer", "ecdsa-p256-sha256")
  const der = await requestCertificate({ keys, digest }, key, NAMES, name, 1)
  const pem = utf8(pemEncode(CSR_LABEL, der))
  const step = {
    id: name,
    do: "certify-issuer",
    request: `${name}.csr`,
    sha256: hexEncode(digest("sha256", pem)),
    days: 1096,
  } as const
  return { key, pem, step }
}

export type Desk = ReturnType<typeof createDesk>

/** A ceremony's room in memory: a folder, a key's home, files, a clock and what was written down. */
export function createDesk(inputs: Readonly<Record<string, Uint8Array>> = {}) {
  const memory = createMemoryKeys()
  const journal: Uint8Array[] = []
  const outputs = new Map<string, Uint8Array>()
  const lines: string[] = []
  let made: KeyReference | undefined
  let now = at("2026-11-21T09:00:00Z")
  const ports: RootCeremonyPorts = {
    keys: memory,
    digest,
    random: randomBytes,
    run: runSync,
    clock: () => now,
    rootKey: {
      find: async () => made,
      async make() {
        made ??= await memory.create("root", "root", ROOT.algorithm)
        return made
      },
    },
    folder: {
      entries: async () => [...journal],
      async append(number, entry) {
        if (number !== journal.length + 1) return false
        journal.push(entry)
        return true
      },
      async release(name, bytes) {
        const before = outputs.get(name)
        if (before !== undefined && hexEncode(before) !== hexEncode(bytes)) throw new Error(`${name} changed its bytes`)
        outputs.set(name, bytes)
      },
    },
    async readInput(name) {
      const bytes = inputs[name]
      if (bytes === undefined) throw new Error(`there is no file ${name}`)
      return bytes
    },
    confirm: undefined,
    write: async (line) => void lines.push(line),
  }
  return {
    ports,
    journal,
    outputs,
    lines,
    memory,
    pass(seconds: number) {
      now = new Date(now.getTime() + seconds * 1000)
    },
    hold: (script: CeremonyScript, changed: Partial<RootCeremonyPorts> = {}, options: Partial<CeremonyOptions> = {}) =>
      holdRootCeremony({ ...ports, ...changed }, script, { rehearsal: false, facts: ["a fact"], ...options }),
  }
}
