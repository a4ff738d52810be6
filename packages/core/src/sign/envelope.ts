import { schemeRow } from "@sealwright/formats/algorithms"
import { base64Encode, bytesEqual, hexDecode, hexEncode } from "@sealwright/formats/bytes"
import { batchSerial, leafSerial, leafSerialInput } from "@sealwright/formats/leaf-serial"
import { assembleEnvelope, type BesideSignature, rawSignature, unsignedEnvelope } from "@sealwright/formats/notary-jws"
import { JWS_MEDIA_TYPE } from "@sealwright/formats/oci-notary"
import { type Certificate, parseCertificate } from "@sealwright/formats/x509"
import { ChainCache } from "@sealwright/verifier/chain-cache"
import { verifySignature } from "@sealwright/verifier/requests"
import { leafCertifier } from "../admin/certificates.ts"
import { ServiceError } from "../errors.ts"
import { rootsOf } from "../ledger/trust.ts"
import { type Envelope, envelopeFormat, type KeyMode } from "../model.ts"
import type { Digest, KeyReference, MakeEphemeralKey, NoteUse, RunStep, SigningKeys } from "../ports.ts"
import type { Grant, Standing } from "./leases.ts"
import { isStamped, leafStart, planLeafEnd, type SubjectRequest } from "./rules.ts"
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

/**
 * Makes one signature on one subject under one number of the grant.
 * @param beside the first signature of the act, which an extra one names
 */
export type MakeSignature = (
  grant: Grant,
  number: number,
  subject: SubjectRequest,
  signedAt: Date,
  expiresAt: Date | undefined,
  beside?: BesideSignature,
) => Promise<MadeSignature>

/** A certificate and the key it certifies, ready to sign one envelope. */
interface Leaf {
  readonly certificate: Uint8Array
  readonly serial: Uint8Array
  readonly notBefore: Date
  readonly notAfter: Date
  readonly key: Pick<KeyReference, "scheme" | "spki">
  readonly sign: (message: Uint8Array) => Uint8Array | Promise<Uint8Array>
}

/** Lends the leaf of one number: a key for one act ends with `use`, however that ends. */
type LendLeaf = (
  grant: Grant,
  number: number,
  signedAt: Date,
  use: (leaf: Leaf) => Promise<MadeSignature>,
) => Promise<MadeSignature>

/**
 * How signatures are made (D2): with `ephemeral`, a fresh key certified by the issuer; with `shared`, one such key for all numbers of the grant; with
 * `held`, the profile's own key under its own certificate. One call to the key service, and with `shared` one for the whole grant; a timestamp is the authority's own call. Nothing is returned before it has verified: a faulty key service must not get a
 * signature out. What all signatures of one standing share is worked out, and a held certificate checked, once.
 * The function returned @throws ServiceError TIMESTAMP_UNAVAILABLE, SIGNER_UNAVAILABLE, KEY_NOT_USABLE, ISSUER_NOT_ACTIVE, SIGNATURE_SELF_CHECK_FAILED
 */
export function createSignatureMaker(own: EnvelopePorts): MakeSignature {
  const cache = new ChainCache()
  const ports = { ...own, cache }
  const lenders = new WeakMap<Standing, LendLeaf>()

  function lenderOf(standing: Standing): LendLeaf {
    const known = lenders.get(standing)
    if (known !== undefined) return known
    const made = LENDERS[standing.profile.keyMode](ports, standing)
    lenders.set(standing, made)
    return made
  }

  return async (grant, number, subject, signedAt, expiresAt, beside) => {
    const { standing } = grant
    const { issuer, profile } = standing
    const stamped = isStamped(profile.timestamp)
    return await lenderOf(standing)(grant, number, signedAt, async (leaf) => {
      const unsigned = unsignedEnvelope({
        scheme: leaf.key.scheme,
        ...(stamped ? { signingTime: signedAt } : { authenticSigningTime: signedAt }),
        ...(expiresAt && { expiry: expiresAt }),
        target: { mediaType: subject.mediaType, digest: subject.digest, size: subject.size },
        sealwright: { issuerKeyId: hexDecode(issuer.issuerKeyId), serial: leaf.serial, number, beside },
      })
      const signature = await leaf.sign(unsigned.signingInput)
      if (!verifies(ports, leaf.key, unsigned.signingInput, signature)) throw selfCheckFailed(standing)
      const token = stamped ? await timestampOf(ports, standing, leaf, signature) : undefined
      const chain = [leaf.certificate, issuer.certificate, ...issuer.chain]
      return {
        envelope: {
          format: envelopeFormat(leaf.key.scheme),
          mediaType: JWS_MEDIA_TYPE,
          bytes: assembleEnvelope(unsigned, signature, chain, SIGNING_AGENT, token),
        },
        serialHex: hexEncode(leaf.serial),
        certificateNotAfter: leaf.notAfter,
      }
    })
  }
}

const LENDERS: Readonly<Record<KeyMode, (ports: EnvelopePorts, standing: Standing) => LendLeaf>> = {
  ephemeral: freshLeaves,
  shared: sharedLeaves,
  held: heldLeaf,
}

function freshLeaves(ports: EnvelopePorts, standing: Standing): LendLeaf {
  const make = leafMaker(ports, standing)
  return async ({ lease, note }, number, signedAt, use) => {
    const serial = leafSerial(ports.digest("sha256", leafSerialInput(lease.nonce, number)), number)
    const { leaf, drop } = await make(serial, signedAt, note)
    try {
      return await use(leaf)
    } finally {
      await drop()
    }
  }
}

/** Each number of a grant is asked for once; the last to be done drops the key. */
function sharedLeaves(ports: EnvelopePorts, standing: Standing): LendLeaf {
  const make = leafMaker(ports, standing)
  const open = new WeakMap<Grant, { readonly made: Promise<FreshLeaf>; left: number }>()
  return async (grant, _number, signedAt, use) => {
    const { lease, note, numbers } = grant
    const [first = lease.first] = numbers
    const serial = () => batchSerial(ports.digest("sha256", leafSerialInput(lease.nonce, first)), first, numbers.length)
    const batch = open.get(grant) ?? { made: make(serial(), signedAt, note), left: numbers.length }
    open.set(grant, batch)
    try {
      return await use((await batch.made).leaf)
    } finally {
      if (--batch.left === 0)
        await batch.made.then(
          ({ drop }) => drop(),
          () => undefined,
        )
    }
  }
}

interface FreshLeaf {
  readonly leaf: Leaf
  readonly drop: () => void | Promise<void>
}

/** Makes a key for one act and has the issuer certify it; when that fails, the key is dropped. */
function leafMaker(ports: EnvelopePorts, standing: Standing) {
  const { deployment, issuer, profile } = standing
  const certify = leafCertifier(ports, issuer, deployment, profile.name)
  return async (serial: Uint8Array, signedAt: Date, note: NoteUse): Promise<FreshLeaf> => {
    const key = await ports.makeEphemeralKey(standing.algorithm)
    const drop = () => key.drop()
    try {
      const notBefore = leafStart(profile.timestamp, signedAt)
      const notAfter = planLeafEnd(profile, issuer, signedAt)
      const certificate = await certify({ serial, spki: key.spki, notBefore, notAfter }, note)
      checkLeaf(ports, standing, parseCertificate(certificate), key)
      return { leaf: { certificate, serial, notBefore, notAfter, key, sign: (message) => key.sign(message) }, drop }
    } catch (error) {
      await drop()
      throw error
    }
  }
}

function heldLeaf(ports: EnvelopePorts, standing: Standing): LendLeaf {
  const { held, name } = standing.profile
  if (held === undefined) throw new Error(`damaged item: profile ${name} holds no key`)
  const { certificate, key } = held
  const parsed = parseCertificate(certificate)
  checkLeaf(ports, standing, parsed, key)
  const { notBefore, notAfter, serialBytes: serial } = parsed
  return async ({ note }, _number, signedAt, use) => {
    if (signedAt.getTime() > notAfter.getTime())
      throw new ServiceError("ISSUER_NOT_ACTIVE", `the certificate of profile ${name} ended ${notAfter.toISOString()}`)
    return await use({
      certificate,
      serial,
      notBefore,
      notAfter,
      key,
      sign: (message) => ports.keys.sign(key, message, note),
    })
  }
}

/** No signature of such a profile leaves without its token. */
function timestampOf(
  ports: EnvelopePorts & { readonly cache: ChainCache },
  { deployment, issuer, outside }: Standing,
  leaf: Leaf,
  signature: Uint8Array,
): Promise<Uint8Array> {
  const { scheme } = leaf.key
  const { hash } = schemeRow(scheme)
  if (hash === undefined) throw new ServiceError("KEY_NOT_USABLE", `no timestamps over ${scheme}`)
  const issuing = ports.cache.certificate(base64Encode(issuer.certificate))
  const authority =
    outside === undefined
      ? { ask: ports.timestamper, roots: rootsOf(deployment).map((root) => root.certificate) }
      : { ask: ports.outsideTimestampers(outside.name), roots: outside.roots }
  return stampSignature(ports, authority, hash, rawSignature(scheme, signature), [leaf, issuing])
}

/** The issuer signed the certificate, and it is for the key that was meant. */
function checkLeaf(ports: EnvelopePorts, standing: Standing, certificate: Certificate, key: Leaf["key"]): void {
  const { tbs, signature, spki } = certificate
  if (!bytesEqual(spki, key.spki) || !verifies(ports, standing.issuer.key, tbs, signature))
    throw selfCheckFailed(standing)
}

function verifies(ports: EnvelopePorts, key: Leaf["key"], message: Uint8Array, signature: Uint8Array): boolean {
  return ports.run(verifySignature(key.scheme, key.spki, message, signature))
}

function selfCheckFailed({ profile }: Standing): ServiceError {
  return new ServiceError("SIGNATURE_SELF_CHECK_FAILED", `profile ${profile.name}`)
}
