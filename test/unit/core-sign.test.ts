import { suspendProfile } from "@sealwright/core/admin/profiles"
import { ServiceError } from "@sealwright/core/errors"
import { keys } from "@sealwright/core/ledger/keys"
import { MAX_SIGNATURES_OF_ARTIFACT } from "@sealwright/core/ledger/records"
import { readDeployment } from "@sealwright/core/ledger/trust"
import type { SignatureRecord } from "@sealwright/core/model"
import type { SigningKeys, Table } from "@sealwright/core/ports"
import type { Settled } from "@sealwright/core/sign/commit"
import { parseNotaryJws, parseX5c } from "@sealwright/formats/notary-jws"
import { runSync } from "@sealwright/verifier/node-crypto"
import { verifyNotaryEnvelope } from "@sealwright/verifier/notary"
import { describe, expect, test } from "vitest"
import { ADMIN, createService, digestOf, PIPELINE, signRequest } from "../support/service.ts"
import { auditOf, expectSound, type Service, withCode } from "./core-published.ts"

type Wrap = Parameters<typeof createService>[0]

async function ready(wrap: Wrap = {}, algorithm: Parameters<Service["setUp"]>[0] = "ecdsa-p256-sha256") {
  const service = createService(wrap)
  await service.setUp(algorithm)
  await service.profile("release", { algorithm })
  return { service, sign: service.signer() }
}

const seeds = (count: number, prefix = "s") => Array.from({ length: count }, (_, i) => `${prefix}${i}`)

function signed(settled: Settled | undefined): SignatureRecord {
  if (settled === undefined || !("signed" in settled)) throw new Error("not signed")
  return settled.signed
}

function codesOf(outcomes: readonly Settled[]): string[] {
  return outcomes.map((outcome) => ("refused" in outcome ? outcome.refused.code : "signed"))
}

async function trustedRoots(service: Service): Promise<Uint8Array[]> {
  return [(await readDeployment(service.ports.table)).root.certificate]
}

/** Counts calls, and runs something before the call to sign whose turn it is. */
function watchedKeys() {
  const watch = { calls: 0, before: async (_call: number): Promise<void> => undefined }
  const keys = (inner: SigningKeys): SigningKeys => ({
    sign: async (key, message) => {
      watch.calls += 1
      await watch.before(watch.calls)
      return await inner.sign(key, message)
    },
  })
  return { watch, keys }
}

describe("one signature (R4, R6, R9)", () => {
  test.each(["ecdsa-p256-sha256", "ecdsa-p384-sha384", "rsa-pss-sha384"] as const)(
    "%s: the envelope verifies from the root on and says what was asked",
    async (algorithm) => {
      const { service, sign } = await ready({}, algorithm)
      const record = signed((await sign(signRequest(["one"])))[0])
      const envelope = record.envelopes[0]?.bytes ?? new Uint8Array(0)
      const trusted = await trustedRoots(service)
      const result = runSync(verifyNotaryEnvelope(envelope, { trusted, now: record.signedAt }))
      expect(result).toMatchObject({ ok: true, number: record.number, target: { digest: digestOf("one"), size: 528 } })
      expect(record).toMatchObject({ principal: PIPELINE, profile: "release", keyMode: "ephemeral" })
      expect(expectSound(service)).toBe(1)
    },
    60_000,
  )

  test.each(["ecdsa-p384-sha384", "rsa-pss-sha384"] as const)("%s in held mode", async (algorithm) => {
    const { service, sign } = await ready()
    await service.profile("held", { keyMode: "held", algorithm })
    const record = signed((await sign(signRequest(["one"], { profile: "held" })))[0])
    const trusted = await trustedRoots(service)
    const bytes = record.envelopes[0]?.bytes ?? new Uint8Array(0)
    expect(runSync(verifyNotaryEnvelope(bytes, { trusted, now: record.signedAt }))).toMatchObject({ ok: true })
    expect(expectSound(service)).toBe(1)
  })

  test("each has a certificate and a key of its own; held ones share both (R14)", async () => {
    const { service, sign } = await ready()
    await service.profile("held", { keyMode: "held" })
    const leaves = async (profile: string) =>
      (await sign(signRequest(seeds(4), { profile }))).map((outcome) => {
        const [leaf = ""] = parseNotaryJws(signed(outcome).envelopes[0]?.bytes ?? new Uint8Array(0)).x5c
        return parseX5c(leaf)
      })
    const distinct = (values: readonly Uint8Array[]) =>
      new Set(values.map((value) => Buffer.from(value).toString("hex")))
    const fresh = await leaves("release")
    expect(distinct(fresh.map(({ spki }) => spki)).size).toBe(4)
    expect(distinct(fresh.map(({ serialBytes }) => serialBytes)).size).toBe(4)
    expect(distinct((await leaves("held")).map(({ der }) => der)).size).toBe(1)
    expect(expectSound(service)).toBe(8)
  })

  test("one call to the key service for each, in both modes, nothing of it again on the next", async () => {
    const { watch, keys } = watchedKeys()
    const { service, sign } = await ready({ keys })
    await service.profile("held", { keyMode: "held" })
    for (const profile of ["release", "held"]) {
      watch.calls = 0
      await sign(signRequest([`${profile} a`], { profile }))
      await sign(signRequest([`${profile} b`], { profile }))
      expect(watch.calls).toBe(2)
    }
  })

  test("the expiry stands in record and envelope, from profile or request (R7)", async () => {
    const { service, sign } = await ready()
    await service.profile("short", { expirySec: 3600 })
    const ruled = signed((await sign(signRequest(["a"], { profile: "short" })))[0])
    expect(ruled.expiresAt).toEqual(new Date("2026-11-21T10:00:00Z"))
    const wish = new Date("2026-11-21T09:30:00Z")
    const wished = signed((await sign(signRequest(["b"], { expiresAt: wish })))[0])
    expect(wished.expiresAt).toEqual(wish)
    await expect(
      sign(signRequest(["c"], { profile: "short", expiresAt: new Date("2027-01-01T00:00:00Z") })),
    ).rejects.toThrow(withCode("EXPIRY_INVALID"))
    expect(expectSound(service)).toBe(2)
  })

  test("is written to the audit trail with its id, caller and request (R12)", async () => {
    const { service, sign } = await ready()
    const record = signed((await sign(signRequest(["a"], { requestId: "r-1" })))[0])
    expect(auditOf(service).filter(({ action }) => action === "sign")).toEqual([
      expect.objectContaining({
        principal: PIPELINE,
        requestId: "r-1",
        outcome: "done",
        target: `profile/release ${record.id}`,
      }),
    ])
  })
})

describe("batches (R15)", () => {
  test("100 subjects give 100 signatures in the order of the request, with numbers of their own", async () => {
    const { service, sign } = await ready()
    const outcomes = await sign(signRequest(seeds(100), { idempotencyKey: "k" }))
    expect(outcomes.map(({ digest }) => digest)).toEqual(seeds(100).map(digestOf))
    expect(new Set(outcomes.map((outcome) => signed(outcome).number)).size).toBe(100)
    expect(expectSound(service)).toBe(100)
  })

  test("a subject named twice is refused before anything is signed", async () => {
    const { watch, keys } = watchedKeys()
    const { service, sign } = await ready({ keys })
    watch.calls = 0
    await expect(sign(signRequest(["a", "b", "a"]))).rejects.toThrow(withCode("SUBJECT_REPEATED"))
    expect(watch.calls).toBe(0)
    expect(expectSound(service)).toBe(0)
  })

  test("what is out of scope, denied or crowded is refused for itself; the others are signed", async () => {
    const { service, sign } = await ready()
    await service.revoke({ kind: "artifact", digest: digestOf("denied") })
    const item = { ...keys.artifact(digestOf("crowded")), signatures: new Set(seeds(MAX_SIGNATURES_OF_ARTIFACT, "id")) }
    await service.memory.table.transact([{ put: item }])
    const request = signRequest(["good", "denied", "crowded", "scope", "fine"])
    const subjects = request.subjects.map((subject) =>
      subject.digest === digestOf("scope") ? { ...subject, reference: "registry.wabbit-networks.io/other" } : subject,
    )
    expect(codesOf(await sign({ ...request, subjects }))).toEqual([
      "signed",
      "DIGEST_DENIED",
      "SUBJECT_CROWDED",
      "REPOSITORY_OUT_OF_SCOPE",
      "signed",
    ])
    await service.memory.table.transact([{ delete: keys.artifact(digestOf("crowded")) }])
    expect(expectSound(service)).toBe(2)
  })

  test("a retry fills the gaps and returns what was recorded, byte for byte (R11)", async () => {
    let chunks = 0
    const failing = (table: Table): Table => ({
      ...table,
      transact: async (writes) => {
        const signing = writes.some((write) => "put" in write && write.put.sk === "record")
        if (signing && ++chunks === 3) throw new ServiceError("CONTENTION", "test")
        return await table.transact(writes)
      },
    })
    const { service, sign } = await ready({ table: failing })
    const request = signRequest(seeds(50), { idempotencyKey: "k" })
    await expect(sign(request)).rejects.toThrow(withCode("CONTENTION"))
    expect(expectSound(service)).toBe(40)

    const second = await service.signer()(request)
    expect(second.map((outcome) => "replayed" in outcome && outcome.replayed)).toEqual(seeds(50).map((_, i) => i < 40))
    const third = await sign(request)
    expect(third.map(signed)).toEqual(second.map(signed))
    expect(expectSound(service)).toBe(50)
  })

  test("a batch under a used key with another body is refused as a whole", async () => {
    const { service, sign } = await ready()
    await sign(signRequest(["a", "b"], { idempotencyKey: "k" }))
    await expect(sign(signRequest(["a", "b", "c"], { idempotencyKey: "k" }))).rejects.toThrow(
      withCode("IDEMPOTENCY_CONFLICT"),
    )
    await expect(sign(signRequest(["c"], { idempotencyKey: "k" }))).rejects.toThrow(withCode("IDEMPOTENCY_CONFLICT"))
    expect(expectSound(service)).toBe(2)
  })
})

describe("idempotency (R11, D14)", () => {
  test("the same key and body return the recorded bytes, also from another container", async () => {
    const { service, sign } = await ready()
    const request = signRequest(["a"], { idempotencyKey: "k" })
    const first = (await sign(request))[0]
    service.pass(30)
    const [again] = await service.signer()(request)
    expect(first).toMatchObject({ replayed: false })
    expect(again).toMatchObject({ replayed: true })
    expect(signed(again)).toEqual(signed(first))
    expect(expectSound(service)).toBe(1)
  })

  test("two at the same time agree on one signature", async () => {
    const { service, sign } = await ready()
    const request = signRequest(["a"], { idempotencyKey: "k" })
    const other = service.signer()
    const [one, two] = await Promise.all([sign(request), other(request)])
    expect(signed(one[0])).toEqual(signed(two[0]))
    expect(expectSound(service)).toBe(1)
  })

  test("another body under the key is a conflict", async () => {
    const { service, sign } = await ready()
    await sign(signRequest(["a"], { idempotencyKey: "k" }))
    await expect(sign(signRequest(["b"], { idempotencyKey: "k" }))).rejects.toThrow(withCode("IDEMPOTENCY_CONFLICT"))
    expect(expectSound(service)).toBe(1)
  })

  test("a key counts per profile and principal; without one each request is a signature of its own (R3)", async () => {
    const { service, sign } = await ready()
    const alice = "arn:aws:iam::111122223333:user/alice"
    await service.profile("other", { principals: [PIPELINE, alice] })
    const ids = [
      signed((await sign(signRequest(["a"], { idempotencyKey: "k" })))[0]).id,
      signed((await sign(signRequest(["a"], { idempotencyKey: "k", profile: "other" })))[0]).id,
      signed((await sign(signRequest(["a"], { idempotencyKey: "k", profile: "other", principal: alice })))[0]).id,
      signed((await sign(signRequest(["a"])))[0]).id,
      signed((await sign(signRequest(["a"])))[0]).id,
    ]
    expect(new Set(ids).size).toBe(5)
    expect(expectSound(service)).toBe(5)
  })

  test.each(["suspended", "expired"] as const)(
    "a retry is answered with the recorded bytes when the profile or the wished end is %s",
    async (how) => {
      const { service, sign } = await ready()
      const expiresAt = new Date(service.ports.clock().getTime() + 3_600_000)
      const wanted = ["a", "b"].map((seed) => signRequest([seed], { idempotencyKey: "k", expiresAt }))
      const batch = signRequest(["c", "d"], { idempotencyKey: "batch", expiresAt })
      const [first] = await sign(wanted[0] as typeof batch)
      const earlier = await sign(batch)
      if (how === "suspended") await suspendProfile(service.ports, "release", ADMIN)
      else service.pass(7200)
      const code = how === "suspended" ? "PROFILE_SUSPENDED" : "EXPIRY_INVALID"

      const [again] = await service.signer()(wanted[0] as typeof batch)
      expect(signed(again).envelopes).toEqual(signed(first).envelopes)
      expect((await service.signer()(batch)).map(signed)).toEqual(earlier.map(signed))
      await expect(sign(signRequest(["c", "e"], { idempotencyKey: "other", expiresAt }))).rejects.toThrow(
        withCode(code),
      )
      await expect(sign(wanted[1] as typeof batch)).rejects.toThrow(withCode("IDEMPOTENCY_CONFLICT"))
      const stranger = { ...(wanted[0] as typeof batch), principal: "arn:aws:iam::111122223333:user/mallory" }
      await expect(sign(stranger)).rejects.toThrow(withCode("CALLER_NOT_LISTED"))
      await service.publish(true)
      expect(expectSound(service)).toBe(3)
    },
  )

  test("a write that was applied and reported as failed is answered as done", async () => {
    let fail = true
    const { service, sign } = await ready({
      table: (table) => ({
        ...table,
        transact: async (writes) => {
          const result = await table.transact(writes)
          if (fail && writes.some((write) => "put" in write && write.put.sk === "record")) {
            fail = false
            throw new ServiceError("STORE_UNAVAILABLE", "test")
          }
          return result
        },
      }),
    })
    expect(codesOf(await sign(signRequest(["a"])))).toEqual(["signed"])
    expect(fail).toBe(false)
    expect(expectSound(service)).toBe(1)
  })
})

describe("a lease is the durable intent (D3)", () => {
  test("a lease closed under a signature in flight costs its number, not the request", async () => {
    const { watch, keys } = watchedKeys()
    const { service, sign } = await ready({ keys })
    const [warm] = await sign(signRequest(["warm"]))
    const from = watch.calls
    watch.before = async (call) => {
      if (call === from + 1) await service.publish(true)
    }
    const [second] = await sign(signRequest(["a"]))
    expect(signed(second).leaseFirst).not.toBe(signed(warm).leaseFirst)
    watch.before = async () => undefined
    await service.publish(true)
    expect(expectSound(service)).toBe(2)
  })

  test("a suspend between lease and record binds: nothing is recorded", async () => {
    const { watch, keys } = watchedKeys()
    const { service, sign } = await ready({ keys })
    const from = watch.calls
    watch.before = async (call) => {
      if (call === from + 1) await suspendProfile(service.ports, "release", ADMIN)
    }
    await expect(sign(signRequest(["a"]))).rejects.toThrow(withCode("PROFILE_SUSPENDED"))
    watch.before = async () => undefined
    await service.publish()
    expect(expectSound(service)).toBe(0)
  })

  test("an artifact denied between lease and record is not signed", async () => {
    const { watch, keys } = watchedKeys()
    const { service, sign } = await ready({ keys })
    const from = watch.calls
    watch.before = async (call) => {
      if (call === from + 1) await service.revoke({ kind: "artifact", digest: digestOf("a") })
    }
    expect(codesOf(await sign(signRequest(["a"])))).toEqual(["DIGEST_DENIED"])
    watch.before = async () => undefined
    await service.publish()
    expect(expectSound(service)).toBe(0)
  })

  test("leases that keep closing are told as LEASE_UNAVAILABLE, and leave voids alone", async () => {
    const { watch, keys } = watchedKeys()
    const { service, sign } = await ready({ keys })
    let publishing = false
    watch.before = async () => {
      if (publishing) return
      publishing = true
      await service.publish(true)
      publishing = false
    }
    await expect(sign(signRequest(["a"]))).rejects.toThrow(withCode("LEASE_UNAVAILABLE"))
    watch.before = async () => undefined
    await service.publish(true)
    expect(expectSound(service)).toBe(0)
  })

  test("a lease near its end is left, and the next one is small again", async () => {
    const { service, sign } = await ready()
    let made = 0
    const sizeOf = async () => {
      const { issuerKeyId, leaseFirst } = signed((await sign(signRequest([`x${made++}`])))[0])
      return (await service.ports.table.get(keys.lease(issuerKeyId, leaseFirst)))?.size
    }
    for (let i = 0; i < 4; i++) expect(await sizeOf()).toBe(4)
    expect(await sizeOf()).toBe(8)
    service.pass(56)
    expect(await sizeOf()).toBe(4)
    await service.publish()
    expect(expectSound(service)).toBe(6)
  })

  test("a faulty key service gets nothing out (R9)", async () => {
    let corrupt = false
    const { service, sign } = await ready({
      keys: (inner) => ({
        sign: async (key, message) =>
          await inner.sign(key, corrupt ? new Uint8Array([...message.subarray(1), 0]) : message),
      }),
    })
    await service.profile("held", { keyMode: "held" })
    corrupt = true
    await service.profile("spoiled", { keyMode: "held" })
    for (const profile of ["release", "held"])
      await expect(sign(signRequest(["a"], { profile }))).rejects.toThrow(withCode("SIGNATURE_SELF_CHECK_FAILED"))
    corrupt = false
    for (const again of ["a", "b"])
      await expect(sign(signRequest([again], { profile: "spoiled" }))).rejects.toThrow(
        withCode("SIGNATURE_SELF_CHECK_FAILED"),
      )
    await service.publish()
    expect(expectSound(service)).toBe(0)
  })

  test("a disabled key is told as KEY_NOT_USABLE", async () => {
    const { service, sign } = await ready()
    service.memory.keys.disable("memory:issuer/ci")
    await expect(sign(signRequest(["a"]))).rejects.toThrow(withCode("KEY_NOT_USABLE"))
    expect(expectSound(service)).toBe(0)
  })
})

describe("who may not sign (R10)", () => {
  test.each([
    ["PROFILE_UNKNOWN", { profile: "nobody" }],
    ["CALLER_NOT_LISTED", { principal: "arn:aws:iam::111122223333:role/other" }],
    ["CALLER_NOT_LISTED", { principal: "arn:aws:iam::999999999999:role/pipeline" }],
  ] as const)("%s for %j", async (code, change) => {
    const { service, sign } = await ready()
    await expect(sign(signRequest(["a"], change))).rejects.toThrow(withCode(code))
    expect(expectSound(service)).toBe(0)
  })

  test("nothing is signed before the ceremony", async () => {
    await expect(createService().signer()(signRequest(["a"]))).rejects.toThrow(withCode("PRECONDITION_REQUIRED"))
  })
})
