import { bytesEqual, hexDecode } from "@sealwright/formats/bytes"
import { type Crl, findRevoked, parseCrl } from "@sealwright/formats/crl"
import {
  type CertId,
  type CertificateStatus,
  failedOcspResponse,
  type OcspFailure,
  type OcspRequest,
  ocspResponseData,
  publicKeyBits,
  successfulOcspResponse,
} from "@sealwright/formats/ocsp"
import { parseCertificate } from "@sealwright/formats/x509"
import { verifySignature } from "@sealwright/verifier/requests"
import { ERROR_CODES, isServiceError, ServiceError } from "../errors.ts"
import { type CommittedCrl, readCommit } from "../ledger/epochs.ts"
import { listOcspResponders } from "../ledger/ocsp-responders.ts"
import { readHead } from "../ledger/publication.ts"
import { findRevocation } from "../ledger/revocations.ts"
import { findGeneration } from "../ledger/trust.ts"
import type { Issuer, OcspResponder } from "../model.ts"
import { ROOT_NAME } from "../names.ts"
import type { Clock, Digest, Objects, RunStep, SigningKeys, Table } from "../ports.ts"
import { stagedCrlKey } from "../publish/crl.ts"
import { revocationId } from "../revoke/rules.ts"
import { wholeSeconds } from "../sign/rules.ts"
import { isOnRecord } from "./known.ts"
import { type CertIdDigest, readOcspRequest, responderFor, responseEnd } from "./rules.ts"

export interface OcspPorts {
  readonly table: Table
  readonly objects: Pick<Objects, "get">
  readonly keys: SigningKeys
  readonly clock: Clock
  readonly digest: Digest
  readonly certIdDigest: CertIdDigest
  readonly run: RunStep
}

/** What a request came to. `cause`: why the service itself failed, for the log alone. */
export interface OcspOutcome {
  /** OCSPResponse, DER */
  readonly response: Uint8Array
  readonly outcome: "successful" | OcspFailure
  /** of a successful response: how it may be kept. Nobody else can use one that repeats a nonce. */
  readonly freshness?: { readonly thisUpdate: Date; readonly nextUpdate: Date; readonly hasNonce: boolean }
  readonly cause?: unknown
}

/** Answers every request with a response of RFC 6960; never throws on what a caller sends. */
export type AnswerOcsp = (request: Uint8Array) => Promise<OcspOutcome>

/** The lists of one CA key that count now. */
interface PublishedLists {
  readonly thisUpdate: Date
  readonly nextUpdate: Date
  readonly lists: readonly Crl[]
}

/** Responders change once in weeks; a new one is found this late. */
const REMEMBER_MS = 10_000
/** Lists kept in memory, of 10 MB at most when an issuer is full (D7). */
const MAX_LISTS = 4

/**
 * The OCSP responder: read -> whose certificates -> the published CRL -> what is on record -> sign -> verify our own signature -> answer. Revoked is what
 * the CRL of that CA key says, the very bytes that stand in the commit of the published epoch, so the two never differ; good is what is on record
 * besides, and all else is unknown. Nothing is written: who asks need not be known.
 */
export function createOcspResponder(ports: OcspPorts): AnswerOcsp {
  const { clock, table } = ports
  const lists = new Map<string, Crl>()
  let remembered: { readonly responders: readonly OcspResponder[]; readonly until: number } | undefined

  return async function answer(bytes) {
    const request = readOcspRequest(bytes)
    if (request === undefined) return failed("malformedRequest")
    try {
      const now = clock()
      const responder = responderFor(request.certIds, await responders(now), ports.certIdDigest)
      return responder === undefined ? failed("unauthorized") : await respond(request, responder, wholeSeconds(now))
    } catch (cause) {
      return { ...failed(failureOf(cause)), cause }
    }
  }

  async function responders(now: Date): Promise<readonly OcspResponder[]> {
    if (remembered === undefined || now.getTime() >= remembered.until)
      remembered = { responders: await listOcspResponders(table), until: now.getTime() + REMEMBER_MS }
    return remembered.responders
  }

  async function respond(request: OcspRequest, responder: OcspResponder, now: Date): Promise<OcspOutcome> {
    if (now < responder.notBefore || now >= responder.notAfter)
      throw new ServiceError("OCSP_RESPONDER_MISSING", `the responder of ${responder.issuer} is not in force`)
    const published = await publishedLists(responder, now)
    const statuses: (CertificateStatus & { readonly certId: CertId })[] = []
    for (const certId of request.certIds)
      statuses.push({ certId, ...(await statusOf(certId.serial, responder, published.lists)) })
    const { thisUpdate, nextUpdate } = published
    const data = ocspResponseData({
      responderKeyHash: ports.certIdDigest("sha1", publicKeyBits(responder.key.spki)),
      producedAt: now,
      thisUpdate,
      nextUpdate,
      responses: statuses,
      nonce: request.nonce,
    })
    const response = await signed(data, responder)
    return {
      response,
      outcome: "successful",
      freshness: { thisUpdate, nextUpdate, hasNonce: request.nonce !== undefined },
    }
  }

  /**
   * The list of the published epoch. While the next epoch is being published, its list may be out already, and it counts too: revoked in one of them is
   * revoked.
   */
  async function publishedLists({ issuerKeyId, notAfter }: OcspResponder, now: Date): Promise<PublishedLists> {
    const head = await readHead(table)
    const commit = head === undefined ? undefined : await readCommit(table, head.published)
    const crl = commit?.crls.get(issuerKeyId)
    if (head === undefined || commit === undefined || crl === undefined)
      throw new ServiceError("NOT_PUBLISHED", `no CRL of issuer key ${issuerKeyId} is published`)
    const nextUpdate = responseEnd(commit.date, crl.nextUpdate, notAfter)
    if (now < commit.date || now >= nextUpdate)
      throw new ServiceError("NOT_PUBLISHED", `the publication of ${commit.date.toISOString()} does not count now`)
    const next =
      head.committed === head.published ? undefined : (await readCommit(table, head.committed))?.crls.get(issuerKeyId)
    const found = [await readList(crl)]
    if (next !== undefined && next.digestHex !== crl.digestHex) found.push(await readList(next))
    return { thisUpdate: commit.date, nextUpdate, lists: found }
  }

  /** The bucket is not trusted: the digest in the commit decides. */
  async function readList({ digestHex, size }: CommittedCrl): Promise<Crl> {
    const known = lists.get(digestHex)
    if (known !== undefined) return known
    const stored = await ports.objects.get(stagedCrlKey(digestHex), size)
    if (stored === undefined || !bytesEqual(ports.digest("sha256", stored.bytes), hexDecode(digestHex)))
      throw new ServiceError("PUBLICATION_MISMATCH", `${stagedCrlKey(digestHex)} holds other bytes than committed`)
    const list = parseCrl(stored.bytes)
    const [oldest] = lists.keys()
    if (lists.size >= MAX_LISTS && oldest !== undefined) lists.delete(oldest)
    lists.set(digestHex, list)
    return list
  }

  async function statusOf(
    serial: Uint8Array,
    responder: OcspResponder,
    published: readonly Crl[],
  ): Promise<CertificateStatus> {
    for (const list of published) {
      const entry = findRevoked(list, serial)
      if (entry !== undefined) return { status: "revoked", revokedAt: entry.revokedAt, reason: entry.reason }
    }
    return (
      (await revokedIssuer(responder)) ?? {
        status: (await isOnRecord(table, responder, serial)) ? "good" : "unknown",
      }
    )
  }

  /** Under a revoked CA nothing is good (RFC 6960 §2.7), whatever its own list says. */
  async function revokedIssuer(responder: OcspResponder): Promise<CertificateStatus | undefined> {
    const { issuer, issuerGeneration, issuerKeyId } = responder
    if (issuer === ROOT_NAME) return undefined
    const found: Issuer | undefined = await findGeneration(table, issuer, issuerGeneration)
    if (found?.state !== "revoked") return undefined
    const id = revocationId(ports.digest, { kind: "issuer", issuer, issuerKeyId, from: undefined })
    const revocation = await findRevocation(table, id)
    if (revocation === undefined) throw new Error(`damaged table: issuer ${issuer} is revoked without ${id}`)
    return { status: "revoked", revokedAt: revocation.effectiveAt, reason: revocation.reason }
  }

  async function signed(data: Uint8Array, { key, certificate, issuer }: OcspResponder): Promise<Uint8Array> {
    const signature = await ports.keys.sign(key, data)
    if (!ports.run(verifySignature(key.scheme, parseCertificate(certificate).spki, data, signature)))
      throw new ServiceError("SIGNATURE_SELF_CHECK_FAILED", `OCSP responder of ${issuer}`)
    return successfulOcspResponse(data, key.scheme, signature, certificate)
  }
}

function failed(outcome: OcspFailure): OcspOutcome {
  return { response: failedOcspResponse(outcome), outcome }
}

/** What time or a person heals is `tryLater`. */
function failureOf(cause: unknown): OcspFailure {
  if (!(cause instanceof ServiceError)) return "internalError"
  return ERROR_CODES[cause.code].retry || isServiceError(cause, "OCSP_RESPONDER_MISSING") ? "tryLater" : "internalError"
}
