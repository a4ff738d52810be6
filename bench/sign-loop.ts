/** A process that signs when told to: through the function's bundle, or by an SDK program that makes the same two calls. Answers its CPU time. */
import { randomBytes, randomUUID } from "node:crypto"
import { createRequire } from "node:module"
import { DynamoDBClient, type TransactWriteItem, TransactWriteItemsCommand } from "@aws-sdk/client-dynamodb"
import { KMSClient, SignCommand, type SignCommandInput } from "@aws-sdk/client-kms"

export type Order =
  | { readonly kind: "handler"; readonly bundle: string; readonly event: Readonly<Record<string, unknown>> }
  | { readonly kind: "sdk"; readonly sign: readonly string[]; readonly transaction: string }

export interface Round {
  readonly count: number
  readonly order: Order
}

let work: (() => Promise<void>) | undefined

process.on("message", async ({ count, order }: Round) => {
  work ??= order.kind === "handler" ? handlerWork(order) : sdkWork(order)
  const before = process.cpuUsage()
  for (let i = 0; i < count; i++) await work()
  const { user, system } = process.cpuUsage(before)
  process.send?.({ cpuMs: (user + system) / 1000 })
})

function handlerWork({ bundle, event }: Extract<Order, { kind: "handler" }>): () => Promise<void> {
  const { handler } = createRequire(import.meta.url)(bundle) as {
    handler: (event: unknown, context: unknown) => Promise<{ statusCode: number; body: string }>
  }
  return async () => {
    const subject = {
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      digest: `sha256:${randomBytes(32).toString("hex")}`,
      size: 528,
    }
    const body = JSON.stringify({ subject, reference: "registry.wabbit-networks.io/net-monitor:v1" })
    const reply = await handler({ ...event, body }, {})
    if (reply.statusCode !== 201) throw new Error(`not signed: ${reply.statusCode} ${reply.body}`)
  }
}

function sdkWork({ sign, transaction }: Extract<Order, { kind: "sdk" }>): () => Promise<void> {
  const kms = new KMSClient({})
  const dynamodb = new DynamoDBClient({})
  const inputs = sign.map((body): SignCommandInput => {
    const input = JSON.parse(body)
    return { ...input, Message: Buffer.from(input.Message, "base64") }
  })
  const items = withBytes(JSON.parse(transaction).TransactItems) as TransactWriteItem[]
  return async () => {
    await Promise.all(inputs.map((input) => kms.send(new SignCommand(input))))
    await dynamodb.send(new TransactWriteItemsCommand({ TransactItems: items, ClientRequestToken: randomUUID() }))
  }
}

/** The wire has binary values in base64, the SDK takes bytes. */
function withBytes(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withBytes)
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [
      name,
      name === "B" && typeof member === "string" ? Buffer.from(member, "base64") : withBytes(member),
    ]),
  )
}
