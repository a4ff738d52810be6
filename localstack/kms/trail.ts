import { randomUUID } from "node:crypto"
import type { Caller } from "../sigv4.ts"

/** A call as CloudTrail records it, in the envelope that EventBridge delivers; what a use of a key has of it. */
export interface TrailEvent {
  readonly version: "0"
  readonly id: string
  readonly "detail-type": "AWS API Call via CloudTrail"
  readonly source: "aws.kms"
  readonly account: string
  readonly time: string
  readonly region: string
  readonly resources: readonly string[]
  readonly detail: {
    readonly eventName: string
    readonly errorCode?: string
    readonly requestID: string
    readonly eventID: string
    readonly [member: string]: unknown
  }
}

/** Management events that use a key; CloudTrail shows neither the message nor the signature. */
const RECORDED = new Set(["Sign", "Decrypt"])

export interface RecordedCall {
  readonly operation: string
  readonly requestId: string
  readonly at: Date
  readonly region: string
  readonly caller: Caller
  readonly input: { readonly [name: string]: unknown }
  /** ARN; `*` when the request named no key that there is */
  readonly keyArn: string
  readonly errorCode: string | undefined
}

/** @returns undefined for calls that are none of a key's use */
export function trailEvent(call: RecordedCall): TrailEvent | undefined {
  if (!RECORDED.has(call.operation)) return undefined
  const time = `${call.at.toISOString().slice(0, 19)}Z`
  const { accountId, userArn, callerId } = call.caller
  const [, role = ""] = /assumed-role\/([^/]+)\//.exec(userArn) ?? []
  const { KeyId, SigningAlgorithm, MessageType, EncryptionContext } = call.input
  return {
    version: "0",
    id: randomUUID(),
    "detail-type": "AWS API Call via CloudTrail",
    source: "aws.kms",
    account: accountId,
    time,
    region: call.region,
    resources: [],
    detail: {
      eventVersion: "1.11",
      userIdentity: {
        type: "AssumedRole",
        principalId: callerId,
        arn: userArn,
        accountId,
        sessionContext: {
          sessionIssuer: {
            type: "Role",
            principalId: callerId.split(":")[0],
            arn: `arn:aws:iam::${accountId}:role/${role}`,
            accountId,
            userName: role,
          },
          attributes: { creationDate: time, mfaAuthenticated: "false" },
        },
      },
      eventTime: time,
      eventSource: "kms.amazonaws.com",
      eventName: call.operation,
      awsRegion: call.region,
      sourceIPAddress: "127.0.0.1",
      userAgent: "local",
      ...(call.errorCode !== undefined && { errorCode: call.errorCode }),
      requestParameters: {
        keyId: KeyId,
        ...(call.operation === "Sign"
          ? { signingAlgorithm: SigningAlgorithm, messageType: MessageType }
          : { encryptionContext: EncryptionContext }),
      },
      responseElements: null,
      requestID: call.requestId,
      eventID: randomUUID(),
      readOnly: true,
      resources: call.keyArn === "*" ? [] : [{ accountId, type: "AWS::KMS::Key", ARN: call.keyArn }],
      eventType: "AwsApiCall",
      managementEvent: true,
      recipientAccountId: accountId,
      eventCategory: "Management",
    },
  }
}
