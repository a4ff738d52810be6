import type { KeyUse } from "@sealwright/core/ledger/key-uses"
import * as v from "valibot"

const text = v.pipe(v.string(), v.minLength(1), v.maxLength(2048))

/** What we read of CloudTrail's record of a call to KMS, as EventBridge delivers it. */
const trailEventSchema = v.object({
  source: v.literal("aws.kms"),
  detail: v.object({
    eventName: v.picklist(["Sign", "Decrypt"]),
    eventTime: v.pipe(v.string(), v.isoTimestamp()),
    eventID: text,
    requestID: text,
    errorCode: v.optional(text),
    sourceIPAddress: v.optional(text),
    requestParameters: v.nullish(v.object({ keyId: v.optional(text) })),
    resources: v.nullish(v.array(v.object({ ARN: v.optional(text) }))),
    userIdentity: v.object({
      arn: v.optional(text),
      accountId: v.optional(text),
      invokedBy: v.optional(text),
      sessionContext: v.optional(v.object({ sessionIssuer: v.optional(v.object({ arn: v.optional(text) })) })),
    }),
  }),
})

export function isTrailEvent(event: unknown): boolean {
  return typeof event === "object" && event !== null && "detail" in event
}

/**
 * @returns undefined for a call that KMS refused: no key was used
 * @throws ValiError for anything else than a record of a use; nobody but EventBridge may call, so that is a fault to be looked at
 */
export function keyUseOf(event: unknown): KeyUse | undefined {
  const { detail } = v.parse(trailEventSchema, event)
  if (detail.errorCode !== undefined) return undefined
  const { userIdentity: who } = detail
  return {
    requestId: detail.requestID,
    eventId: detail.eventID,
    at: new Date(detail.eventTime),
    keyId: detail.resources?.find(({ ARN }) => ARN !== undefined)?.ARN ?? detail.requestParameters?.keyId ?? "unknown",
    principal: who.sessionContext?.sessionIssuer?.arn ?? who.arn ?? who.invokedBy ?? who.accountId ?? "unknown",
    sourceIp: detail.sourceIPAddress ?? "unknown",
  }
}
