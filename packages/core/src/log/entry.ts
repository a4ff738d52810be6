import { entryHash, hashedRekordEntry } from "@sealwright/formats/hashedrekord"
import { parseNotaryJws, parseX5c } from "@sealwright/formats/notary-jws"
import type { SignatureRecord } from "../model.ts"
import type { Digest } from "../ports.ts"

/**
 * The leaves of a record: one an envelope, in its order, as Rekor v2 writes entries (hashedrekord 0.0.2). What is hashed is the JWS signing input
 * (RFC 7515 §5.1), so whoever has the envelope can build the leaf.
 * @throws FormatError for an envelope that is none
 */
export function leavesOfRecord(digest: Digest, { envelopes }: Pick<SignatureRecord, "envelopes">): Uint8Array[] {
  return envelopes.map(({ bytes }) => {
    const envelope = parseNotaryJws(bytes)
    const { alg: scheme } = envelope.protected
    const { der, spki } = parseX5c(envelope.x5c[0] ?? "")
    return hashedRekordEntry({
      scheme,
      digest: digest(entryHash(scheme), envelope.signingInput),
      signature: envelope.signature,
      spki,
      certificate: der,
    })
  })
}
