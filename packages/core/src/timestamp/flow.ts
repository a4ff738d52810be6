import { schemeRow } from "@sealwright/formats/algorithms"
import { assembleToken, signedAttributes } from "@sealwright/formats/cms"
import {
  type FailureInfo,
  grantedResponse,
  rejectedResponse,
  type TimestampRequest,
  tstInfo,
} from "@sealwright/formats/timestamp"
import { parseCertificate } from "@sealwright/formats/x509"
import { verifySignature } from "@sealwright/verifier/requests"
import { randomSerial } from "../admin/certificates.ts"
import { ServiceError } from "../errors.ts"
import { listTimestampAuthorities } from "../ledger/timestamp-authorities.ts"
import type { TimestampAuthority } from "../model.ts"
import type { Clock, Digest, RandomBytes, RunStep, SigningKeys, Table } from "../ports.ts"
import { wholeSeconds } from "../sign/rules.ts"
import { ACCURACY_SEC, authorityAt, judgeRequest } from "./rules.ts"

export interface TimestampPorts {
  readonly table: Table
  readonly keys: SigningKeys
  readonly clock: Clock
  readonly random: RandomBytes
  readonly digest: Digest
  readonly run: RunStep
}

/** What a request came to. `cause`: why the service itself failed, for the log alone. */
export interface TimestampOutcome {
  /** TimeStampResp, DER */
  readonly response: Uint8Array
  readonly outcome: "granted" | FailureInfo
  readonly cause?: unknown
}

/** Answers every request with a response of RFC 3161; never throws on what a caller sends. */
export type AnswerTimestamp = (query: Uint8Array) => Promise<TimestampOutcome>

/** Authorities change once a year; a revoked one is refused by clients through the root's CRL in the meantime. */
const REMEMBER_MS = 60_000

/**
 * The timestamp authority: judge -> clock -> number -> sign -> verify our own signature -> answer. One call to the key service a token. Nothing is stored:
 * a token is its own record, and who asks for one need not be known.
 * @param policy the only policy, dotted
 */
export function createTimestampAuthority(ports: TimestampPorts, policy: string): AnswerTimestamp {
  const { clock } = ports
  let remembered: { readonly authorities: readonly TimestampAuthority[]; readonly until: number } | undefined
  let lastMs = Number.NEGATIVE_INFINITY

  return async function answer(query) {
    const judged = judgeRequest(query, policy)
    if ("failure" in judged) return rejected(judged.failure, judged.text)
    const now = clock()
    if (now.getTime() < lastMs) return rejected("timeNotAvailable", "the clock went back")
    lastMs = now.getTime()
    try {
      const authority = await authorityInForce(now)
      return { response: grantedResponse(await makeToken(judged, authority, wholeSeconds(now))), outcome: "granted" }
    } catch (cause) {
      return { ...rejected("systemFailure", "no token could be made"), cause }
    }
  }

  /** When none of those remembered is in force, a fresh look counts. */
  async function authorityInForce(now: Date): Promise<TimestampAuthority> {
    const genTime = wholeSeconds(now)
    const isFresh = remembered !== undefined && now.getTime() < remembered.until
    const known = isFresh ? authorityAt(remembered?.authorities ?? [], genTime) : undefined
    if (known !== undefined) return known
    const authorities = await listTimestampAuthorities(ports.table)
    remembered = { authorities, until: now.getTime() + REMEMBER_MS }
    const found = authorityAt(authorities, genTime)
    if (found === undefined)
      throw new ServiceError(
        "TIMESTAMP_AUTHORITY_MISSING",
        `no timestamp authority is in force at ${genTime.toISOString()}`,
      )
    return found
  }

  async function makeToken(
    request: TimestampRequest,
    authority: TimestampAuthority,
    genTime: Date,
  ): Promise<Uint8Array> {
    const { key, certificate, chain } = authority
    const { hash } = schemeRow(key.scheme)
    if (hash === undefined) throw new ServiceError("KEY_NOT_USABLE", `no timestamps with ${key.scheme}`)
    const info = tstInfo({
      policy,
      imprint: request.imprint.der,
      serial: randomSerial(ports.random),
      genTime,
      accuracySec: ACCURACY_SEC,
      nonce: request.nonce,
    })
    const attributes = signedAttributes({
      messageDigest: ports.digest(hash, info),
      certificateSha256: ports.digest("sha256", certificate),
      signingTime: genTime,
    })
    const signature = await ports.keys.sign(key, attributes)
    const signer = parseCertificate(certificate)
    if (!ports.run(verifySignature(key.scheme, signer.spki, attributes, signature)))
      throw new ServiceError("SIGNATURE_SELF_CHECK_FAILED", `timestamp authority ${authority.generation}`)
    return assembleToken({
      tstInfo: info,
      signedAttributes: attributes,
      scheme: key.scheme,
      signature,
      signer,
      certificates: request.certReq ? [certificate, ...chain] : [],
    })
  }
}

function rejected(failure: FailureInfo, text: string): TimestampOutcome {
  return { response: rejectedResponse(failure, text), outcome: failure }
}
