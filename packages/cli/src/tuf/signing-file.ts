import { digest } from "@sealwright/adapters/platform"
import { ServiceError } from "@sealwright/core/errors"
import type { KeyReference, SigningKeys } from "@sealwright/core/ports"
import { namedKey } from "@sealwright/core/publish/tuf"
import { type Review, type ReviewedDocument, reviewRequest, tallyOf } from "@sealwright/core/tuf/rules"
import { bytesEqual } from "@sealwright/formats/bytes"
import { decodeMetadata, type Metadata } from "@sealwright/formats/tuf"
import { encodeMetadata } from "@sealwright/formats/tuf-encode"
import { MAX_TUF_SIGNING_BYTES, parseTufSigning, type TufSigningRequest } from "@sealwright/formats/tuf-signing"
import { runSync } from "@sealwright/verifier/node-crypto"
import { readFileLimited } from "../files.ts"

export interface ReadRequest {
  readonly request: TufSigningRequest
  readonly review: Review
}

/** @param now this machine's clock @throws ServiceError TUF_REQUEST_WRONG, FormatError, CommandFailure for a file that can't be read */
export function readSigningFile(path: string, now: Date): ReadRequest {
  const request = parseTufSigning(readFileLimited(path, MAX_TUF_SIGNING_BYTES))
  return { request, review: runSync(reviewRequest(request, digest, now)) }
}

/** The documents that this key counts for and has not signed. @throws ServiceError TUF_KEY_NOT_COUNTED when it counts for none */
export function documentsToSign({ documents }: Review, keyid: string): readonly ReviewedDocument[] {
  const counting = documents.filter(({ electorates }) => electorates.some(({ role }) => role.keyids.includes(keyid)))
  if (counting.length === 0) throw new ServiceError("TUF_KEY_NOT_COUNTED", `key ${keyid} signs none of the documents`)
  return counting.filter(({ tallies }) => !tallies.some(({ signed }) => signed.includes(keyid)))
}

export function keyidOf(key: KeyReference): string {
  return namedKey(digest, key).keyid
}

/** The request with one more signature on each of these documents; each signature is verified before it counts. @throws ServiceError TUF_SIGNATURE_INVALID, and as `sign` */
export async function withSignatures(
  request: TufSigningRequest,
  toSign: readonly ReviewedDocument[],
  key: KeyReference,
  keys: SigningKeys,
): Promise<TufSigningRequest> {
  const keyid = keyidOf(key)
  const documents = []
  for (const document of request.documents) {
    const reviewed = toSign.find(({ role }) => role === document.role)
    if (reviewed === undefined) documents.push(document)
    else
      documents.push({
        ...document,
        metadata: await signed(reviewed, keyid, await keys.sign(key, reviewed.metadata.signedBytes)),
      })
  }
  return { ...request, documents }
}

async function signed(
  { role, metadata, electorates }: ReviewedDocument,
  keyid: string,
  signature: Uint8Array,
): Promise<Uint8Array> {
  const next: Metadata = { ...metadata, signatures: new Map([...metadata.signatures, [keyid, signature]]) }
  const counts = electorates.some((one) => runSync(tallyOf(next, one)).signed.includes(keyid))
  if (!counts) throw new ServiceError("TUF_SIGNATURE_INVALID", `the key's signature over ${role} does not verify`)
  const list = [...next.signatures].map(([id, bytes]) => ({ keyid: id, signature: bytes }))
  const bytes = encodeMetadata(next.signed, list)
  if (!bytesEqual(decodeMetadata(bytes, role, bytes.length).signedBytes, metadata.signedBytes))
    throw new ServiceError("TUF_REQUEST_WRONG", `${role} has members that this command does not know`)
  return bytes
}

/** What is proposed and who has signed it, in lines for people. */
export function reviewLines({ request, review }: ReadRequest): string[] {
  const called = (keyid: string) => `${request.names.get(keyid) ?? "a key without a name"} (${keyid.slice(0, 16)})`
  return [
    "What changes:",
    ...review.changes.map((change) => `  ${change}`),
    ...review.documents.flatMap(({ role, version, expires, tallies }) => [
      `${role} ${version}, until ${expires.toISOString()}:`,
      ...tallies.flatMap(({ by, threshold, signed: done, missing, met }) => [
        `  by the keys of ${by}: ${done.length} of ${threshold} signatures${met ? ", enough" : ""}`,
        ...done.map((keyid) => `    signed   ${called(keyid)}`),
        ...missing.map((keyid) => `    missing  ${called(keyid)}`),
      ]),
    ]),
    review.complete ? "All thresholds are met: hand it in with `sealwright tuf submit`." : "Signatures are missing.",
  ]
}

/** As JSON. */
export function reviewView({ request, review }: ReadRequest) {
  return {
    proposal: request.proposal,
    changes: review.changes,
    complete: review.complete,
    documents: review.documents.map(({ role, version, expires, tallies }) => ({ role, version, expires, tallies })),
  }
}
