import type { Root, Targets } from "@sealwright/formats/tuf"
import { encodeMetadata, signedBytes } from "@sealwright/formats/tuf-encode"
import type { TufDocument } from "../ledger/tuf-documents.ts"
import type { KeyReference } from "../ports.ts"
import { namedKey } from "../publish/tuf.ts"
import type { CertifyPorts } from "./certificates.ts"

/** The first root or targets, with the signature of its one key, which no publisher holds (D13). */
export async function signFirst(
  ports: Pick<CertifyPorts, "keys" | "digest">,
  key: KeyReference,
  signed: Root | Targets,
): Promise<TufDocument> {
  const { keyid } = namedKey(ports.digest, key)
  const signature = await ports.keys.sign(key, signedBytes(signed))
  return { version: signed.version, expires: signed.expires, bytes: encodeMetadata(signed, [{ keyid, signature }]) }
}
