import { parseCrl } from "@sealwright/formats/crl"
import { assembleCrl, type CrlEntry, crlTbs } from "@sealwright/formats/crl-write"
import { leafSerial } from "@sealwright/formats/leaf-serial"
import { type Figure, median } from "./measure.ts"

const SIZES = [1_000, 10_000, 100_000, 1_000_000]
const ROUNDS = 5
const SIGNED = new Date("2026-11-21T09:00:00Z")
const NAME = Uint8Array.of(0x30, 0)

/** Building and reading one issuer's CRL of signatures that were revoked over time, without its one signature. */
export function crlFigures(): Figure[] {
  return SIZES.flatMap((count): Figure[] => {
    const entries = entriesOf(count)
    const build: number[] = []
    const read: number[] = []
    let bytes: Uint8Array = new Uint8Array(0)
    for (let round = 0; round < ROUNDS; round++) {
      build.push(timed(() => (bytes = built(entries))))
      read.push(timed(() => parseCrl(bytes)))
    }
    return [
      {
        figure: `CRL of ${count.toLocaleString("en")}: build`,
        value: median(build),
        unit: "ms",
        ...(count === 100_000 && { atMost: 250 }),
      },
      { figure: `CRL of ${count.toLocaleString("en")}: read`, value: median(read), unit: "ms" },
      { figure: `CRL of ${count.toLocaleString("en")}: size`, value: bytes.length, unit: "bytes" },
    ]
  })
}

function timed(act: () => void): number {
  const began = performance.now()
  act()
  return performance.now() - began
}

/** Serials of the service's own form, in order; every fifth without a reason, a new second every few entries. */
function entriesOf(count: number): CrlEntry[] {
  return Array.from({ length: count }, (_, i): CrlEntry => {
    const digest = new Uint8Array(32)
    new DataView(digest.buffer).setUint32(0, i * 4_000)
    return {
      serial: leafSerial(digest, 2 ** 40 + i),
      revokedAt: new Date(SIGNED.getTime() - (count - i) * 300),
      ...(i % 5 !== 0 && { reason: "keyCompromise" }),
    }
  })
}

function built(entries: readonly CrlEntry[]): Uint8Array {
  const scheme = "ecdsa-p256-sha256"
  const tbs = crlTbs({
    issuer: NAME,
    scheme,
    thisUpdate: SIGNED,
    nextUpdate: new Date(SIGNED.getTime() + 7 * 86_400_000),
    crlNumber: 1n,
    authorityKeyId: new Uint8Array(20),
    entries,
  })
  return assembleCrl(tbs, scheme, new Uint8Array(70))
}
