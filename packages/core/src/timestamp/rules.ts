import { FormatError } from "@sealwright/formats/errors"
import { type FailureInfo, parseTimestampRequest, type TimestampRequest } from "@sealwright/formats/timestamp"
import type { TimestampAuthority } from "../model.ts"

/**
 * The policy under which tokens are made unless a deployment has one of its own: docs/timestamps.md. An arc for everybody who makes an identifier
 * from a UUID, in parts that every reader of OBJECT IDENTIFIERs can hold: Go's takes no arc above 31 bits, so 2.25 is none for us.
 */
export const DEFAULT_TIMESTAMP_POLICY = "1.2.840.113556.1.8000.2554.6102.11502.31703.19761.46538.5871777.6203004"

/** How far from the true time a token's may be: its time is cut to whole seconds, and hosts in AWS keep theirs within milliseconds. */
export const ACCURACY_SEC = 1

/** The most queries that functions of a deployment put into one call: answers of a few KiB each stay well below the 6 MB of a synchronous invocation. */
export const MAX_TIMESTAMP_QUERIES = 100

const ARC_LIMIT = 2 ** 31

/** An OBJECT IDENTIFIER that stock clients can read. */
export function isTimestampPolicy(dotted: string): boolean {
  return (
    dotted.length <= 128 &&
    /^[012](?:\.(?:0|[1-9][0-9]*)){1,20}$/.test(dotted) &&
    dotted.split(".").every((arc) => Number(arc) < ARC_LIMIT) &&
    (dotted.startsWith("2.") || Number(dotted.split(".")[1]) < 40)
  )
}

/** Why a request gets no token, in the words of RFC 3161 §2.4.2. */
export interface Rejection {
  readonly failure: FailureInfo
  /** for people */
  readonly text: string
}

/**
 * Reads a request and decides whether it may have a token; the time itself is no part of the decision.
 * @param policy the authority's only one, dotted
 */
export function judgeRequest(bytes: Uint8Array, policy: string): TimestampRequest | Rejection {
  const request = readRequest(bytes)
  if ("failure" in request) return request
  if (request.imprint.hash === undefined)
    return { failure: "badAlg", text: "the imprint is SHA-256, SHA-384 or SHA-512" }
  if (request.policy !== undefined && request.policy !== policy)
    return { failure: "unacceptedPolicy", text: `the policy of this authority is ${policy}` }
  if (request.extensions.length > 0)
    return { failure: "unacceptedExtension", text: "this authority knows no extensions" }
  return request
}

function readRequest(bytes: Uint8Array): TimestampRequest | Rejection {
  try {
    return parseTimestampRequest(bytes)
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    return error.code === "VERSION_UNKNOWN"
      ? { failure: "badRequest", text: "the version is 1" }
      : { failure: "badDataFormat", text: "this is no timestamp request in DER" }
  }
}

/** The newest authority that is in force for the whole of `at` ± accuracy. */
export function authorityAt(authorities: readonly TimestampAuthority[], at: Date): TimestampAuthority | undefined {
  const earliest = at.getTime() - ACCURACY_SEC * 1000
  const latest = at.getTime() + ACCURACY_SEC * 1000
  return authorities.findLast(
    ({ state, notBefore, notAfter }) =>
      state === "active" && notBefore.getTime() <= earliest && latest <= notAfter.getTime(),
  )
}
