import { describe, expect, test } from "vitest"
import { isTrailEvent, keyUseOf } from "../../functions/reconcile/trail-event.ts"
import { trailEvent } from "../../localstack/kms/trail.ts"

const KEY = "arn:aws:kms:eu-central-1:111122223333:key/0a1b"
const call = {
  operation: "Sign",
  requestId: "5d0f0f0e-0000-4000-8000-000000000000",
  at: new Date("2026-11-21T09:00:01.234Z"),
  region: "eu-central-1",
  caller: {
    accessKeyId: "AKIAEXAMPLE",
    accountId: "111122223333",
    userArn: "arn:aws:sts::111122223333:assumed-role/sign/session",
    callerId: "AROAEXAMPLE:session",
  },
  input: { KeyId: "alias/other", SigningAlgorithm: "ECDSA_SHA_256", MessageType: "DIGEST" },
  keyArn: KEY,
  errorCode: undefined,
}
const event = (changes: object = {}) => trailEvent({ ...call, ...changes })

describe("CloudTrail's record of a use of a key (D13)", () => {
  test("says who used which key when, by the role and the key's ARN, whatever the caller called them", () => {
    const made = event()
    expect(isTrailEvent(made)).toBe(true)
    expect(keyUseOf(made)).toEqual({
      requestId: call.requestId,
      eventId: made?.detail.eventID,
      at: new Date("2026-11-21T09:00:01Z"),
      keyId: KEY,
      principal: "arn:aws:iam::111122223333:role/sign",
      sourceIp: "127.0.0.1",
    })
  })

  test.each(["AccessDenied", "DryRunOperationException", "ThrottlingException"])("%s: no key was used", (errorCode) => {
    expect(keyUseOf(event({ errorCode }))).toBeUndefined()
  })

  test.each([
    [{ arn: "arn:aws:iam::111122223333:user/eve" }, "arn:aws:iam::111122223333:user/eve"],
    [{ invokedBy: "backup.amazonaws.com" }, "backup.amazonaws.com"],
    [{ accountId: "999988887777" }, "999988887777"],
    [{}, "unknown"],
  ])("who is no role is named as far as CloudTrail does: %o", (userIdentity, principal) => {
    const made = event()
    expect(keyUseOf({ ...made, detail: { ...made?.detail, userIdentity } })?.principal).toBe(principal)
  })

  test.each([
    ["another service", { source: "aws.s3" }],
    ["no detail", { detail: undefined }],
    ["another call", { detail: { ...event()?.detail, eventName: "Verify" } }],
    ["no request's id", { detail: { ...event()?.detail, requestID: undefined } }],
    ["no time", { detail: { ...event()?.detail, eventTime: "yesterday" } }],
  ])("what is none is a fault that rings: %s", (_, changes) => {
    expect(() => keyUseOf({ ...event(), ...changes })).toThrow()
  })
})
