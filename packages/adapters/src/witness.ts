/** Witnesses of transparency logs, over the network (C2SP tlog-witness). IAM: none. */
import { Agent as HttpAgent, type IncomingMessage, request as requestHttp } from "node:http"
import { Agent as HttpsAgent, request as requestHttps } from "node:https"
import {
  AnswerTooLong,
  createWitnesses,
  type PostToWitness,
  WITNESS_DEADLINE_MS,
  type WitnessAnswer,
  type Witnesses,
} from "@sealwright/core/log/witness"
import type { Clock, RunStep } from "@sealwright/core/ports"
import type { LogPolicy } from "@sealwright/formats/tlog-policy"

/** Connections are kept between checkpoints. Agents of our own ask no proxy, whatever the environment says. */
const AGENTS = {
  "http:": { request: requestHttp, agent: new HttpAgent({ keepAlive: true }) },
  "https:": { request: requestHttps, agent: new HttpsAgent({ keepAlive: true }) },
} as const

export function openWitnesses(policy: LogPolicy, clock: Clock, run: RunStep): Witnesses {
  const deadline = () => AbortSignal.timeout(WITNESS_DEADLINE_MS)
  return createWitnesses({ post: postToWitness, deadline, clock, run }, policy)
}

export const postToWitness: PostToWitness = (url, body, maxBytes, signal) =>
  new Promise((resolve, reject) => {
    const { request, agent } = new URL(url).protocol === "https:" ? AGENTS["https:"] : AGENTS["http:"]
    const headers = { "content-type": "text/plain; charset=utf-8", "content-length": body.length }
    const sent = request(url, { method: "POST", agent, headers, signal }, (response) => {
      readAnswer(response, maxBytes).then(resolve, (error) => {
        sent.destroy()
        reject(error)
      })
    })
    sent.on("error", reject)
    sent.end(body)
  })

async function readAnswer(response: IncomingMessage, maxBytes: number): Promise<WitnessAnswer> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of response as AsyncIterable<Uint8Array>) {
    length += chunk.length
    if (length > maxBytes) throw new AnswerTooLong(`an answer above ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  return {
    status: response.statusCode ?? 0,
    contentType: response.headers["content-type"] ?? "",
    body: new Uint8Array(Buffer.concat(chunks)),
  }
}
