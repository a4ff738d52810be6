import type { Root, Targets } from "@sealwright/formats/tuf"
import { encodeMetadata, signedBytes } from "@sealwright/formats/tuf-encode"
import type { TargetsDocument, TufDocument } from "../ledger/tuf-documents.ts"
import type { TufKeys } from "../model.ts"
import type { KeyReference } from "../ports.ts"
import { fileOf, namedKey, targetsMetadata } from "../publish/tuf.ts"
import type { CertifyPorts } from "./certificates.ts"

type Ports = Pick<CertifyPorts, "keys" | "digest">

/** Root or targets with the signature of its one key, which no publisher holds (D13). */
export async function signTuf(ports: Ports, key: KeyReference, signed: Root | Targets): Promise<TufDocument> {
  const { keyid } = namedKey(ports.digest, key)
  const signature = await ports.keys.sign(key, signedBytes(signed))
  return { version: signed.version, expires: signed.expires, bytes: encodeMetadata(signed, [{ keyid, signature }]) }
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
  return { ...(await signTuf(ports, tuf.targets, signed)), trustBundle }
}
