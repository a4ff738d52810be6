import type { Root, Targets } from "@sealwright/formats/tuf"
import { encodeMetadata, signedBytes, type TufSignature } from "@sealwright/formats/tuf-encode"
import type { TargetsDocument, TufDocument } from "../ledger/tuf-documents.ts"
import type { TufKeys } from "../model.ts"
import type { KeyReference } from "../ports.ts"
import { fileOf, namedKey, targetsMetadata } from "../publish/tuf.ts"
import type { CertifyPorts } from "./certificates.ts"

type Ports = Pick<CertifyPorts, "keys" | "digest">

/**
 * Root or targets with the signatures of its keys, which no publisher holds (D13).
 * @param keys one; of a root that replaces its own key, the old and the new (TUF 1.0 §6.1)
 */
export async function signTuf(
  ports: Ports,
  keys: readonly KeyReference[],
  signed: Root | Targets,
): Promise<TufDocument> {
  const signatures: TufSignature[] = []
  for (const key of keys) {
    const { keyid } = namedKey(ports.digest, key)
    signatures.push({ keyid, signature: await ports.keys.sign(key, signedBytes(signed)) })
  }
  return { version: signed.version, expires: signed.expires, bytes: encodeMetadata(signed, signatures) }
}

/** Targets that list this trust bundle. */
export async function signTargets(
  ports: Ports,
  tuf: TufKeys,
  trustBundle: Uint8Array,
  version: number,
  now: Date,
): Promise<TargetsDocument> {
  const signed = targetsMetadata(ports.digest, tuf, fileOf(ports.digest, trustBundle), version, now)
  return { ...(await signTuf(ports, [tuf.targets], signed)), trustBundle }
}
