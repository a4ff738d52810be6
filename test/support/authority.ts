/** An outside authority: a root with RSA PKCS #1 v1.5, as companies have them, a policy CA below it, and what they certify. */
import type { SignatureScheme } from "@sealwright/formats/algorithms"
import { assembleCrl, type CrlEntry, crlTbs } from "@sealwright/formats/crl-write"
import { DerReader, explicitTag, TAG } from "@sealwright/formats/der"
import { explicit, sequence } from "@sealwright/formats/der-write"
import { KEY_USAGE } from "@sealwright/formats/x509-extensions"
import { subjectKeyIdentifier } from "@sealwright/formats/x509-write"
import { at, certificate, makeSigner, nameOf, type Signer, type Spec, sha256 } from "./chains.ts"

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

/** Where certificates below the corporate root say that its CRL is. */
export const CORPORATE_CRL_URL = "http://crl.corporate.example/root.crl"

export interface OutsideCrlChange {
  readonly by?: { readonly signer: Signer; readonly commonName: string }
  readonly crlNumber?: bigint
  readonly thisUpdate?: Date
  readonly nextUpdate?: Date
  readonly entries?: readonly CrlEntry[]
  /** the key that signs in the place of the one that is named */
  readonly signedBy?: Signer
  /** extensions beside those of `crlTbs` */
  readonly more?: readonly Uint8Array[]
}

/** A CRL of the corporate root, or of the CA in `by`. */
export function outsideCrl(change: OutsideCrlChange = {}): Uint8Array {
  const { signer, commonName } = change.by ?? {
    signer: signerFor("Corporate Root", "rsa-pkcs1-sha256"),
    commonName: "Corporate Root",
  }
  const { scheme } = signer
  const plain = crlTbs({
    issuer: nameOf(commonName),
    scheme,
    thisUpdate: change.thisUpdate ?? at("2026-11-20T00:00:00Z"),
    nextUpdate: change.nextUpdate ?? at("2027-05-20T00:00:00Z"),
    crlNumber: change.crlNumber ?? 1n,
    authorityKeyId: subjectKeyIdentifier(signer.keyId),
    entries: change.entries ?? [],
  })
  const tbs = change.more === undefined ? plain : withExtensions(plain, change.more)
  return assembleCrl(tbs, scheme, (change.signedBy ?? signer).sign(tbs))
}

function withExtensions(tbs: Uint8Array, more: readonly Uint8Array[]): Uint8Array {
  const fields = new DerReader(tbs).enter(TAG.SEQUENCE)
  const elements: Uint8Array[] = []
  while (!fields.done) elements.push(fields.element())
  const extensions = new DerReader(elements.pop() as Uint8Array).enter(explicitTag(0)).content(TAG.SEQUENCE)
  return sequence(...elements, explicit(0, sequence(extensions, ...more)))
}

/** The policy CA of `certifyOutside`, to sign CRLs with. */
export function policyCa() {
  return { signer: signerFor("Corporate Policy CA", "rsa-pkcs1-sha256"), commonName: "Corporate Policy CA" }
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
