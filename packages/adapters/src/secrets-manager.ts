/**
 * One secret of AWS Secrets Manager. IAM: secretsmanager:GetSecretValue on that secret, and kms:Decrypt where a key of the account's own wraps it.
 */
import { KMSClient } from "@aws-sdk/client-kms"
import { ServiceError } from "@sealwright/core/errors"
import { openObject, string } from "@sealwright/formats/shape"
import { parseJson } from "@sealwright/formats/strict-json"
import { SignatureV4 } from "@smithy/signature-v4"
import { type ClientSettings, clientOptions } from "./sdk.ts"

const MAX_ANSWER_BYTES = 512 * 1024
const MAX_SECRET_LENGTH = 65_536
const ARN = /^arn:(aws[a-z-]*):secretsmanager:([a-z0-9-]+):\d{12}:secret:/
const answerShape = openObject({ SecretString: string(MAX_SECRET_LENGTH) })
const refusalShape = openObject({ __type: string(200) })

/** @throws ServiceError PIN_UNREADABLE: there is no such secret, or no right to it; SIGNER_UNAVAILABLE: try again */
export type ReadSecret = (id: string) => Promise<string>

/**
 * One signed request is less than a client of its own: credentials, region and hash are those that the KMS client finds.
 * @param settings `endpoint` in place of AWS's own address of the secret's region
 */
export function openReadSecret(settings: ClientSettings = {}): ReadSecret {
  const { config } = new KMSClient(clientOptions(settings))
  return async (id) => {
    const [, partition = "aws", arnRegion] = ARN.exec(id) ?? []
    const region = arnRegion ?? (await config.region())
    const suffix = partition === "aws-cn" ? "amazonaws.com.cn" : "amazonaws.com"
    const url = new URL(settings.endpoint ?? `https://secretsmanager.${region}.${suffix}`)
    const { credentials, sha256 } = config
    const signer = new SignatureV4({ service: "secretsmanager", region, credentials, sha256 })
    const body = JSON.stringify({ SecretId: id })
    const { headers } = await signer.sign({
      method: "POST",
      protocol: url.protocol,
      hostname: url.hostname,
      path: "/",
      headers: {
        host: url.host,
        "content-type": "application/x-amz-json-1.1",
        "x-amz-target": "secretsmanager.GetSecretValue",
      },
      body,
    })
    const signal = AbortSignal.timeout(settings.requestTimeoutMs ?? 3_000)
    const response = await fetch(url, { method: "POST", headers, body, redirect: "error", signal }).catch((cause) => {
      throw new ServiceError("SIGNER_UNAVAILABLE", "Secrets Manager did not answer", { cause })
    })
    return readAnswer(response.status, await readLimited(response))
  }
}

async function readLimited(response: Response): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of response.body ?? []) {
    length += chunk.length
    if (length > MAX_ANSWER_BYTES) throw new ServiceError("PIN_UNREADABLE", "Secrets Manager's answer is too long")
    chunks.push(chunk)
  }
  return new Uint8Array(Buffer.concat(chunks))
}

/** No error holds the answer: it may be the secret. */
function readAnswer(status: number, bytes: Uint8Array): string {
  if (status >= 500 || status === 429)
    throw new ServiceError("SIGNER_UNAVAILABLE", `Secrets Manager answered ${status}`)
  try {
    const answer = parseJson(bytes, { maxBytes: MAX_ANSWER_BYTES, maxDepth: 8 })
    if (status === 200) return answerShape(answer, "answer").SecretString
    throw new ServiceError("PIN_UNREADABLE", `Secrets Manager refuses: ${refusalShape(answer, "refusal").__type}`)
  } catch (error) {
    if (error instanceof ServiceError) throw error
    throw new ServiceError("PIN_UNREADABLE", `Secrets Manager gave no secret string (${status})`)
  }
}
