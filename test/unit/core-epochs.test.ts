import { tufDocuments } from "@sealwright/core/ledger/tuf-documents"
import { utf8 } from "@sealwright/formats/bytes"
import { BUNDLE_MARKER, BUNDLE_TYPE, openBundle } from "@sealwright/verifier/bundle"
import { runSync } from "@sealwright/verifier/node-crypto"
import { type BundleFloors, encodeState, parseState } from "@sealwright/verifier/state"
import { expect, test } from "vitest"
import { createService, signRequest } from "../support/service.ts"

test("a verifier with state follows real publications one after another, and refuses to go back (R25, R28)", async () => {
  const service = createService()
  await service.setUp()
  await service.profile("release")
  const sign = service.signer()
  let floors: BundleFloors | undefined
  const copies: Map<string, Uint8Array>[] = []
  for (const seed of ["one", "two", "three", "four"]) {
    const [outcome] = await sign(signRequest([seed]))
    if (outcome === undefined || !("signed" in outcome)) throw new Error("not signed")
    if (seed !== "four") await service.revoke({ kind: "signature", signature: outcome.signed.id })
    await service.publish(true)
    const copy = new Map([...service.memory.objects.dump()].map(([key, { bytes }]) => [key, bytes]))
    copies.push(copy)
    const opened = await open(service, copy, floors)
    expect(opened).toMatchObject({ ok: true, stale: false })
    if (opened.ok) floors = parseState(encodeState(opened.floors))
    service.pass(60)
  }
  for (const older of copies.slice(0, -1))
    expect(await open(service, older, floors)).toMatchObject({ ok: false, code: "TUF_ROLLBACK" })
})

async function open(
  service: ReturnType<typeof createService>,
  files: ReadonlyMap<string, Uint8Array>,
  floors: BundleFloors | undefined,
) {
  const [root] = await tufDocuments(service.ports.table, "root")
  const marker = utf8(JSON.stringify({ mediaType: BUNDLE_TYPE }))
  return runSync(
    openBundle({
      read: (path) => (path === BUNDLE_MARKER ? marker : files.get(path)),
      pinnedRoot: root?.bytes ?? new Uint8Array(0),
      now: service.ports.clock(),
      floors,
    }),
  )
}
