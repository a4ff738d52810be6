import { utf8 } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import type { AllowList, RevocationList } from "@sealwright/formats/revocation-list"
import { array, integer, map, object, openObject, type Reader, string } from "@sealwright/formats/shape"
import { parseJson } from "@sealwright/formats/strict-json"
import { formatTime, parseTime } from "@sealwright/formats/time"
import type { TufFloors } from "./tuf-client.ts"

export const STATE_TYPE = "application/vnd.sealwright.verifier-state.v1+json"
export const MAX_STATE_BYTES = 1024 * 1024

/** How much a list holds, by kind. Each only grows: a released hold stays counted among the targets that lists have named. */
export interface ListCounts {
  readonly rules: number
  readonly numbers: number
  readonly artifacts: number
  readonly voidNumbers: number
}

/** The least that a later bundle of the same deployment must have. */
export interface BundleFloors {
  readonly tuf: TufFloors
  /** digest: lower-case hex SHA-256 of the published file */
  readonly list: { readonly epoch: number; readonly date: Date; readonly digest: string; readonly counts: ListCounts }
  /** epoch 0: none was seen */
  readonly allowEpoch: number
  readonly registryEpoch: number
  /** lower-case hex SHA-256 of the roots that the deployer has taken over; undefined: none were seen, so the next bundle's are */
  readonly roots?: readonly string[] | undefined
}

/** Distinct targets that the list names or names as released. */
export function countsOf(list: RevocationList): ListCounts {
  let numbers = 0
  let voidNumbers = 0
  for (const issuer of list.issuers.values()) {
    numbers += issuer.revoked.size
    for (const [from, to] of issuer.void) voidNumbers += to - from + 1
  }
  let artifacts = list.artifacts.size
  for (const name of new Set(list.released)) {
    const [kind = "", ...rest] = name.split(":")
    if (kind === "artifact" && !list.artifacts.has(rest.join(":"))) artifacts++
    if (kind === "signature" && !list.issuers.get(rest[0] ?? "")?.revoked.has(Number(rest[1]))) numbers++
  }
  return { rules: list.rules.length, numbers, artifacts, voidNumbers: Math.min(voidNumbers, Number.MAX_SAFE_INTEGER) }
}

/** The kinds of which `now` has fewer than `before`. */
export function shrunkKinds(before: ListCounts, now: ListCounts): readonly (keyof ListCounts)[] {
  return (["rules", "numbers", "artifacts", "voidNumbers"] as const).filter((kind) => now[kind] < before[kind])
}

/** The floors after a list was accepted. */
export function raiseFloors(
  tuf: TufFloors,
  list: RevocationList,
  digest: string,
  allowList: AllowList | undefined,
  registryEpoch: number,
  roots: readonly string[],
): BundleFloors {
  const { epoch, date } = list
  return {
    tuf,
    list: { epoch, date, digest, counts: countsOf(list) },
    allowEpoch: allowList?.epoch ?? 0,
    registryEpoch,
    roots,
  }
}

/**
 * The state file of one deployment. It is written after a bundle was opened and before a verdict is given out: to a new file beside the old
 * one, flushed, then renamed over it. A crash in between leaves the old floors, which only let older bundles pass that were good before.
 */
export function encodeState(floors: BundleFloors): Uint8Array {
  const { list, ...rest } = floors
  const json = { mediaType: STATE_TYPE, ...rest, list: { ...list, date: formatTime(list.date) } }
  return utf8(`${JSON.stringify(json)}\n`)
}

const version = integer(0)
const date: Reader<Date> = (value, at) => parseTime(string(20)(value, at))
const thumbprint = string(64, /^[0-9a-f]{64}$/)
const stateShape = object(
  {
    mediaType: string(100),
    tuf: object({ root: version, timestamp: version, snapshot: version, targets: map(version, 100_000, string(1024)) }),
    list: object({
      epoch: version,
      date,
      digest: string(64, /^[0-9a-f]{64}$/),
      counts: object({ rules: version, numbers: version, artifacts: version, voidNumbers: version }),
    }),
    allowEpoch: version,
    registryEpoch: version,
  },
  { roots: array(thumbprint, 64) },
)

/**
 * A damaged state file must stop the caller: to go on without floors is to forget them.
 * @throws FormatError TOO_LARGE, TEXT_MALFORMED, JSON_MALFORMED, SHAPE_MISMATCH, VERSION_UNKNOWN
 */
export function parseState(bytes: Uint8Array): BundleFloors {
  const value = parseJson(bytes, { maxBytes: MAX_STATE_BYTES })
  if (openObject({ mediaType: string(100) })(value, "state").mediaType !== STATE_TYPE)
    throw new FormatError("VERSION_UNKNOWN", `not ${STATE_TYPE}`)
  const { mediaType: _, tuf, ...rest } = stateShape(value, "state")
  return { tuf: { ...tuf, targets: Object.fromEntries(tuf.targets) }, ...rest }
}
