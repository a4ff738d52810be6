/** An outside authority: a root with RSA PKCS #1 v1.5, as companies have them, a policy CA below it, and what they certify. */
import type { SignatureScheme } from "@sealwright/formats/algorithms"
import { KEY_USAGE } from "@sealwright/formats/x509-extensions"
import { subjectKeyIdentifier } from "@sealwright/formats/x509-write"
import { at, certificate, makeSigner, type Signer, type Spec, sha256 } from "./chains.ts"

const CA_USAGE = [KEY_USAGE.keyCertSign, KEY_USAGE.cRLSign]
const NOT_BEFORE = at("2026-01-01T00:00:00Z")
const signers = new Map<string, Signer>()

/** RSA keys take long to make; one for each name is enough. */
function signerFor(name: string, scheme: SignatureScheme): Signer {
  const key = `${name} ${scheme}`
  const signer = signers.get(key) ?? makeSigner(scheme, 2048)
  signers.set(key, signer)
  return signer
}

export interface AuthorityChange {
  readonly root?: Partial<Spec>
  readonly policy?: Partial<Spec>
  readonly issuer?: Partial<Spec>
  /** who signs the issuer's certificate in place of the policy CA */
  readonly by?: { readonly signer: Signer; readonly commonName: string }
}

/**
 * The chain for a key that it did not make: issuer, policy CA, root.
 * @param spki of the request
 */
export function certifyOutside(spki: Uint8Array, change: AuthorityChange = {}): readonly Uint8Array[] {
  const root: Spec = {
    signer: signerFor("Corporate Root", "rsa-pkcs1-sha256"),
    commonName: "Corporate Root",
    basicConstraints: { ca: true },
    keyUsage: CA_USAGE,
    notBefore: NOT_BEFORE,
    notAfter: at("2046-01-01T00:00:00Z"),
    ...change.root,
  }
  const policy: Spec = {
    signer: signerFor("Corporate Policy CA", "rsa-pkcs1-sha256"),
    commonName: "Corporate Policy CA",
    basicConstraints: { ca: true, pathLength: 1 },
    keyUsage: CA_USAGE,
    notBefore: NOT_BEFORE,
    notAfter: at("2041-01-01T00:00:00Z"),
    ...change.policy,
  }
  const issuer: Spec = {
    signer: heldElsewhere(spki),
    commonName: "Corporate Signing CA",
    basicConstraints: { ca: true, pathLength: 0 },
    keyUsage: CA_USAGE,
    notBefore: NOT_BEFORE,
    notAfter: at("2030-01-01T00:00:00Z"),
    authorityKeyId: subjectKeyIdentifier(policy.signer.keyId),
    ...change.issuer,
  }
  return [certificate(issuer, change.by ?? policy), certificate(policy, root), certificate(root)]
}

/** A key whose holder is another; its identifier is made another way than ours. */
export function heldElsewhere(spki: Uint8Array): Signer {
  return {
    scheme: "ecdsa-p256-sha256",
    spki,
    keyId: sha256(new Uint8Array([0]), spki),
    sign: () => {
      throw new Error("its holder is another")
    },
  }
}
