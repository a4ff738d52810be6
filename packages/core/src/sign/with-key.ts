import type { SignatureScheme } from "@sealwright/formats/algorithms"
import { bytesEqual } from "@sealwright/formats/bytes"
import { assembleEnvelope, unsignedEnvelope } from "@sealwright/formats/notary-jws"
import type { Descriptor } from "@sealwright/formats/oci"
import { type Certificate, parseCertificate } from "@sealwright/formats/x509"
import { notaryScheme, verifyNotaryEnvelope } from "@sealwright/verifier/notary"
import { CHAIN_CODES, verifyPath } from "@sealwright/verifier/x509-path"
import { ServiceError } from "../errors.ts"
import type { Digest, KeyReference, RunStep, SigningKeys } from "../ports.ts"

export interface KeySigningPorts {
  readonly keys: SigningKeys
  readonly digest: Digest
  readonly run: RunStep
}

export interface KeySigningRequest {
  readonly key: KeyReference
  /** DER, the key's own certificate first, the self-signed root last */
  readonly chain: readonly Uint8Array[]
  readonly target: Descriptor
  /** the signer's own claim, whole seconds */
  readonly signedAt: Date
  readonly expiresAt: Date | undefined
  /** for display alone */
  readonly signingAgent: string
}

export interface KeySignature {
  /** Notary JWS envelope */
  readonly envelope: Uint8Array
  readonly leaf: Certificate
  /** SHA-256 of the SubjectPublicKeyInfo that certified the leaf */
  readonly issuerKeyId: Uint8Array
}

/**
 * Signs with a key of one's own under a certificate that someone else gave it, without the service (R2): scheme `notary.x509`, so the time is a
 * claim and the chain counts when it is verified. Issuer and serial stand under the signature, as in every signature of ours (D2); no number does.
 * Whatever a stranger would refuse is refused before the key is used, and the result is verified before it is handed out.
 * @throws ServiceError CA_KEY_REFUSED, CERTIFICATE_NOT_OF_KEY, CERTIFICATE_CHAIN_INVALID, KEY_ALGORITHM_UNSUPPORTED, EXPIRY_INVALID,
 * SIGNATURE_SELF_CHECK_FAILED; and as `SigningKeys.sign`
 * @throws FormatError as `parseCertificate`
 */
export async function signWithKey(ports: KeySigningPorts, request: KeySigningRequest): Promise<KeySignature> {
  const { signedAt, expiresAt, target, key } = request
  if (expiresAt !== undefined && expiresAt.getTime() <= signedAt.getTime())
    throw new ServiceError("EXPIRY_INVALID", "the expiry is not after now")
  const chain = request.chain.map(parseCertificate)
  const { leaf, issuer, scheme } = checkChain(ports, chain, key, signedAt)
  const issuerKeyId = ports.digest("sha256", issuer.spki)
  const unsigned = unsignedEnvelope({
    scheme,
    signingTime: signedAt,
    ...(expiresAt && { expiry: expiresAt }),
    target,
    sealwright: { issuerKeyId, serial: leaf.serialBytes, number: undefined },
  })
  const signature = await ports.keys.sign({ ...key, scheme }, unsigned.signingInput)
  const envelope = assembleEnvelope(unsigned, signature, request.chain, request.signingAgent)
  const verified = ports.run(
    verifyNotaryEnvelope(envelope, {
      trusted: request.chain.slice(-1),
      signingSchemes: ["notary.x509"],
      now: signedAt,
    }),
  )
  if (!verified.ok) throw new ServiceError("SIGNATURE_SELF_CHECK_FAILED", `${key.keyId}: ${verified.code}`)
  return { envelope, leaf, issuerKeyId }
}

/** The chain as a verifier will see it: the key's own, complete, in order, valid now, and fit for signing code. */
function checkChain(
  ports: KeySigningPorts,
  chain: readonly Certificate[],
  key: KeyReference,
  now: Date,
): { readonly leaf: Certificate; readonly issuer: Certificate; readonly scheme: SignatureScheme } {
  const [leaf] = chain
  if (leaf === undefined) throw new ServiceError("CERTIFICATE_CHAIN_INVALID", CHAIN_CODES.CHAIN_LENGTH)
  if (!bytesEqual(leaf.spki, key.spki))
    throw new ServiceError("CERTIFICATE_NOT_OF_KEY", `the first certificate is not that of ${key.keyId}`)
  if (leaf.basicConstraints?.ca === true)
    throw new ServiceError("CA_KEY_REFUSED", `${key.keyId} is the key of a CA, root or intermediate`)
  const scheme = notaryScheme(leaf.key)
  if (scheme === undefined)
    throw new ServiceError(
      "KEY_ALGORITHM_UNSUPPORTED",
      "Notary signs with P-256, P-384, P-521 and RSA of 2048, 3072 or 4096 bits",
    )
  const trusted = chain.slice(-1).map(({ der }) => der)
  const path = ports.run(verifyPath(chain, { trusted, time: now }))
  if (!path.ok)
    throw new ServiceError(
      "CERTIFICATE_CHAIN_INVALID",
      `${path.code}: ${CHAIN_CODES[path.code]} (certificate ${path.at + 1} of ${chain.length})`,
    )
  return { leaf, issuer: chain[1] ?? leaf, scheme }
}
