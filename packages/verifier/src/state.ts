import { hexDecode, hexEncode, utf8 } from "@sealwright/formats/bytes"
import { parseTreeSize } from "@sealwright/formats/checkpoint"
import { FormatError } from "@sealwright/formats/errors"
import type { TreeState } from "@sealwright/formats/merkle"
import type { AllowList, RevocationList } from "@sealwright/formats/revocation-list"
import { array, integer, map, object, openObject, type Reader, string } from "@sealwright/formats/shape"
import { parseJson } from "@sealwright/formats/strict-json"
import { formatTime, parseTime } from "@sealwright/formats/time"
import { type SeenEntries, seenIn, seenJson, seenShape } from "./seen.ts"
import type { TufFloors } from "./tuf-client.ts"
import type { ProvenHead } from "./verdict.ts"

export const STATE_TYPE = "application/vnd.sealwright.verifier-state.v1+json"
export const MAX_STATE_BYTES = 64 * 1024 * 1024
/** The two of a deployment, and those that it had before. */
const MAX_LOGS = 64

/** The least that a later bundle of the same deployment must have. */
export interface BundleFloors {
  readonly tuf: TufFloors
  /** digest: lower-case hex SHA-256 of the published file */
  readonly list: { readonly epoch: number; readonly date: Date; readonly digest: string; readonly seen: SeenEntries }
  /** epoch 0: none was seen */
  readonly allowEpoch: number
  readonly registryEpoch: number
  /** lower-case hex SHA-256 of the roots that the deployer has taken over; undefined: none were seen, so the next bundle's are */
  readonly roots?: readonly string[] | undefined
  /** the largest verified tree of each transparency log, by origin; undefined: none was seen */
  readonly logs?: ReadonlyMap<string, TreeState> | undefined
}

/** The floors after a list was accepted. */
export function raiseFloors(
  tuf: TufFloors,
  list: RevocationList,
  digest: string,
  allowList: AllowList | undefined,
  registryEpoch: number,
  roots: readonly string[],
  logs: BundleFloors["logs"],
): BundleFloors {
  const { epoch, date } = list
  return {
    tuf,
    list: { epoch, date, digest, seen: seenIn(list) },
    allowEpoch: allowList?.epoch ?? 0,
    registryEpoch,
    roots,
    ...(logs && { logs }),
  }
}

/**
 * The floors after a verdict: trees that it proved count where they are larger than what was seen.
 * @param bundle place in `trusted` of the bundle whose floors these are: no publisher's log raises another's
 */
export function raiseLogFloors(floors: BundleFloors, heads: readonly ProvenHead[], bundle = 0): BundleFloors {
  const logs = new Map(floors.logs)
  for (const { bundle: of = bundle, origin, size, root } of heads) {
    if (of !== bundle) continue
    const known = logs.get(origin)
    if (known === undefined && logs.size >= MAX_LOGS) continue
    if (known === undefined || known.size < BigInt(size))
      logs.set(origin, { size: BigInt(size), root: hexDecode(root) })
  }
  return logs.size === 0 ? floors : { ...floors, logs }
}

/**
 * The state file of one deployment. It is written after a bundle was opened and before a verdict is given out: to a new file beside the old
 * one, flushed, then renamed over it. A crash in between leaves the old floors, which only let older bundles pass that were good before.
 */
export function encodeState(floors: BundleFloors): Uint8Array {
  const { list, logs, ...rest } = floors
  const json = {
    mediaType: STATE_TYPE,
    ...rest,
    list: { ...list, date: formatTime(list.date), seen: seenJson(list.seen) },
    ...(logs && {
      logs: Object.fromEntries(
        [...logs].map(([origin, { size, root }]) => [origin, { size: `${size}`, root: hexEncode(root) }]),
      ),
    }),
  }
  return utf8(`${JSON.stringify(json)}\n`)
}

const version = integer(0)
const date: Reader<Date> = (value, at) => parseTime(string(20)(value, at))
const thumbprint = string(64, /^[0-9a-f]{64}$/)
const tree: Reader<TreeState> = (value, at) => {
  const { size, root } = object({ size: string(16), root: thumbprint })(value, at)
  return { size: parseTreeSize(size), root: hexDecode(root) }
}
const stateShape = object(
  {
    mediaType: string(100),
    tuf: object({ root: version, timestamp: version, snapshot: version, targets: map(version, 100_000, string(1024)) }),
    list: object({
      epoch: version,
      date,
      digest: string(64, /^[0-9a-f]{64}$/),
      seen: seenShape,
    }),
    allowEpoch: version,
    registryEpoch: version,
  },
  { roots: array(thumbprint, 64), logs: map(tree, MAX_LOGS, string(255)) },
)

/**
 * A damaged state file must stop the caller: to go on without floors is to forget them.
 * @throws FormatError TOO_LARGE, TEXT_MALFORMED, JSON_MALFORMED, SHAPE_MISMATCH, VERSION_UNKNOWN, CHECKPOINT_MALFORMED for the size of a log's tree
 */
export function parseState(bytes: Uint8Array): BundleFloors {
  const value = parseJson(bytes, { maxBytes: MAX_STATE_BYTES })
  if (openObject({ mediaType: string(100) })(value, "state").mediaType !== STATE_TYPE)
    throw new FormatError("VERSION_UNKNOWN", `not ${STATE_TYPE}`)
  const { mediaType: _, tuf, ...rest } = stateShape(value, "state")
  return { tuf: { ...tuf, targets: Object.fromEntries(tuf.targets) }, ...rest }
}
