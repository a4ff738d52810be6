/**
 * One secret of AWS Secrets Manager. IAM: secretsmanager:GetSecretValue on that secret, and kms:Decrypt where a key of the account's own wraps it.
 */
import { KMSClient } from "@aws-sdk/client-kms"
import { ServiceError } from "@sealwright/core/errors"
import { openObject, string } from "@sealwright/formats/shape"
import { parseJson } from "@sealwright/formats/strict-json"
import { type ClientSettings, clientOptions } from "./sdk.ts"
import { createSignedRequest, type SignedService } from "./signed-request.ts"

const MAX_ANSWER_BYTES = 512 * 1024
const MAX_SECRET_LENGTH = 65_536
const ARN = /^arn:aws[a-z-]*:secretsmanager:([a-z0-9-]+):\d{12}:secret:/
const answerShape = openObject({ SecretString: string(MAX_SECRET_LENGTH) })
const refusalShape = openObject({ __type: string(200) })

/** @throws ServiceError SECRET_UNAVAILABLE: there is no such secret, or no right to it; SIGNER_UNAVAILABLE: try again */
export type ReadSecret = (id: string) => Promise<string>

const SECRETS_MANAGER: SignedService = {
  name: "secretsmanager",
  endpointVariable: "AWS_ENDPOINT_URL_SECRETS_MANAGER",
  maxAnswerBytes: MAX_ANSWER_BYTES,
}

export function openReadSecret(settings: ClientSettings = {}): ReadSecret {
  const request = createSignedRequest(new KMSClient(clientOptions(settings)), SECRETS_MANAGER, settings)
  return async (id) => {
    const { status, bytes } = await request({
      path: "/",
      headers: {
        "content-type": "application/x-amz-json-1.1",
        "x-amz-target": "secretsmanager.GetSecretValue",
      },
      body: JSON.stringify({ SecretId: id }),
      region: ARN.exec(id)?.[1],
    }).catch((cause: unknown) => {
      if (cause instanceof RangeError)
        throw new ServiceError("SECRET_UNAVAILABLE", "Secrets Manager's answer is too long")
      throw new ServiceError("SIGNER_UNAVAILABLE", "Secrets Manager did not answer", { cause })
    })
    return readAnswer(status, bytes)
  }
}

/** No error holds the answer: it may be the secret. */
function readAnswer(status: number, bytes: Uint8Array): string {
  if (status >= 500 || status === 429)
    throw new ServiceError("SIGNER_UNAVAILABLE", `Secrets Manager answered ${status}`)
  try {
    const answer = parseJson(bytes, { maxBytes: MAX_ANSWER_BYTES, maxDepth: 8 })
    if (status === 200) return answerShape(answer, "answer").SecretString
    throw new ServiceError("SECRET_UNAVAILABLE", `Secrets Manager refuses: ${refusalShape(answer, "refusal").__type}`)
  } catch (error) {
    if (error instanceof ServiceError) throw error
    throw new ServiceError("SECRET_UNAVAILABLE", `Secrets Manager gave no secret string (${status})`)
  }
}
