import { ServiceError } from "@sealwright/core/errors"
import { MAX_JOB_SUBJECTS } from "@sealwright/core/jobs/rules"
import { CRL_REASONS } from "@sealwright/core/model"
import { SLUG, ULID } from "@sealwright/core/names"
import { MAX_FOREIGN_ENVELOPE_BYTES } from "@sealwright/core/records/foreign"
import { MAX_SUBJECTS } from "@sealwright/core/sign/rules"
import { base64Decode } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import { parseTime } from "@sealwright/formats/time"
import * as v from "valibot"

/** One schema a route (D14): requests are checked against it, and docs/openapi.json is generated from it. Unknown members are refused. */

export const slug = v.pipe(v.string(), v.maxLength(48), v.regex(SLUG))
export const digest = v.pipe(v.string(), v.regex(/^(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})$/))
const reference = v.pipe(v.string(), v.minLength(3), v.maxLength(520))
export const principal = v.pipe(v.string(), v.maxLength(256))
const time = v.pipe(v.string(), v.regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/))
export const whole = (min: number, max: number) => v.pipe(v.number(), v.integer(), v.minValue(min), v.maxValue(max))

const subject = v.strictObject({
  mediaType: v.pipe(
    v.string(),
    v.maxLength(255),
    v.regex(/^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}\/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$/),
  ),
  digest,
  size: whole(0, Number.MAX_SAFE_INTEGER),
})
const subjectEntry = { subject, reference }

export const signOneSchema = v.strictObject({ ...subjectEntry, expiresAt: v.optional(time) })

export const signBatchSchema = v.strictObject({
  subjects: v.pipe(v.array(v.strictObject(subjectEntry)), v.minLength(1), v.maxLength(MAX_SUBJECTS)),
  expiresAt: v.optional(time),
})

/** With `Prefer: respond-async`. */
export const signJobSchema = v.strictObject({
  subjects: v.pipe(v.array(v.strictObject(subjectEntry)), v.minLength(1), v.maxLength(MAX_JOB_SUBJECTS)),
  expiresAt: v.optional(time),
})

/** What the route takes: one subject, or `subjects`, of which a job takes more. */
export const signOrJobSchema = v.union([signOneSchema, signBatchSchema, signJobSchema])

export const foreignSignatureSchema = v.strictObject({
  envelope: v.pipe(
    v.string(),
    v.maxLength(Math.ceil(MAX_FOREIGN_ENVELOPE_BYTES / 3) * 4),
    v.regex(/^[A-Za-z0-9+/]+={0,2}$/),
  ),
  reference,
})

export const revocationSchema = v.strictObject({
  target: v.variant("kind", [
    v.strictObject({ kind: v.literal("signature"), signature: v.pipe(v.string(), v.regex(ULID)) }),
    v.strictObject({ kind: v.literal("artifact"), digest }),
    v.strictObject({ kind: v.literal("certificate"), thumbprint: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)) }),
    v.strictObject({ kind: v.literal("certificate"), signature: v.pipe(v.string(), v.regex(ULID)) }),
    v.strictObject({ kind: v.literal("issuer"), issuer: slug, from: v.optional(time) }),
    v.strictObject({ kind: v.literal("profile"), profile: slug, from: time }),
    v.strictObject({ kind: v.literal("principal"), principal, from: time, until: v.optional(time) }),
  ]),
  reason: v.optional(v.picklist(CRL_REASONS), "unspecified"),
  comment: v.optional(v.pipe(v.string(), v.maxLength(500)), ""),
  effectiveAt: v.optional(time),
})

/** What an acknowledged finding turned out to be. */
export const acknowledgementSchema = v.strictObject({
  comment: v.pipe(v.string(), v.trim(), v.minLength(1), v.maxLength(500)),
})

/** @throws ServiceError REQUEST_MALFORMED naming the first member that is wrong, DIGEST_INVALID when that is a digest */
export function check<const Schema extends v.GenericSchema>(schema: Schema, value: unknown): v.InferOutput<Schema> {
  const result = v.safeParse(schema, value, { abortEarly: true })
  if (result.success) return result.output
  const [issue] = result.issues
  const path = v.getDotPath(issue) ?? "body"
  const code = /(?:^|\.)digests?(?:\.\d+)?$/.test(path) ? "DIGEST_INVALID" : "REQUEST_MALFORMED"
  throw new ServiceError(code, `${path}: ${issue.message}`)
}

/** @throws ServiceError REQUEST_MALFORMED unless it is `YYYY-MM-DDThh:mm:ssZ`, on a day that exists */
export function dateOf(text: string): Date {
  try {
    return parseTime(text)
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    throw new ServiceError("REQUEST_MALFORMED", `${text} is not a time in UTC`, { cause: error })
  }
}

/** @throws ServiceError REQUEST_MALFORMED unless it is base64 with padding, in its canonical form */
export function bytesOf(base64: string): Uint8Array {
  try {
    return base64Decode(base64)
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    throw new ServiceError("REQUEST_MALFORMED", error.message, { cause: error })
  }
}
