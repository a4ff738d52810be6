import { type SignatureScheme, schemeRow } from "@sealwright/formats/algorithms"
import { bytesEqual, hexDecode, hexEncode } from "@sealwright/formats/bytes"
import { leafSerial, leafSerialInput } from "@sealwright/formats/leaf-serial"
import { assembleEnvelope, rawSignature, unsignedEnvelope } from "@sealwright/formats/notary-jws"
import { JWS_MEDIA_TYPE } from "@sealwright/formats/oci-notary"
import { type Certificate, parseCertificate } from "@sealwright/formats/x509"
import { verifySignature } from "@sealwright/verifier/requests"
import { certifyLeaf } from "../admin/certificates.ts"
import { ServiceError } from "../errors.ts"
import type { Envelope } from "../model.ts"
import type { Digest, MakeEphemeralKey, RunStep, SigningKeys } from "../ports.ts"
import type { Grant } from "./leases.ts"
import { leafStart, planLeafEnd, type SubjectRequest } from "./rules.ts"
import { type StampPorts, stampSignature } from "./timestamp.ts"

const SIGNING_AGENT = "sealwright/0.1.0"

export interface EnvelopePorts extends StampPorts {
  readonly keys: SigningKeys
  readonly makeEphemeralKey: MakeEphemeralKey
  readonly digest: Digest
  readonly run: RunStep
}

export interface MadeSignature {
  readonly envelope: Envelope
  readonly serialHex: string
  readonly certificateNotAfter: Date
}

interface Leaf {
  readonly certificate: Uint8Array
  readonly serial: Uint8Array
  readonly spki: Uint8Array
  readonly scheme: SignatureScheme
  readonly notAfter: Date
  readonly sign: (message: Uint8Array) => Uint8Array | Promise<Uint8Array>
}

/**
 * One signature on one subject under one number (D2): with `ephemeral`, a fresh key certified by the issuer; with `held`, the
 * profile's own key under its shared certificate. One call to the key service either way; a timestamp is the authority's own.
 * @throws ServiceError TIMESTAMP_UNAVAILABLE, SIGNER_UNAVAILABLE, KEY_NOT_USABLE, ISSUER_NOT_ACTIVE, SIGNATURE_SELF_CHECK_FAILED
 */
export async function makeSignature(
  ports: EnvelopePorts,
  grant: Grant,
  number: number,
  subject: SubjectRequest,
  signedAt: Date,
  expiresAt: Date | undefined,
): Promise<MadeSignature> {
  const { issuer } = grant.standing
  const leaf =
    grant.standing.profile.keyMode === "held"
      ? heldLeaf(ports, grant, signedAt)
      : await freshLeaf(ports, grant, number, signedAt)
  const stamped = grant.standing.profile.timestamp === "own"
  const unsigned = unsignedEnvelope({
    scheme: leaf.scheme,
    ...(stamped && { signingScheme: "notary.x509" }),
    authenticSigningTime: signedAt,
    ...(expiresAt && { expiry: expiresAt }),
    target: { mediaType: subject.mediaType, digest: subject.digest, size: subject.size },
    sealwright: { issuerKeyId: hexDecode(issuer.issuerKeyId), serial: leaf.serial, number },
  })
  const signature = await leaf.sign(unsigned.signingInput)
  const certificate = selfCheck(ports, grant, leaf, unsigned.signingInput, signature)
  const token = stamped ? await timestampOf(ports, grant, leaf.scheme, signature, certificate) : undefined
  return {
    envelope: {
      format: "notary-jws",
      mediaType: JWS_MEDIA_TYPE,
      bytes: assembleEnvelope(
        unsigned,
        signature,
        [leaf.certificate, issuer.certificate, ...issuer.chain],
        SIGNING_AGENT,
        token,
      ),
    },
    serialHex: hexEncode(leaf.serial),
    certificateNotAfter: leaf.notAfter,
  }
}

async function freshLeaf(ports: EnvelopePorts, grant: Grant, number: number, signedAt: Date): Promise<Leaf> {
  const { deployment, issuer, profile } = grant.standing
  const key = await ports.makeEphemeralKey(profile.algorithm)
  const notAfter = planLeafEnd(profile, issuer, signedAt)
  const serial = leafSerial(ports.digest("sha256", leafSerialInput(grant.lease.nonce, number)), number)
  const certificate = await certifyLeaf(ports, issuer, deployment, {
    profile: profile.name,
    serial,
    spki: key.spki,
    notBefore: leafStart(profile.timestamp, signedAt),
    notAfter,
  })
  return { certificate, serial, spki: key.spki, scheme: key.scheme, notAfter, sign: (message) => key.sign(message) }
}

function heldLeaf(ports: EnvelopePorts, grant: Grant, signedAt: Date): Leaf {
  const { held, name } = grant.standing.profile
  if (held === undefined) throw new Error(`damaged item: profile ${name} holds no key`)
  const { serialBytes, notAfter } = parseCertificate(held.certificate)
  if (signedAt.getTime() > notAfter.getTime())
    throw new ServiceError("ISSUER_NOT_ACTIVE", `the certificate of profile ${name} ended ${notAfter.toISOString()}`)
  return {
    certificate: held.certificate,
    serial: serialBytes,
    spki: held.key.spki,
    scheme: held.key.scheme,
    notAfter,
    sign: (message) => ports.keys.sign(held.key, message),
  }
}

/** Both signatures verify, and the leaf is the one that was meant: a faulty key service must not get a signature out. */
function selfCheck(
  ports: EnvelopePorts,
  grant: Grant,
  leaf: Leaf,
  message: Uint8Array,
  signature: Uint8Array,
): Certificate {
  const certificate = parseCertificate(leaf.certificate)
  const { issuer } = grant.standing
  const sound =
    bytesEqual(certificate.spki, leaf.spki) &&
    ports.run(verifySignature(leaf.scheme, leaf.spki, message, signature)) &&
    ports.run(verifySignature(issuer.key.scheme, issuer.key.spki, certificate.tbs, certificate.signature))
  if (!sound) throw new ServiceError("SIGNATURE_SELF_CHECK_FAILED", `profile ${grant.standing.profile.name}`)
  return certificate
}

/** No signature of such a profile leaves without its token. */
function timestampOf(
  ports: EnvelopePorts,
  { standing: { deployment, issuer } }: Grant,
  scheme: SignatureScheme,
  signature: Uint8Array,
  leaf: Certificate,
): Promise<Uint8Array> {
  const { hash } = schemeRow(scheme)
  if (hash === undefined) throw new ServiceError("KEY_NOT_USABLE", `no timestamps over ${scheme}`)
  const certificates = [leaf, parseCertificate(issuer.certificate)]
  return stampSignature(ports, deployment.root.certificate, hash, rawSignature(scheme, signature), certificates)
}
