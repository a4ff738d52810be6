import { bytesEqual, hexEncode } from "@sealwright/formats/bytes"
import { MAX_CRL_BYTES, parseCrl } from "@sealwright/formats/crl"
import { MAX_REVOCATION_LIST_BYTES, parseRevocationList } from "@sealwright/formats/revocation-list"
import {
  MAX_REGISTRY_BYTES,
  MAX_TRUST_BUNDLE_BYTES,
  parseRegistry,
  parseTrustBundle,
} from "@sealwright/formats/trust-bundle"
import { type Certificate, parseCertificate } from "@sealwright/formats/x509"
import { openCrl } from "@sealwright/verifier/crl-check"
import { digest, type Step } from "@sealwright/verifier/requests"
import { refresh, type TufSource, type TufTrusted } from "@sealwright/verifier/tuf-client"
import { readTarget } from "@sealwright/verifier/tuf-targets"
import { ServiceError } from "../errors.ts"
import { tufDocuments } from "../ledger/tuf-documents.ts"
import type { Edition, PublishPorts } from "./edition.ts"

/**
 * Reads an edition back from the bucket, with the new timestamp in the place of the old, and verifies it from the first root on,
 * with the verifier's own code and nothing that the publisher remembers. Only then may heads move (D5).
 * @throws ServiceError PUBLICATION_UNVERIFIED
 */
export async function verifyAsStranger(ports: PublishPorts, edition: Edition): Promise<void> {
  const files = new Map<string, Uint8Array>([["tuf/timestamp.json", edition.timestamp]])
  for (const [key, { bytes }] of edition.immutable) {
    const stored = await ports.objects.get(key, bytes.length)
    if (stored !== undefined) files.set(key, stored.bytes)
  }
  const [first] = await tufDocuments(ports.table, "root")
  if (first === undefined) throw new ServiceError("PRECONDITION_REQUIRED", "the ceremony left no TUF root")
  const problem = ports.run(inspect(files, first.bytes, edition, ports.clock()))
  if (problem !== undefined) throw new ServiceError("PUBLICATION_UNVERIFIED", `epoch ${edition.epoch}: ${problem}`)
}

/** @returns what is wrong; undefined when all is sound */
function* inspect(
  files: ReadonlyMap<string, Uint8Array>,
  root: Uint8Array,
  edition: Edition,
  now: Date,
): Step<string | undefined> {
  const metadata: TufSource = { read: (name) => files.get(`tuf/${name}`) }
  const outcome = yield* refresh({ source: metadata, state: { root }, now })
  if (!outcome.accepted) return `TUF: ${outcome.refusal.code}`
  const targets: TufSource = { read: (name) => files.get(`tuf/targets/${name}`) }
  const read = targetReader(outcome.trusted, targets)
  const bundle = parseTrustBundle(yield* read("trust-bundle.json", MAX_TRUST_BUNDLE_BYTES))
  const registry = parseRegistry(yield* read("registry/registry.json", MAX_REGISTRY_BYTES))
  const list = parseRevocationList(yield* read("lists/revocations.json", MAX_REVOCATION_LIST_BYTES))
  if (list.content.epoch !== edition.epoch) return `the list is of epoch ${list.content.epoch}`
  const signers = new Map<string, Certificate>()
  const authorities = [...edition.outside.values()]
  for (const der of [...authorities, ...bundle.roots, ...registry.issuers.map((issuer) => issuer.certificate)]) {
    const certificate = parseCertificate(der)
    signers.set(hexEncode(yield* digest("sha256", certificate.spki)), certificate)
  }
  for (const [issuerKeyId, bytes] of edition.crls) {
    const published = yield* read(`lists/${issuerKeyId}.crl`, MAX_CRL_BYTES)
    if (!bytesEqual(published, bytes)) return `the CRL of ${issuerKeyId} is not the target`
    const signer = signers.get(issuerKeyId)
    if (signer === undefined) return `nobody issued the CRL of ${issuerKeyId}`
    const opened = yield* openCrl(bytes, signer, isKept(issuerKeyId, bytes, edition) ? parseCrl(bytes).thisUpdate : now)
    if ("status" in opened) return `the CRL of ${issuerKeyId}: ${opened.why}`
  }
  return undefined
}

/**
 * A list that is shown past its end: an outside authority's, whose next one is for people to bring, and one of an earlier epoch that stays because
 * nobody can sign its issuer's next one. Past its end, stock clients refuse what is below.
 */
function isKept(issuerKeyId: string, crl: Uint8Array, edition: Edition): boolean {
  return edition.outside.has(issuerKeyId) || parseCrl(crl).crlNumber !== BigInt(edition.epoch)
}

function targetReader(trusted: TufTrusted, source: TufSource): (path: string, maxBytes: number) => Step<Uint8Array> {
  return function* read(path, maxBytes) {
    const target = yield* readTarget(trusted, source, path, maxBytes)
    if (!target.accepted) throw new ServiceError("PUBLICATION_UNVERIFIED", `${path}: ${target.refusal.code}`)
    return target.bytes
  }
}
