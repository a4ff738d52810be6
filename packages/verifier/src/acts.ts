import type { SignatureScheme } from "@sealwright/formats/algorithms"
import { hexEncode } from "@sealwright/formats/bytes"
import type { Certificate } from "@sealwright/formats/x509"
import type { OpenedBundle } from "./bundle.ts"
import type { VerifiedNotary } from "./notary.ts"
import { emailIn, holds } from "./trust-policy.ts"
import { type Check, fail, pass, type VerdictCode } from "./verdict.ts"
import type { Weighed } from "./verify-signature.ts"

/** Signatures that one act made under several algorithms, weighed as one (R19). */
export interface Act {
  readonly signerKey: string
  /** positions of the parties that it may stand for */
  readonly standsFor: readonly number[]
  readonly signatures: readonly Weighed[]
}

type Required = readonly (readonly SignatureScheme[])[]

/** The acts that have a signature of each required set, for the parties for which all of these may stand. Without required sets every act is one. */
export function completeActs(weighed: readonly Weighed[], required: Required): readonly Act[] {
  const acts = new Map<string, Weighed[]>()
  for (const one of weighed) {
    const key = one.act ?? (required.length > 0 ? one.signerName : one.signerKey)
    acts.set(key, [...(acts.get(key) ?? []), one])
  }
  return [...acts.values()].flatMap((signatures) => {
    const signed = (set: readonly SignatureScheme[], party: number) =>
      signatures.some((one) => isOf(one, set) && one.standsFor.includes(party))
    const parties = [...new Set(signatures.flatMap(({ standsFor }) => standsFor))]
    const standsFor = parties.filter((party) => required.every((set) => signed(set, party)))
    return standsFor.length === 0 ? [] : [{ signerKey: signatures[0]?.signerKey ?? "", standsFor, signatures }]
  })
}

/** True when those that are good or open could still be an act with all that is required. */
export function mayComplete(weighed: readonly Weighed[], required: Required): boolean {
  return required.every((set) => weighed.some((one) => isOf(one, set)))
}

/** A line for each required set. @param code why a set without a signature in `signatures` fails; undefined: none does */
export function algorithmChecks(
  signatures: readonly Weighed[],
  required: Required,
  code: VerdictCode | undefined,
): readonly Check[] {
  return required.map((set) => {
    const name = set.join(" or ")
    const found = signatures.filter((one) => isOf(one, set)).map(({ index }) => index + 1)
    if (found.length === 0 && code !== undefined) return fail("algorithm", code, name)
    return pass("algorithm", `${name}: signature ${found.join(", ")}`)
  })
}

function isOf({ algorithm }: Weighed, set: readonly SignatureScheme[]): boolean {
  return algorithm !== undefined && set.includes(algorithm)
}

/**
 * The act that a signature is of: an extra one names the first one's issuer and number under its own signature, so it goes with no other (R19). Of what nobody
 * numbers the signed name alone says what goes together.
 */
export function actOf({ envelope, leaf, issuerKeyId, number }: VerifiedNotary): string | undefined {
  const first = envelope.protected.sealwright?.beside ?? { issuerKeyId, number }
  return first.number === undefined
    ? undefined
    : `${hexEncode(first.issuerKeyId)}:${first.number} ${signerNameOf(leaf)}`
}

/** One publisher's roots certify one signer under one name, whichever of them; other roots are told apart. Keys and issuers don't count. */
export function signerKeyOf({ leaf, chain }: VerifiedNotary, bundle: OpenedBundle | undefined): string {
  const root = chain.at(-1) as Certificate
  const own = bundle?.trustBundle.roots ?? []
  const [publisher = root.spki] = holds(own, root.der) ? own : []
  return `${hexEncode(publisher)} ${signerNameOf(leaf)}`
}

export function signerNameOf(leaf: Certificate): string {
  return `${hexEncode(leaf.subject.der)} ${emailIn(leaf) ?? ""}`
}
