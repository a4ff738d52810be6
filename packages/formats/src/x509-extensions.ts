import { utf8Decode } from "./bytes.ts"
import { contextTag, DerReader, explicitTag, TAG } from "./der.ts"
import { FormatError } from "./errors.ts"

/** @property pathLength how many CA certificates may stand between this one and the leaf; undefined: any number */
export interface BasicConstraints {
  readonly ca: boolean
  readonly pathLength: number | undefined
}

export interface AuthorityKeyIdentifier {
  readonly keyIdentifier: Uint8Array | undefined
  /** content octets of the issuer certificate's serial */
  readonly serialBytes: Uint8Array | undefined
}

/** The kinds of GeneralName that this service writes or reads; all others are `other` with their tag. */
export type GeneralName =
  | { readonly type: "rfc822Name" | "dNSName" | "uniformResourceIdentifier"; readonly value: string }
  | { readonly type: "other"; readonly tag: number; readonly bytes: Uint8Array }

interface ExtensionKind<T> {
  readonly oid: string
  read(value: DerReader): T
}

/** Bits of KeyUsage, RFC 5280 §4.2.1.3. */
export const KEY_USAGE = {
  digitalSignature: 0,
  nonRepudiation: 1,
  keyEncipherment: 2,
  dataEncipherment: 3,
  keyAgreement: 4,
  keyCertSign: 5,
  cRLSign: 6,
  encipherOnly: 7,
  decipherOnly: 8,
} as const

/** Key purposes, RFC 5280 §4.2.1.12. */
export const KEY_PURPOSE = {
  any: "2.5.29.37.0",
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
  codeSigning: "1.3.6.1.5.5.7.3.3",
  emailProtection: "1.3.6.1.5.5.7.3.4",
  timeStamping: "1.3.6.1.5.5.7.3.8",
  ocspSigning: "1.3.6.1.5.5.7.3.9",
} as const

/** Certificate policies of this project, RFC 5280 §4.2.1.4: docs/formats/identity.md. */
export const CERTIFICATE_POLICY = {
  /** in a CA's certificate: signatures below it count with a trusted timestamp alone */
  timestampRequired: "1.2.840.113556.1.8000.2554.9327.26504.49217.19947.35598.11824264.7022646",
} as const

export const EXTENSION = {
  basicConstraints: {
    oid: "2.5.29.19",
    read(value): BasicConstraints {
      const fields = value.enter(TAG.SEQUENCE)
      const ca = fields.is(TAG.BOOLEAN)
      if (ca && !fields.boolean()) throw malformed("basicConstraints with a written default")
      const pathLength = fields.done ? undefined : fields.smallInteger()
      fields.finish()
      if (pathLength !== undefined && !ca) throw malformed("a path length without cA")
      return { ca, pathLength }
    },
  },
  keyUsage: {
    oid: "2.5.29.15",
    read(value): number {
      const { bytes, unused } = value.bits()
      const last = bytes.at(-1)
      if (last === undefined || bytes.length > 2 || ((last >> unused) & 1) === 0)
        throw malformed("a keyUsage without bits, with too many, or with trailing zeros")
      let mask = 0
      for (let bit = 0; bit < 8 * bytes.length; bit++)
        if (((bytes[bit >> 3] as number) & (0x80 >> (bit & 7))) !== 0) mask |= 1 << bit
      return mask
    },
  },
  extKeyUsage: {
    oid: "2.5.29.37",
    read(value): readonly string[] {
      const list = value.enter(TAG.SEQUENCE)
      const purposes: string[] = []
      do purposes.push(list.oid())
      while (!list.done)
      return purposes
    },
  },
  /** the policies' identifiers; their qualifiers are left alone */
  certificatePolicies: {
    oid: "2.5.29.32",
    read(value): readonly string[] {
      const list = value.enter(TAG.SEQUENCE)
      const policies: string[] = []
      do {
        const policy = list.enter(TAG.SEQUENCE)
        policies.push(policy.oid())
        if (!policy.done) policy.take(TAG.SEQUENCE)
        policy.finish()
      } while (!list.done)
      return policies
    },
  },
  subjectKeyIdentifier: {
    oid: "2.5.29.14",
    read: (value): Uint8Array => value.octets(),
  },
  authorityKeyIdentifier: {
    oid: "2.5.29.35",
    read(value): AuthorityKeyIdentifier {
      const fields = value.enter(TAG.SEQUENCE)
      const keyIdentifier = fields.is(contextTag(0)) ? fields.content(contextTag(0)) : undefined
      const issuer = fields.is(explicitTag(1))
      if (issuer) fields.take(explicitTag(1))
      const serialBytes = fields.is(contextTag(2)) ? fields.integerBytes(contextTag(2)) : undefined
      fields.finish()
      if (issuer !== (serialBytes !== undefined)) throw malformed("an authority issuer without its serial")
      return { keyIdentifier, serialBytes }
    },
  },
  subjectAltName: {
    oid: "2.5.29.17",
    read(value): readonly GeneralName[] {
      const list = value.enter(TAG.SEQUENCE)
      const names: GeneralName[] = []
      do names.push(readGeneralName(list))
      while (!list.done)
      return names
    },
  },
  /** the URIs of all distribution points that are given by full name */
  crlDistributionPoints: {
    oid: "2.5.29.31",
    read(value): readonly string[] {
      const list = value.enter(TAG.SEQUENCE)
      const uris: string[] = []
      do {
        const point = list.enter(TAG.SEQUENCE)
        if (point.is(explicitTag(0))) uris.push(...readDistributionPointName(point))
        if (point.is(contextTag(1))) point.next()
        if (point.is(explicitTag(2))) point.next()
        point.finish()
      } while (!list.done)
      return uris
    },
  },
  /** Fulcio's issuer, first form: the text itself, without a DER type */
  fulcioIssuer: {
    oid: "1.3.6.1.4.1.57264.1.1",
    read(value): string {
      const text = utf8Decode(value.bytes.subarray(value.at, value.end))
      value.reset(value.end, value.end)
      return text
    },
  },
  /** Fulcio's issuer, second form: DER UTF8String */
  fulcioIssuerV2: {
    oid: "1.3.6.1.4.1.57264.1.8",
    read(value): string {
      if (!value.is(TAG.UTF8_STRING)) throw malformed("not a UTF8String")
      return value.text()
    },
  },
} as const satisfies Record<string, ExtensionKind<unknown>>

/**
 * The value of one extension; undefined when it is absent.
 * @throws FormatError DER_MALFORMED, TEXT_MALFORMED, CERTIFICATE_MALFORMED for a value that is not of its type
 */
export function readExtension<T>(
  extensions: ReadonlyMap<string, { readonly value: Uint8Array }>,
  kind: ExtensionKind<T>,
): T | undefined {
  const extension = extensions.get(kind.oid)
  if (extension === undefined) return undefined
  const reader = new DerReader(extension.value)
  const value = kind.read(reader)
  reader.finish()
  return value
}

/** DistributionPointName under its [0]: the URIs of a full name; a name relative to the issuer has none. */
export function readDistributionPointName(point: DerReader): readonly string[] {
  const name = point.enter(explicitTag(0))
  const uris: string[] = []
  if (name.is(explicitTag(0))) {
    const names = name.enter(explicitTag(0))
    do {
      const general = readGeneralName(names)
      if (general.type === "uniformResourceIdentifier") uris.push(general.value)
    } while (!names.done)
  } else name.take(explicitTag(1))
  name.finish()
  return uris
}

function readGeneralName(list: DerReader): GeneralName {
  if (list.is(contextTag(1))) return { type: "rfc822Name", value: list.ascii(contextTag(1)) }
  if (list.is(contextTag(2))) return { type: "dNSName", value: list.ascii(contextTag(2)) }
  if (list.is(contextTag(6))) return { type: "uniformResourceIdentifier", value: list.ascii(contextTag(6)) }
  const tag = list.next()
  return { type: "other", tag, bytes: list.bytes.subarray(list.start, list.stop) }
}

function malformed(detail: string): FormatError {
  return new FormatError("CERTIFICATE_MALFORMED", detail)
}
