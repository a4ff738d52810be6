/** A log of signatures as a service makes it, and ways to spoil it. */
import { sequence } from "@sealwright/core/log/flow"
import { makeTimestampAuthority } from "@sealwright/core/timestamp/authority"
import { base64Encode } from "@sealwright/formats/bytes"
import { encodeNote, parseNote } from "@sealwright/formats/signed-note"
import { ADMIN, createService, signRequest } from "../support/service.ts"

export type Service = ReturnType<typeof createService>

/** A service whose log of signatures has grown in three steps, beyond one full tile. */
export async function loggedService(): Promise<{ readonly service: Service; readonly ids: readonly string[] }> {
  const service = createService()
  await service.setUp()
  service.pass(5)
  await makeTimestampAuthority(service.ports, { algorithm: "ecdsa-p256-sha256", days: 365 }, ADMIN)
  await service.profile("release")
  service.pass(5)
  const sign = service.signer()
  const ids: string[] = []
  for (const [step, count] of [1, 60, 80, 80, 80].entries()) {
    const settled = await sign(signRequest(Array.from({ length: count }, (_, i) => `${step}-${i}`)))
    for (const one of settled) if ("signed" in one) ids.push(one.signed.id)
    if (step !== 2) await sequence(service.ports, "signatures")
  }
  return { service, ids }
}

export function logFiles(service: Service, prefix = "log/signatures/"): Map<string, Uint8Array> {
  const objects = [...service.memory.objects.dump()].filter(([key]) => key.startsWith(prefix))
  return new Map(objects.map(([key, { bytes }]) => [key.slice(prefix.length), bytes]))
}

export function flip(bytes: Uint8Array, at: number): Uint8Array {
  const copy = new Uint8Array(bytes)
  copy[at] = (copy[at] as number) ^ 1
  return copy
}

/** The same note over a tree of the same size with a root of zeros. */
export function withRoot(checkpoint: Uint8Array): Uint8Array {
  const note = parseNote(checkpoint)
  const [origin, size] = note.text.split("\n")
  return encodeNote({ ...note, text: `${origin}\n${size}\n${base64Encode(new Uint8Array(32))}\n` })
}
