/** Witnesses of transparency logs, over the network (C2SP tlog-witness). IAM: none. */
import { Resolver } from "node:dns/promises"
import { Agent as HttpAgent, type IncomingMessage, request as requestHttp } from "node:http"
import { Agent as HttpsAgent, request as requestHttps } from "node:https"
import { BlockList, type LookupFunction } from "node:net"
import {
  AddressRefused,
  AnswerTooLong,
  type Cosign,
  createCosign,
  createWitnesses,
  type PostToWitness,
  WITNESS_DEADLINE_MS,
  type WitnessAnswer,
  type Witnesses,
} from "@sealwright/core/log/witness"
import type { Clock, RunStep } from "@sealwright/core/ports"
import type { LogPolicy } from "@sealwright/formats/tlog-policy"

/** Loopback, link-local and metadata addresses (RFC 1122 §3.2.1.3, RFC 3927, RFC 4291 §2.5, EC2's over IPv6): no stranger lives there. */
const REFUSED = new BlockList()
for (const [address, prefix] of [["0.0.0.0", 8] as const, ["127.0.0.0", 8] as const, ["169.254.0.0", 16] as const])
  REFUSED.addSubnet(address, prefix, "ipv4")
for (const [address, prefix] of [["::", 127] as const, ["fe80::", 10] as const, ["fd00:ec2::", 32] as const])
  REFUSED.addSubnet(address, prefix, "ipv6")

/** What is asked of `node:dns`. */
export type NameResolver = Pick<Resolver, "resolve4" | "resolve6">

/** The system's own look-ups share few threads with all of AWS's clients, and a stranger's slow name server would hold those up. */
function openResolver(): NameResolver {
  return new Resolver({ timeout: WITNESS_DEADLINE_MS / 2, tries: 2 })
}

/** Addresses of a name, IPv6 where there are none of IPv4; a name of which one address is refused is refused whole. */
export function createLookup(resolver: NameResolver): LookupFunction {
  return (name, { all }, done) => {
    find(resolver, name).then(
      (found) => {
        const [first] = found
        if (first === undefined) done(new Error(`${name} has no address`), "")
        else if (all === true) done(null, found)
        else done(null, first.address, first.family)
      },
      (error: Error) => done(error, ""),
    )
  }
}

async function find(resolver: NameResolver, name: string): Promise<{ address: string; family: 4 | 6 }[]> {
  const four = await resolver.resolve4(name).catch(() => [])
  const found =
    four.length > 0
      ? four.map((address) => ({ address, family: 4 as const }))
      : (await resolver.resolve6(name)).map((address) => ({ address, family: 6 as const }))
  const refused = found.find(({ address, family }) => REFUSED.check(address, family === 4 ? "ipv4" : "ipv6"))
  if (refused !== undefined) throw new AddressRefused(`${name} leads to ${refused.address}`)
  return found
}

/** Connections are kept between checkpoints. Agents of our own ask no proxy, whatever the environment says. */
const AGENTS = {
  "http:": { request: requestHttp, agent: new HttpAgent({ keepAlive: true }) },
  "https:": { request: requestHttps, agent: new HttpsAgent({ keepAlive: true, lookup: createLookup(openResolver()) }) },
} as const

/** @param local see `WitnessPorts` */
export function openWitnesses(policy: LogPolicy, clock: Clock, run: RunStep, local: boolean): Witnesses {
  return createWitnesses({ post: postToWitness, deadline, clock, run, local }, policy)
}

/** As `openWitnesses`, for a policy that is known when a checkpoint is there. */
export function openCosign(clock: Clock, run: RunStep, local: boolean): Cosign {
  return createCosign({ post: postToWitness, deadline, clock, run, local })
}

const deadline = () => AbortSignal.timeout(WITNESS_DEADLINE_MS)

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
