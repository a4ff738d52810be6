import { createMemoryObjects } from "@sealwright/adapters/memory-objects"
import { createMemoryTable } from "@sealwright/adapters/memory-table"
import { digest } from "@sealwright/adapters/platform"
import { createIssuer, holdCeremony } from "@sealwright/core/admin/ceremony"
import { createProfile } from "@sealwright/core/admin/profiles"
import { addRoot } from "@sealwright/core/admin/roots"
import { isServiceError } from "@sealwright/core/errors"
import type { Item, Objects, RandomBytes, SigningKeys, Table, Write } from "@sealwright/core/ports"
import { makeCrl } from "@sealwright/core/publish/crl"
import { publish } from "@sealwright/core/publish/flow"
import { createSigner } from "@sealwright/core/sign/flow"
import type { SignatureScheme } from "@sealwright/formats/algorithms"
import { bytesEqual, hexDecode, hexEncode } from "@sealwright/formats/bytes"
import { parseCheckpoint } from "@sealwright/formats/checkpoint"
import { parseCrl } from "@sealwright/formats/crl"
import { NOTE_TYPE, parseNote } from "@sealwright/formats/signed-note"
import { fsck } from "../../packages/cli/src/fsck/check.ts"
import { checkSuccessor, type ListJson, readEdition, ruleName } from "../support/edition-check.ts"
import { CHEAP_CRYPTO, type CryptoScheme } from "../support/fakes-crypto.ts"
import { type Around, type FaultyPorts, withFaults } from "../support/fakes-faults.ts"
import { NoteSigner } from "../support/log.ts"
import { ADMIN, NAMES, PROFILE, signRequest } from "../support/service.ts"
import { cosignAlways } from "../support/witness.ts"

/** What a caller got, and what was promised to it. */
interface Released {
  readonly request: string
  readonly digest: string
  readonly id: string
  readonly bytes: Uint8Array
}

interface Promised {
  /** as the lists name it */
  readonly name: string
  readonly epoch: number
}

interface TakenLease {
  readonly first: number
  readonly size: number
  readonly nonce: Uint8Array
}

export type Ports = ReturnType<World["portsOf"]>

const START = new Date("2026-11-21T09:00:00Z")

/** Asked where an act says so. */
export const WITNESS = new NoteSigner("w.example", NOTE_TYPE.cosignature)

const NO_TIMESTAMPS = { timestamp: () => Promise.reject(new Error("no timestamps here")) }

/** A deployment over memory that watches itself: every applied write and every key use is checked as it happens. */
export class World {
  readonly table: ReturnType<typeof createMemoryTable>
  readonly objects = createMemoryObjects()
  readonly violations: string[] = []
  readonly released: Released[] = []
  readonly promised: Promised[] = []
  readonly editions: ListJson[] = []
  /** profiles whose suspension was acknowledged and whose resumption nobody has asked for */
  readonly suspended = new Set<string>()
  /** what a change of the flows under test does to an actor's ports */
  mutate: (ports: FaultyPorts, actor: string) => FaultyPorts = (ports) => ports
  now = START
  readonly #leases: TakenLease[] = []
  readonly #heads = new Map<string, number>()
  readonly #draw: () => number
  readonly #watched: FaultyPorts
  /** writes that took effect */
  #changes = 0
  readonly #crypto: CryptoScheme

  constructor(draw: () => number, items: readonly Item[] = [], crypto = CHEAP_CRYPTO) {
    this.#draw = draw
    this.#crypto = crypto
    this.table = createMemoryTable(items)
    const keys = crypto.keys(this.random)
    this.#watched = {
      table: this.#watchTable(this.table),
      objects: this.#watchObjects(this.objects),
      keys: this.#watchKeys(keys),
      maker: keys,
      wrapper: keys,
    }
  }

  readonly random: RandomBytes = (length) => Uint8Array.from({ length }, () => Math.floor(this.#draw() * 256))

  /** How far this deployment has come. In two runs that began alike and went alike up to here it is the same, and so is what the stores hold. */
  course(): string {
    const { released, promised, suspended, editions } = this
    const told = [released.length, promised.length, suspended.size, editions.length]
    return [this.#changes, this.now.toISOString(), ...told].join()
  }

  /** Objects are gone, as nothing in the service makes them go. */
  lose(matches: (key: string) => boolean): void {
    this.#changes++
    this.objects.lose(matches)
  }

  fail(problem: string): void {
    if (this.violations.length < 20) this.violations.push(problem)
  }

  portsOf(around: Around, actor: string) {
    const stores = this.mutate(withFaults(this.#watched, around), actor)
    return {
      ...stores,
      clock: () => new Date(this.now),
      random: this.random,
      digest,
      run: this.#crypto.run,
      cosign: cosignAlways([WITNESS], () => new Date(this.now)),
      makeEphemeralKey: (scheme: SignatureScheme) => this.#crypto.ephemeralKey(this.random, scheme),
      // No profile of these worlds wants timestamps: they write nothing that could fail.
      timestamper: NO_TIMESTAMPS,
      outsideTimestampers: () => NO_TIMESTAMPS,
      requestCrl: async (epoch: number, issuerKeyId: string) => {
        await makeCrl({ ...stores, digest }, epoch, issuerKeyId)
      },
    }
  }

  pass(seconds: number): void {
    this.now = new Date(this.now.getTime() + seconds * 1000)
  }

  /** I1: what a caller holds stands in its record, at this very moment. I5: one request and subject, one signature. */
  async release(request: string, digestName: string, id: string, bytes: Uint8Array): Promise<void> {
    const record = await this.table.get({ pk: `signature#${id}`, sk: "record" })
    const recorded = (record?.envelopes as { bytes: Uint8Array }[] | undefined)?.[0]?.bytes
    if (recorded === undefined || !bytesEqual(recorded, bytes)) this.fail(`I1: ${id} was released without its record`)
    const before = this.released.find((one) => one.request === request && one.digest === digestName)
    if (before !== undefined && (before.id !== id || !bytesEqual(before.bytes, bytes)))
      this.fail(`I5: request ${request} got ${before.id}, then ${id}`)
    this.released.push({ request, digest: digestName, id, bytes })
  }

  /** Ends the run: without faults everything converges (I8), and what remains is sound. */
  async settle(): Promise<void> {
    const ports = this.portsOf((_, apply) => apply(), "recovery")
    this.pass(120)
    for (const profile of ["release", "held", "paired"]) {
      try {
        const [settled] = await createSigner(ports)(
          signRequest([`last ${profile}`], { profile, idempotencyKey: "last" }),
        )
        if (settled === undefined || !("signed" in settled)) this.fail(`I8: ${profile} cannot sign any more`)
      } catch (error) {
        if (!isServiceError(error, "PROFILE_REVOKED", "PROFILE_SUSPENDED", "ISSUER_NOT_ACTIVE"))
          this.fail(`I8: signing after the faults: ${String(error)}`)
      }
    }
    await publish(ports, true).catch((error: unknown) => this.fail(`I8: publishing after the faults: ${String(error)}`))
    const items = this.table.dump()
    this.#runFsck(items)
    this.#checkLists(items)
    this.#checkRequests(items)
  }

  /** The product's own check, over the keys of this world. */
  #runFsck(items: readonly Item[]): void {
    const objects = new Map([...this.objects.dump()].map(([key, { bytes }]) => [key, bytes]))
    for (const { code, subject, detail } of fsck({ items, objects }, this.#crypto.run).findings)
      this.fail(`fsck: ${code} ${subject} ${detail}`)
  }

  #checkLists(items: readonly Item[]): void {
    const last = this.editions.at(-1)
    for (const [i, list] of this.editions.entries()) {
      const before = this.editions[i - 1]
      if (before !== undefined) for (const problem of checkSuccessor(before, list)) this.fail(`I7: ${problem}`)
      for (const { name, epoch } of this.promised)
        if (list.epoch >= epoch && !names(list).has(name))
          this.fail(`I2: epoch ${list.epoch} lacks ${name}, promised ${epoch}`)
    }
    for (const { name, epoch } of this.promised)
      if (last === undefined || last.epoch < epoch) this.fail(`I2: ${name} was promised for ${epoch} and never shown`)
    const numbers = items.filter((item) => item.sk === "record")
    for (const list of this.editions)
      for (const record of numbers) {
        const entry = list.issuers[String(record.issuerKeyId)]
        if (entry?.void.some((range) => within(range, Number(record.number))))
          this.fail(`lease account: epoch ${list.epoch} calls ${record.number} void, and it has a record`)
        const extra = record.extra as { readonly issuerKeyId: string; readonly number: number } | undefined
        if (extra !== undefined && list.issuers[extra.issuerKeyId]?.void.some((range) => within(range, extra.number)))
          this.fail(`lease account: epoch ${list.epoch} calls ${extra.number} void, and it is an extra signature's`)
      }
    for (const [issuerKeyId, entry] of Object.entries(last?.issuers ?? {})) {
      const used = new Set(
        numbers
          .flatMap((item) => [item, item.extra as Item | undefined])
          .filter((place) => place?.issuerKeyId === issuerKeyId)
          .map((place) => Number(place?.number)),
      )
      const issuer = items.find((item) => item.pk === "issuers" && item.issuerKeyId === issuerKeyId)
      for (let number = Number(issuer?.firstNumber); number < Number(entry.coveredBelow); number++)
        if (!used.has(number) && !entry.void.some((range) => within(range, number)))
          this.fail(`lease account: the list calls ${number} good, and nothing was recorded under it`)
    }
  }

  /** I5, seen from the table: no two records answer one subject of one request. */
  #checkRequests(items: readonly Item[]): void {
    const seen = new Map<string, string>()
    for (const item of items) {
      if (item.sk !== "record") continue
      const request = `${String(item.requestDigest)} ${String((item.subject as { digest: string }).digest)}`
      const before = seen.get(request)
      if (before !== undefined) this.fail(`I5: one request has two records: ${before}, ${String(item.id)}`)
      seen.set(request, String(item.id))
    }
  }

  #watchTable(table: Table): Table {
    const watched = async (writes: readonly Write[]) => {
      const result = await table.transact(writes)
      if (!result.committed) return result
      this.#changes++
      for (const write of writes) {
        if ("put" in write && write.put.pk.startsWith("leases#")) this.#leases.push(write.put as unknown as TakenLease)
        if ("put" in write && write.put.sk === "record" && this.suspended.has(String(write.put.profile)))
          this.fail(`D3: ${String(write.put.id)} was recorded after the suspension was acknowledged`)
      }
      return result
    }
    return {
      get: (key) => table.get(key),
      query: (pk, range) => table.query(pk, range),
      queryIndex: (index, value, range) => table.queryIndex(index, value, range),
      transact: watched,
    }
  }

  /** I3: no head goes back, and each time the pointer moves, it names a set that is complete. */
  #watchObjects(objects: Objects): Objects {
    return {
      get: (key, maxBytes) => objects.get(key, maxBytes),
      create: async (key, bytes, headers) => {
        const result = await objects.create(key, bytes, headers)
        if (result !== "exists") this.#changes++
        return result
      },
      replace: async (key, bytes, etag, headers) => {
        const result = await objects.replace(key, bytes, etag, headers)
        if (result === "changed") return result
        this.#changes++
        const position = positionOf(key, bytes)
        if (position < (this.#heads.get(key) ?? 0)) this.fail(`I3: ${key} went back to ${position}`)
        this.#heads.set(key, position)
        if (key !== "tuf/timestamp.json") return result
        const edition = await readEdition(async (name) => (await objects.get(name, Number.MAX_SAFE_INTEGER))?.bytes)
        for (const problem of edition.problems) this.fail(`I3: ${problem}`)
        if (edition.list !== undefined) this.editions.push(edition.list)
        return result
      },
    }
  }

  /** I4: no key signs for a number that no durable lease holds; the lease's nonce is in the serial. */
  #watchKeys(keys: SigningKeys): SigningKeys {
    return {
      sign: async (key, message) => {
        const signature = await keys.sign(key, message)
        const number = numberOf(key.keyId, message)
        if (number === undefined) return signature
        const lease = this.#leases.find(({ first, size }) => first <= number.value && number.value < first + size)
        if (lease === undefined) this.fail(`I4: a key was used for ${number.value}, which nobody had leased`)
        else if (number.serial !== undefined && number.serial.slice(2, 18) !== saltOf(lease.nonce, number.value))
          this.fail(`I4: the serial of ${number.value} is not of its lease`)
        return signature
      },
    }
  }
}

/** CRL number, tree size, or epoch: what never falls in a head. */
function positionOf(key: string, bytes: Uint8Array): number {
  if (key.endsWith(".crl")) return Number(parseCrl(bytes).crlNumber)
  if (key.endsWith("/checkpoint")) return Number(parseCheckpoint(parseNote(bytes).text).size)
  const head = JSON.parse(Buffer.from(bytes).toString())
  return head.epoch ?? head.signed.version
}

/** Which number a key is asked to sign for: in the serial of a leaf, or in the protected header of an envelope. */
function numberOf(keyId: string, message: Uint8Array): { value: number; serial: string | undefined } | undefined {
  if (/:issuer\//.test(keyId)) {
    const serial = /^30(?:8[12])?(?:..)?(?:....)?a003020102020f(01[0-9a-f]{28})/.exec(
      hexEncode(message.subarray(0, 64)),
    )?.[1]
    return serial === undefined ? undefined : { value: Number.parseInt(serial.slice(18), 16), serial }
  }
  if (!/:held\//.test(keyId)) return undefined
  const [header = ""] = Buffer.from(message).toString("latin1").split(".")
  const value = JSON.parse(Buffer.from(header, "base64url").toString())["io.sealwright.number"]
  return { value: Number(value), serial: undefined }
}

function saltOf(nonce: Uint8Array, number: number): string {
  const input = new Uint8Array([...nonce, ...hexDecode(number.toString(16).padStart(12, "0"))])
  return hexEncode(digest("sha256", input).subarray(0, 8))
}

function names(list: ListJson): ReadonlySet<string> {
  return new Set([
    ...Object.keys(list.artifacts).map((name) => `artifact:${name}`),
    ...Object.entries(list.issuers).flatMap(([issuer, { revoked }]) =>
      Object.keys(revoked).map((number) => `signature:${issuer}:${number}`),
    ),
    ...list.rules.map(ruleName),
    ...list.released,
  ])
}

function within(range: string, number: number): boolean {
  const [from, to = from] = range.split("-").map(Number)
  return number >= (from as number) && number <= (to as number)
}

/** A deployment that was set up without faults, with the profiles `release` (ephemeral) and `held`. */
export async function preparedItems(crypto = CHEAP_CRYPTO): Promise<Item[]> {
  let state = 1
  const world = new World(
    () => {
      state = (state * 16_807) % 2_147_483_647
      return state / 2_147_483_647
    },
    [],
    crypto,
  )
  const ports = world.portsOf((_, apply) => apply(), "set-up")
  await holdCeremony(ports, { ...NAMES, algorithm: PROFILE.algorithm, rootYears: 10 }, ADMIN)
  await createIssuer(ports, { name: "ci", algorithm: PROFILE.algorithm, days: 1000 }, ADMIN)
  await createProfile(ports, "release", PROFILE, ADMIN)
  await createProfile(ports, "held", { ...PROFILE, keyMode: "held" }, ADMIN)
  await addRoot(ports, { algorithm: "ml-dsa-65", generation: 1, rootYears: 10 }, ADMIN)
  await createIssuer(ports, { name: "pq", algorithm: "ml-dsa-65", days: 1000 }, ADMIN)
  await createProfile(ports, "paired", { ...PROFILE, extraIssuer: "pq" }, ADMIN)
  return world.table.dump()
}
