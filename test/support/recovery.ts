/** Disasters, and deployers who live through them: with state, and without. */
import { utf8 } from "@sealwright/formats/bytes"
import { BUNDLE_MARKER, BUNDLE_TYPE, openBundle } from "@sealwright/verifier/bundle"
import { runSync } from "@sealwright/verifier/node-crypto"
import type { BundleFloors } from "@sealwright/verifier/state"
import { createService, signRequest } from "./service.ts"

export type Service = ReturnType<typeof createService>

/** A service that has signed twice, revoked one of the two and a digest, and published. */
export async function inService(service = createService()) {
  await service.setUp()
  await service.profile("release")
  const ids = await signNow(service, "kept", "gone")
  await service.revoke({ kind: "signature", signature: ids[1] as string })
  await service.revoke({ kind: "artifact", digest: `sha256:${"ab".repeat(32)}` })
  await service.publish()
  service.pass(60)
  return service
}

/** @returns ids */
export async function signNow(service: Service, ...seeds: readonly string[]): Promise<string[]> {
  const settled = await service.signer()(signRequest(seeds))
  return settled.map((one) => {
    if ("signed" in one) return one.signed.id
    throw one.refused
  })
}

/** The published set as a deployer reads it. @param floors of a verifier with state */
export function deployer(service: Service, floors?: BundleFloors, pinnedRoot = firstRootOf(service)) {
  const files = new Map([...service.memory.objects.dump()].map(([key, { bytes }]) => [key, bytes]))
  files.set(BUNDLE_MARKER, utf8(JSON.stringify({ mediaType: BUNDLE_TYPE })))
  return runSync(openBundle({ read: (path) => files.get(path), now: service.ports.clock(), pinnedRoot, floors }))
}

/** What a verifier remembers that accepts what is shown now. */
export function stateOf(service: Service, floors?: BundleFloors): BundleFloors {
  const outcome = deployer(service, floors)
  if (!outcome.ok) throw new Error(`${outcome.code} ${outcome.subject} ${outcome.detail}`)
  return outcome.floors
}

/** The root that deployers pinned on the first day; they have a copy of their own. */
function firstRootOf(service: Service): Uint8Array {
  const item = service.memory.table.dump().find(({ pk }) => pk === "tuf-root")
  return item?.bytes as Uint8Array
}
