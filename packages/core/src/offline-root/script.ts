import { type CrlReason, REASON_CODE } from "@sealwright/formats/crl"
import { FormatError } from "@sealwright/formats/errors"
import { array, integer, mismatch, object, oneOf, type Reader, string } from "@sealwright/formats/shape"
import { type JsonObject, type JsonValue, parseJson } from "@sealwright/formats/strict-json"
import { ServiceError } from "../errors.ts"

/** Media type of a ceremony's script. */
export const SCRIPT_TYPE = "application/vnd.sealwright.root-ceremony.v1+json"
export const MAX_SCRIPT_BYTES = 65_536

/** What a rehearsal adds to the common name of every certificate. */
export const REHEARSAL_MARK = " REHEARSAL"
/** RFC 5280 gives a common name 64 characters; a rehearsal needs room for its mark, so that it fails exactly where the ceremony would. */
export const MAX_COMMON_NAME = 64 - REHEARSAL_MARK.length

const ALGORITHMS = ["ecdsa-p256-sha256", "ecdsa-p384-sha384", "rsa-pss-sha384"] as const
const MAX_STEPS = 64
const MAX_PARTICIPANTS = 16

/** What a ceremony is to do (docs/root-ceremony.md). Names are printable and of one line, so that none can pass for a line of the transcript. */
export interface CeremonyScript {
  readonly root: RootPlan
  readonly participants: readonly Participant[]
  readonly steps: readonly CeremonyStep[]
  /** lower-case hex SHA-256 of the newest entry that the participants know of; a folder without it is an old copy */
  readonly journal: string | undefined
}

export interface RootPlan {
  /** `local:NAME` or `pkcs11:token=…;object=…` */
  readonly key: string
  readonly keyIs: "new" | "existing"
  readonly algorithm: (typeof ALGORITHMS)[number]
  readonly subject: {
    readonly country: string
    readonly state: string
    readonly organisation: string
    readonly commonName: string
  }
  /** host, with a port where it has one, under which the root's CRL is published */
  readonly crlHost: string
}

export interface Participant {
  readonly name: string
  readonly role: string
}

/** `id` names the step for ever: what was done under it is done, and a repeat answers the same bytes. */
export type CeremonyStep =
  | { readonly id: string; readonly do: "make-root"; readonly years: number }
  | {
      readonly id: string
      readonly do: "certify-issuer"
      /** file with the request in PEM, relative to the script */
      readonly request: string
      /** lower-case hex SHA-256 of that file */
      readonly sha256: string
      readonly days: number
    }
  /** `issuer`: the id of the step that certified it */
  | { readonly id: string; readonly do: "revoke-issuer"; readonly issuer: string; readonly reason: CrlReason }
  | { readonly id: string; readonly do: "make-crl"; readonly days: number }

const text = (maxLength: number): Reader<string> =>
  string(maxLength, /^[^\p{C}\p{Zl}\p{Zp}\s](?:[^\p{C}\p{Zl}\p{Zp}]*[^\p{C}\p{Z}])?$/u)
const sha256 = string(64, /^[0-9a-f]{64}$/)
const id = string(48, /^[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?$/)

/** A hold would have to end one day, and an issuer's certificate is not lent: `certificateHold` is no reason here. */
const REASONS = (Object.keys(REASON_CODE) as CrlReason[]).filter((reason) => reason !== "certificateHold")

const STEPS = {
  "make-root": object({ id, do: oneOf("make-root"), years: integer(1, 30) }),
  "certify-issuer": object({
    id,
    do: oneOf("certify-issuer"),
    request: string(1024, /^[^\p{C}]+$/u),
    sha256,
    days: integer(1, 3660),
  }),
  "revoke-issuer": object({ id, do: oneOf("revoke-issuer"), issuer: id, reason: oneOf(...REASONS) }),
  "make-crl": object({ id, do: oneOf("make-crl"), days: integer(1, 1100) }),
} as const satisfies { readonly [Kind in CeremonyStep["do"]]: Reader<CeremonyStep> }

export const readStep: Reader<CeremonyStep> = (value, at) => {
  const kind = typeof value === "object" && value !== null ? (value as JsonObject).do : undefined
  if (typeof kind !== "string" || !Object.hasOwn(STEPS, kind))
    throw mismatch(`${at}.do`, `is not ${Object.keys(STEPS).join(" or ")}`)
  return STEPS[kind as CeremonyStep["do"]](value, at)
}

export const readRootPlan: Reader<RootPlan> = object({
  key: string(2048, /^(?:local:[A-Za-z0-9][A-Za-z0-9._/-]*|pkcs11:[!-~]+)$/),
  keyIs: oneOf("new", "existing"),
  algorithm: oneOf(...ALGORITHMS),
  subject: object({
    country: string(2, /^[A-Z]{2}$/),
    state: text(64),
    organisation: text(64),
    commonName: text(MAX_COMMON_NAME),
  }),
  crlHost: string(260, /^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?$/),
})

const scriptShape = object(
  {
    mediaType: string(100),
    root: readRootPlan,
    participants: array(object({ name: text(64), role: text(64) }), MAX_PARTICIPANTS, 1),
    steps: array(readStep, MAX_STEPS, 1),
  },
  { journal: sha256 },
)

/**
 * Reads a script: strict JSON of 64 KiB at most, unknown members refused.
 * @throws FormatError TOO_LARGE, TEXT_MALFORMED, JSON_MALFORMED, SHAPE_MISMATCH, VERSION_UNKNOWN; ServiceError CEREMONY_SCRIPT_INVALID for steps that
 * don't go together
 */
export function parseScript(bytes: Uint8Array): CeremonyScript {
  const value: JsonValue = parseJson(bytes, { maxBytes: MAX_SCRIPT_BYTES, maxDepth: 8 })
  const { mediaType, journal, ...script } = scriptShape(value, "script")
  if (mediaType !== SCRIPT_TYPE) throw new FormatError("VERSION_UNKNOWN", `not ${SCRIPT_TYPE}`)
  const ids = script.steps.map((step) => step.id)
  const repeated = ids.find((one, at) => ids.indexOf(one) !== at)
  if (repeated !== undefined) throw invalid(`two steps have the id ${repeated}`)
  const people = script.participants.map(({ name }) => name)
  if (new Set(people).size !== people.length) throw invalid("two participants have one name")
  if (script.steps.filter((step) => step.do === "make-root").length > 1) throw invalid("two steps make a root")
  return { ...script, journal }
}

export function invalid(detail: string): ServiceError {
  return new ServiceError("CEREMONY_SCRIPT_INVALID", detail)
}
