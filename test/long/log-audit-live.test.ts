import { sequence } from "@sealwright/core/log/flow"
import { LOG_KINDS } from "@sealwright/core/model"
import { release } from "@sealwright/core/revoke/flow"
import { utf8, utf8Decode } from "@sealwright/formats/bytes"
import type { LogPolicy } from "@sealwright/formats/tlog-policy"
import { beforeAll, describe, expect, test } from "vitest"
import { type AuditResult, audit } from "../../packages/cli/src/fsck/audit/audit.ts"
import { parseProgress } from "../../packages/cli/src/fsck/audit/progress.ts"
import {
  type AuditRun,
  type AuditWorld,
  auditOf,
  codesOf,
  createAuditWorld,
  flip,
  logAll,
  policyOf,
  portsOf,
  recordAt,
  remove,
  type Service,
  trustedBy,
  type World,
  worldOf,
} from "../support/audit.ts"
import { ADMIN, createService, digestOf, signRequest } from "../support/service.ts"

const ignore = () => undefined

/**
 * @param each called between the service and its stores, before each call
 * @returns `standing` gives what the stores hold now, copied when they were called since
 */
async function smallService(each: () => Promise<void> = async () => undefined) {
  let calls = 0
  const between = <T extends object>(store: T): T =>
    new Proxy(store, {
      get: (target, name) => {
        const method = Reflect.get(target, name)
        if (typeof method !== "function") return method
        return async (...args: unknown[]) => {
          await each()
          calls += 1
          const result = await method.apply(target, args)
          calls += 1
          return result
        }
      },
    })
  const service = createService({ table: between, objects: between })
  await service.setUp()
  await service.profile("release")
  const policy = await policyOf(service)
  let seen = { calls: -1, world: worldOf(service, policy) }
  const standing = () => {
    if (seen.calls !== calls) seen = { calls, world: worldOf(service, policy) }
    return { ...seen.world, now: service.ports.clock() }
  }
  return { service, policy, standing }
}

/** An audit of the service as it stands at each call. */
async function auditLive(standing: () => World, policy: LogPolicy, run: AuditRun = {}, earlier?: Uint8Array) {
  const request = { trusted: trustedBy(policy), progress: earlier && parseProgress(earlier), full: false }
  return await audit(portsOf(standing, run), request, ignore)
}

/** What people and schedules do, one after the other. */
function actsOf(service: Service): (() => Promise<unknown>)[] {
  const sign = service.signer()
  const held: string[] = []
  let made = 0
  return [
    () => sign(signRequest([`live ${made++}`, `live ${made++}`])),
    async () => {
      const { revocation } = await service.revoke(
        { kind: "artifact", digest: digestOf(`${made++}`) },
        "certificateHold",
      )
      held.push(revocation.id)
    },
    () => service.publish(true),
    () => logAll(service),
    async () => {
      service.pass(1)
      const id = held.pop()
      if (id !== undefined) await release(service.ports, id, ADMIN)
    },
    () => logAll(service),
  ]
}

describe("log audit of a service that goes on (R12, R30)", () => {
  test.each([
    ["everything at each step", 6, 1],
    ["an act at each step", 1, 1],
    ["two acts at each step, the other way round,", 2, 5],
  ])("%s is no finding", { timeout: 60_000 }, async (_, atOnce, stride) => {
    const { service, policy, standing } = await smallService()
    const acts = actsOf(service)
    let step = 0
    let acted: Promise<unknown> = Promise.resolve()
    const act = async () => {
      for (let i = 0; i < atOnce; i++) acted = acted.then(acts[(step++ * stride) % acts.length])
      await acted
    }
    let earlier: Uint8Array | undefined
    // The first audit meets logs without a leaf; those after it go on from it.
    for (let audits = 0; audits < 2; audits++) {
      const saved: Uint8Array[] = []
      const each: AuditRun["each"] = (port) => (port === "save" ? undefined : act())
      const result = await auditLive(standing, policy, { saved, each, pageSize: 400 }, earlier)
      expect(result.findings).toEqual([])
      earlier = saved.at(-1)
    }
    for (let rounds = 0; rounds < 2; rounds++) await logAll(service)
    const last = await auditLive(standing, policy, {}, earlier)
    expect(last).toMatchObject({ findings: [], waiting: 0, later: 0 })
    expect(last.revocations).toBeGreaterThan(3)
  })

  test("what waits and is logged at any step of an audit is no finding", { timeout: 120_000 }, async () => {
    const { service, policy, standing } = await smallService()
    const [sign, revoke, publish, ...acts] = actsOf(service)
    for (let at = 1, steps = at; at <= steps; at++) {
      steps = 0
      for (const act of [sign, revoke, publish]) await act?.()
      const each: AuditRun["each"] = async (port) => {
        if (port === "save" || ++steps !== at) return
        for (const act of acts) await act()
      }
      expect((await auditLive(standing, policy, { each, pageSize: 100 })).findings, `step ${at}`).toEqual([])
    }
  })

  test("a hold that is made and let go while it is compared is no finding", { timeout: 120_000 }, async () => {
    const { service, policy, standing } = await smallService()
    const [, revoke, , log, letGo] = actsOf(service)
    for (let at = 2, steps = at; at <= steps; at++) {
      steps = 0
      let pages = 0
      const each: AuditRun["each"] = async (port) => {
        if (port === "save" || (port !== "page" && pages === 0)) return
        if (port === "page") pages += 1
        else if (++steps === 1) for (const act of [revoke, log]) await act?.()
        else if (steps === at) await letGo?.()
      }
      expect((await auditLive(standing, policy, { each })).findings, `step ${at}`).toEqual([])
    }
  })

  test("the first leaves of logs at any step of an audit are no finding", { timeout: 120_000 }, async () => {
    for (let at = 1, steps = at; at <= steps; at++) {
      steps = 0
      const { service, policy, standing } = await smallService()
      const each: AuditRun["each"] = async (port) => {
        if (port !== "save" && ++steps === at) await logAll(service)
      }
      expect((await auditLive(standing, policy, { each })).findings, `step ${at}`).toEqual([])
    }
  })

  test("whatever sequencer and publisher have not finished is no finding", { timeout: 120_000 }, async () => {
    const watch = { audits: 0, policy: undefined as LogPolicy | undefined }
    const { service, policy, standing } = await smallService(async () => {
      if (watch.policy === undefined) return
      watch.audits += 1
      expect((await auditLive(standing, watch.policy)).findings).toEqual([])
    })
    const [sign, revoke] = actsOf(service)
    for (const round of [1, 2]) {
      await sign?.()
      await revoke?.()
      watch.policy = policy
      if (round === 2) await service.publish(true)
      for (const kind of LOG_KINDS) await sequence(service.ports, kind)
      watch.policy = undefined
    }
    expect(watch.audits).toBeGreaterThan(100)
  })

  test("a log that is set back while it is audited is noticed", async () => {
    const { service, policy } = await smallService()
    const [sign] = actsOf(service)
    await sign?.()
    await logAll(service)
    const before = worldOf(service, policy)
    await sign?.()
    await logAll(service)
    const now = worldOf(service, policy)
    let pages = 0
    const shown = () => (pages === 0 ? now : { ...now, objects: new Map([...now.objects, ...before.objects]) })
    const each: AuditRun["each"] = (port) => {
      if (port === "page") pages += 1
    }
    const request = { trusted: trustedBy(policy), progress: undefined, full: false }
    const found = codesOf(await audit(portsOf(shown, { each }), request, ignore))
    expect(found).toEqual(["AUDIT_ROLLED_BACK"])
  })

  test("a revocation that is changed behind the service's back, again and again, is noticed", async () => {
    const { service, policy } = await smallService()
    for (const act of actsOf(service)) await act()
    const world = worldOf(service, policy)
    let gets = 0
    const shown = () => ({
      ...world,
      items: world.items.map((item) => (item.pk === "revocations" ? { ...item, reason: `${++gets}` } : item)),
    })
    const request = { trusted: trustedBy(policy), progress: undefined, full: false }
    expect(codesOf(await audit(portsOf(shown), request, ignore))).toEqual(["AUDIT_REVOCATION_DIFFERS"])
  })

  test("what waits is no finding until it is an hour old", async () => {
    const { service, policy } = await smallService()
    for (const act of actsOf(service)) await act()
    await logAll(service)
    await service.signer()(signRequest(["waits"]))
    await service.revoke({ kind: "artifact", digest: digestOf("waits") })
    await service.publish(true)
    const made = worldOf(service, policy)
    expect((await auditOf(made))[0]).toMatchObject({ findings: [], waiting: 1, records: 3, revocations: 2 })
    const late = { ...made, now: new Date(made.now.getTime() + 3_700_000) }
    expect(codesOf((await auditOf(late))[0])).toEqual(["AUDIT_WAITS_TOO_LONG"])
    remove(made, ({ pk }) => pk === "inbox#events")
    expect(codesOf((await auditOf(made))[0])).toEqual(["AUDIT_PUBLICATION_UNLOGGED", "AUDIT_REVOCATION_WITHOUT_EVENT"])
    remove(made, ({ pk }) => pk.startsWith("inbox#"))
    expect(codesOf((await auditOf(made))[0])).toContain("AUDIT_RECORD_NOT_LOGGED")
  })
})

describe("log audit that was cut (R12, R30)", () => {
  let sound: AuditWorld
  beforeAll(async () => {
    sound = await createAuditWorld()
  }, 60_000)

  /** Something of every stage is wrong with it, and something that is told once. */
  function damaged(filler = 0): World {
    const { forged, events } = sound
    const others = Array.from({ length: filler }, (_, i) =>
      utf8(`{"apiVersion":"sealwright/v1","at":"","id":"${i}","kind":"profile"}`),
    )
    const made = forged([...events, utf8("{}"), ...others])
    remove(made, ({ pk }) => pk === `signature#${recordAt(made, 7)}`)
    remove(made, ({ pk }) => pk === `logged#${recordAt(made, 300)}`)
    flip(made, "log/signatures/tile/entries/000", 99)
    remove(made, ({ pk, released }) => pk === "revocations" && released === true)
    return made
  }

  const DAMAGE = [
    "AUDIT_ENTRIES_CHANGED",
    "AUDIT_EVENT_UNREADABLE",
    "AUDIT_LEAF_WITHOUT_RECORD",
    "AUDIT_RECORD_NOT_LOGGED",
    "AUDIT_REVOCATION_MISSING",
  ]

  /**
   * Runs an audit that is killed after a number of steps, again and again until one ends.
   * @param stepsOf how many steps each run has
   * @param oneSave each run is killed, too, as soon as it has saved how far it is
   */
  async function untilDone(world: World, stepsOf: (run: number) => number, oneSave = false, bundlesPerSave = 256) {
    const saved: Uint8Array[] = []
    const delivered: AuditResult[] = []
    let steps = 0
    for (let run = 0; ; run++) {
      let left = stepsOf(run)
      const before = saved.length
      const step = () => {
        steps += 1
        if (left-- <= 0 || (oneSave && saved.length > before)) throw new Error("killed")
      }
      const last = saved.at(-1)
      const progress = last && parseProgress(last)
      const request = { trusted: trustedBy(world.policy), progress, full: false, bundlesPerSave }
      try {
        await audit(
          portsOf(() => world, { saved, pageSize: 5, each: step }),
          request,
          (result) => {
            delivered.push(result)
            step()
          },
        )
        return { delivered, steps, saved, runs: run + 1 }
      } catch (error) {
        expect(error).toMatchObject({ message: "killed" })
        if (oneSave && delivered.length > 0) return { delivered, steps, saved, runs: run + 1 }
      }
    }
  }

  const sameAs = (whole: AuditResult) => ({ ...whole, resumed: expect.any(Boolean) })

  test("goes on to the same result, wherever it was killed", { timeout: 120_000 }, async () => {
    const world = damaged()
    const { delivered, steps } = await untilDone(world, () => Number.POSITIVE_INFINITY)
    const whole = delivered[0] as AuditResult
    expect(codesOf(whole)).toEqual(DAMAGE)
    // All of the end, where results are kept and delivered, and samples of what comes before it.
    const cuts = Array.from({ length: steps }, (_, at) => at).filter(
      (at) => at % (process.env.SLOW ? 19 : 199) === 0 || at > steps - 12,
    )
    for (const cut of cuts) {
      const { delivered: told, runs } = await untilDone(world, (run) => (run === 0 ? cut : Number.POSITIVE_INFINITY))
      expect(runs).toBe(2)
      expect(told[0], `cut at step ${cut}`).toEqual(sameAs(whole))
    }
  })

  test("goes on though it is killed again and again, in the middle of a long log too", {
    timeout: 120_000,
  }, async () => {
    const perSave = process.env.SLOW ? 256 : 8
    const world = damaged(perSave * 256 + 500)
    flip(world, "log/events/tile/entries/003", 99)
    const [whole] = (await untilDone(world, () => Number.POSITIVE_INFINITY)).delivered
    const { delivered, saved, runs } = await untilDone(world, () => Number.POSITIVE_INFINITY, true, perSave)
    expect(delivered).toEqual([sameAs(whole as AuditResult)])
    expect(runs).toBeGreaterThan(3)
    const walked = saved.map(parseProgress).filter(({ stage }) => stage === "events")
    expect(walked.map(({ events }) => events.tree.tileRoots.length)).toContain(perSave)
  })

  test("a progress file that was cut or changed is refused", async () => {
    const [, progress] = await auditOf(sound.world())
    expect(() => parseProgress(progress.subarray(0, -20))).toThrow(expect.objectContaining({ code: "JSON_MALFORMED" }))
    const text = utf8Decode(progress)
    for (const [from, to] of [
      [`"version":1`, `"version":2`],
      [`"stage":"done"`, `"stage":"over"`],
      [`"last":"`, `"last":"AAAA`],
    ] as const)
      expect(() => parseProgress(utf8(text.replace(from, to)))).toThrow(
        expect.objectContaining({ name: "FormatError" }),
      )
  })
})
