import type { KMSClient } from "@aws-sdk/client-kms"
import { SignatureV4 } from "@smithy/signature-v4"
import type { ClientSettings } from "./sdk.ts"

/** An AWS service that is called seldom and in one way, for which a client of the SDK would be a third of a function. */
export interface SignedService {
  /** signing name and first part of the host, e.g. `lambda` */
  readonly name: string
  /** AWS's own variable for another address of this service; `AWS_ENDPOINT_URL` is read too, as its SDKs do */
  readonly endpointVariable: string
  readonly maxAnswerBytes: number
}

export interface SignedCall {
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  /** default: the region of the credentials' surroundings */
  readonly region?: string | undefined
}

export interface SignedAnswer {
  readonly status: number
  readonly headers: Headers
  readonly bytes: Uint8Array
}

/** @throws Error when there was no answer, so that nobody knows whether the call was carried out; RangeError for an answer that is too long */
export type SignedRequest = (call: SignedCall) => Promise<SignedAnswer>

/**
 * One `POST`, signed by the SDK's own signer. Credentials, region and hash are those that the KMS client finds.
 * @param settings `endpoint` in place of AWS's own address
 */
export function createSignedRequest(
  { config }: Pick<KMSClient, "config">,
  service: SignedService,
  settings: ClientSettings = {},
): SignedRequest {
  const { name, endpointVariable, maxAnswerBytes } = service
  return async ({ path, headers, body, region: wanted }) => {
    const region = wanted ?? (await config.region())
    const suffix = region.startsWith("cn-") ? "amazonaws.com.cn" : "amazonaws.com"
    const { [endpointVariable]: own, AWS_ENDPOINT_URL: common } = process.env
    const endpoint = settings.endpoint ?? (own || common || `https://${name}.${region}.${suffix}`)
    const url = new URL(path, endpoint)
    const { credentials, sha256 } = config
    const signer = new SignatureV4({ service: name, region, credentials, sha256 })
    const signed = await signer.sign({
      method: "POST",
      protocol: url.protocol,
      hostname: url.hostname,
      path: url.pathname,
      headers: { host: url.host, ...headers },
      body,
    })
    const signal = AbortSignal.timeout(settings.requestTimeoutMs ?? 3_000)
    const response = await fetch(url, { method: "POST", headers: signed.headers, body, redirect: "error", signal })
    return {
      status: response.status,
      headers: response.headers,
      bytes: await readLimited(response, maxAnswerBytes),
    }
  }
}

/** @throws RangeError for an answer that is too long */
export async function readLimited(response: Response, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of response.body ?? []) {
    length += chunk.length
    if (length > maxBytes) throw new RangeError(`an answer above ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  return new Uint8Array(Buffer.concat(chunks))
}
