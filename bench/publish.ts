import { keys } from "@sealwright/core/ledger/keys"
import { listIssuers } from "@sealwright/core/ledger/trust"
import { padNumber } from "@sealwright/core/names"
import type { Table, Write } from "@sealwright/core/ports"
import { makeCrl } from "@sealwright/core/publish/crl"
import { publish } from "@sealwright/core/publish/flow"
import { LARGEST_LEASE } from "@sealwright/core/sign/rules"
import { createService, signRequest } from "../test/support/service.ts"
import { type Calls, counted } from "./counted.ts"
import { type Figure, median } from "./measure.ts"

const RECORDS = [1_000, 100_000, 1_000_000]
const ROUNDS = 9
const WRITES_AT_ONCE = 50
const OPENED = "2026-11-20T09:00:00.000Z"
const NOTE =
  "stores and keys in memory; settled leases of 64 numbers, one of them void; queries in pages of 1 MiB, as DynamoDB's"

type Service = ReturnType<typeof createService>

/** `after`: the plan of the epoch before is there; `anew`: it is lost, so that all that leases left void is read. */
type Way = "after" | "anew"

interface Publication extends Calls {
  readonly tookMs: number
  /** of the revocation list, which is always whole */
  readonly listBytes: number
}

/** What one publication with one new revocation costs as the records of an issuer grow: what it says is what changed, whatever stood before. */
export async function publishFigures(): Promise<Figure[]> {
  const measured = new Map<number, Record<Way, Publication>>()
  for (const records of RECORDS) measured.set(records, await measure(records))
  const [least, ...more] = RECORDS as [number, ...number[]]
  const of = (records: number, way: Way) => (measured.get(records) as Record<Way, Publication>)[way]
  const named = (records: number) => `publish: one revocation, ${records.toLocaleString("en")} records`
  const each = RECORDS.flatMap((records): Figure[] => [
    { figure: named(records), value: of(records, "after").tookMs, unit: "ms", note: NOTE },
    { figure: `${named(records)}, calls to DynamoDB`, value: of(records, "after").dynamodb, unit: "calls" },
    { figure: `${named(records)}, items that its queries read`, value: of(records, "after").items, unit: "items" },
    { figure: `${named(records)}, calls to S3`, value: of(records, "after").s3, unit: "calls" },
    { figure: `${named(records)}, the list`, value: of(records, "after").listBytes, unit: "bytes" },
    { figure: `${named(records)}, calls to KMS`, value: of(records, "after").kms, unit: "calls" },
    {
      figure: `${named(records)}, items where the plan before is lost`,
      value: of(records, "anew").items,
      unit: "items",
    },
  ])
  const grown = more.flatMap((records): Figure[] => {
    const times = (way: Way, member: "items" | "tookMs") => of(records, way)[member] / of(least, way)[member]
    const against = `${records.toLocaleString("en")} records against ${least.toLocaleString("en")}`
    return [
      { figure: `publish: items read, ${against}`, value: times("after", "items"), unit: "x", atMost: 1 },
      { figure: `publish: time, ${against}`, value: times("after", "tookMs"), unit: "x" },
      { figure: `publish: items read, ${against}, plan before lost`, value: times("anew", "items"), unit: "x" },
      { figure: `publish: time, ${against}, plan before lost`, value: times("anew", "tookMs"), unit: "x" },
    ]
  })
  return [...each, ...grown]
}

async function measure(records: number): Promise<Record<Way, Publication>> {
  const service = createService()
  await service.setUp()
  await service.profile("release")
  await seedLeases(service.ports.table, records)
  await service.publish(true)
  const found: Record<Way, Publication[]> = { after: [], anew: [] }
  for (let round = -1; round < ROUNDS; round++)
    for (const way of ["after", "anew"] as const) {
      const one = await publishOne(service, `${way} ${round}`, way)
      if (round >= 0) found[way].push(one)
    }
  const middle = (all: readonly Publication[]): Publication => ({
    tookMs: median(all.map((one) => one.tookMs)),
    listBytes: median(all.map((one) => one.listBytes)),
    dynamodb: median(all.map((one) => one.dynamodb)),
    items: median(all.map((one) => one.items)),
    s3: median(all.map((one) => one.s3)),
    kms: median(all.map((one) => one.kms)),
  })
  return { after: middle(found.after), anew: middle(found.anew) }
}

async function publishOne(service: Service, name: string, way: Way): Promise<Publication> {
  const [settled] = await service.signer()(signRequest([name]))
  if (settled === undefined || !("signed" in settled)) throw new Error("not signed")
  const { revocation } = await service.revoke({ kind: "signature", signature: settled.signed.id })
  if (way === "anew") service.memory.objects.lose((key) => key.startsWith("staging/plan/"))
  const { ports, take } = counted(service.ports)
  const requestCrl = async (epoch: number, issuerKeyId: string) => {
    await makeCrl(ports, epoch, issuerKeyId)
  }
  const began = performance.now()
  const { epoch } = await publish({ ...ports, requestCrl }, false)
  const tookMs = performance.now() - began
  if (epoch !== revocation.firstEpoch) throw new Error(`epoch ${epoch} was published`)
  return { tookMs, ...take(), listBytes: newestList(service) }
}

/** Bytes of the list that was made last: objects stand in the order of their making. */
function newestList({ memory }: Service): number {
  const lists = [...memory.objects.dump()].filter(([key]) => key.endsWith(".revocations.json"))
  return lists.at(-1)?.[1].bytes.length ?? 0
}

/** Settled leases as signing leaves them in the ledger: all numbers but the last have records. */
async function seedLeases(table: Table, records: number): Promise<void> {
  const [issuer] = await listIssuers(table)
  if (issuer === undefined) throw new Error("no issuer")
  const { issuerKeyId, firstNumber } = issuer
  const used = LARGEST_LEASE - 1
  const leases = Math.ceil(records / used)
  let writes: Write[] = []
  for (let i = 0; i < leases; i++) {
    const first = firstNumber + i * LARGEST_LEASE
    const last = padNumber(first + used)
    writes.push(
      {
        put: {
          ...keys.lease(issuerKeyId, first),
          issuerKeyId,
          profile: "release",
          generation: 1,
          first,
          size: LARGEST_LEASE,
          nonce: new Uint8Array(16),
          openedAt: OPENED,
          expiresAt: OPENED,
          state: "closed",
          used: Object.fromEntries(Array.from({ length: used }, (_, at) => [String(at), `${i}-${at}`])),
        },
      },
      { put: { ...keys.voids(issuerKeyId, first), ranges: [[last, last]] } },
    )
    if (writes.length < WRITES_AT_ONCE && i < leases - 1) continue
    await table.transact(writes)
    writes = []
  }
  await table.transact([{ update: keys.numbers(issuerKeyId), set: { next: firstNumber + leases * LARGEST_LEASE } }])
}
