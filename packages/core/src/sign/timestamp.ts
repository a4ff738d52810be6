import type { HashName } from "@sealwright/formats/algorithms"
import { bytesEqual } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import { parseTimestampResponse, timestampRequest } from "@sealwright/formats/timestamp"
import type { ChainCache } from "@sealwright/verifier/chain-cache"
import { type ProvenTime, verifyTimestampToken } from "@sealwright/verifier/timestamp"
import { ServiceError } from "../errors.ts"
import type { Digest, OutsideTimestampers, RandomBytes, RunStep, Timestamper } from "../ports.ts"

export interface StampPorts {
  /** the deployment's own authority */
  readonly timestamper: Timestamper
  readonly outsideTimestampers: OutsideTimestampers
  readonly digest: Digest
  readonly random: RandomBytes
  readonly run: RunStep
  /** of the authority's chain, which is the same for every token. Default: none is kept */
  readonly cache?: ChainCache
}

const NONCE_BYTES = 16

/**
 * A token over a signature, checked as a verifier will: for these bytes, for this request, below one of the authority's roots, and within the validity
 * of what signed.
 * @param raw the signature as the envelope has it
 * @param certificates of the signature's chain that end: the token's time less and plus its accuracy must lie within each
 * @throws ServiceError TIMESTAMP_UNAVAILABLE when there is no token; SIGNATURE_SELF_CHECK_FAILED when there is one that proves nothing
 */
export async function stampSignature(
  ports: Omit<StampPorts, "timestamper" | "outsideTimestampers">,
  authority: { readonly ask: Timestamper; readonly roots: readonly Uint8Array[] },
  hash: HashName,
  raw: Uint8Array,
  certificates: readonly { readonly notBefore: Date; readonly notAfter: Date }[],
): Promise<Uint8Array> {
  const nonce = ports.random(NONCE_BYTES)
  nonce[0] = 0x40 | ((nonce[0] as number) & 0x3f)
  const query = timestampRequest({ hash, digest: ports.digest(hash, raw), nonce, certReq: true })
  const token = tokenOf(await authority.ask.timestamp(query))
  const proven = ports.run(
    verifyTimestampToken(token, raw, { trusted: authority.roots, ...(ports.cache && { cache: ports.cache }) }),
  )
  if (!proven.ok)
    throw new ServiceError("SIGNATURE_SELF_CHECK_FAILED", `the timestamp: ${proven.code} ${proven.detail}`)
  const echo = proven.token.info.nonce
  if (echo === undefined || !bytesEqual(echo, nonce))
    throw new ServiceError("SIGNATURE_SELF_CHECK_FAILED", "the timestamp answers another request")
  if (!certificates.every((certificate) => covers(certificate, proven)))
    throw new ServiceError("SIGNATURE_SELF_CHECK_FAILED", "the timestamp lies outside a certificate of the signature")
  return token
}

function covers(certificate: { readonly notBefore: Date; readonly notAfter: Date }, { earliest, latest }: ProvenTime) {
  return certificate.notBefore.getTime() <= earliest.getTime() && latest.getTime() <= certificate.notAfter.getTime()
}

function tokenOf(response: Uint8Array): Uint8Array {
  try {
    const parsed = parseTimestampResponse(response)
    if (parsed.granted) return parsed.token
    throw new ServiceError(
      "TIMESTAMP_UNAVAILABLE",
      `the authority answered ${parsed.failure ?? "no reason"}: ${parsed.text}`,
    )
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    throw new ServiceError("TIMESTAMP_UNAVAILABLE", `the authority's answer is unreadable: ${error.code}`, {
      cause: error,
    })
  }
}
