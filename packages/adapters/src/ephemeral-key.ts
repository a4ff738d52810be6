import type { KeyObject } from "node:crypto"
import type { EphemeralKey } from "@sealwright/core/ports"
import { type SignatureScheme, schemeRow } from "@sealwright/formats/algorithms"
import { concat } from "@sealwright/formats/bytes"
import { type Curve, ecSpki } from "@sealwright/formats/public-key-write"
import { makeKeyPair, signInProcess, spkiOf } from "./key-pair.ts"

/** Signs in this process, so it has no need to wait. */
export interface ProcessKey extends EphemeralKey {
  sign(message: Uint8Array): Uint8Array
}

/** A key pair of this process, for one act (D2). */
export function makeEphemeralKey(scheme: SignatureScheme): ProcessKey {
  const { privateKey, publicKey } = makeKeyPair(scheme)
  const spki = schemeRow(scheme).keyType === "ec" ? spkiOfPoint(publicKey) : spkiOf(publicKey)
  return { scheme, spki, sign: (message) => signInProcess(privateKey, scheme, message), drop: () => undefined }
}

const UNCOMPRESSED = Uint8Array.of(4)

/**
 * SubjectPublicKeyInfo from the point's coordinates, which a JWK has at full length (RFC 7518 §6.2.1.2): OpenSSL takes more than twice as long to
 * set up its DER encoder as to tell them.
 */
function spkiOfPoint(publicKey: KeyObject): Uint8Array {
  const { crv, x = "", y = "" } = publicKey.export({ format: "jwk" })
  return ecSpki(crv as Curve, concat(UNCOMPRESSED, Buffer.from(x, "base64url"), Buffer.from(y, "base64url")))
}
