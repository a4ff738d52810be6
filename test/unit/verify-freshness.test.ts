import { describe, expect, test } from "vitest"
import { NOW } from "../support/chains.ts"
import { afterSec, ask, Deployment, policyOf } from "../support/deployment.ts"

const DAY = 86_400
const deployment = new Deployment()
const policy = (maxStaleSec: number) =>
  policyOf({ trustStore: [{ trustedRoots: [{ root: deployment.rootPem }] }], maxStaleSec })
const envelopes = [deployment.sign()]

/** A bundle of NOW whose timestamp lives two days, looked at `days` later. */
function verdictAfter(days: number, maxStaleDays: number) {
  const now = afterSec(days * DAY)
  const trusted = deployment.opened(BUNDLE, { now, maxStaleSec: maxStaleDays * DAY })
  return ask({ policy: policy(maxStaleDays * DAY), envelopes, trusted, now })
}

const BUNDLE = deployment.publish({ date: NOW, expires: afterSec(2 * DAY) })
const strictOf = (verdict: ReturnType<typeof ask>) =>
  verdict.freshness.flatMap(({ part, strict }) => (strict === undefined ? [] : [{ part, ...strict }]))

describe("beside the decision a verdict says what strict clients had refused (R26, R28)", () => {
  test("nothing, while nothing is due", () => {
    const verdict = verdictAfter(0.5, 30)
    expect(verdict.verdict).toBe("accepted")
    expect(strictOf(verdict)).toEqual([])
    const ages = verdict.freshness.filter(({ part }) => part.startsWith("lists/")).map(({ ageSec }) => ageSec)
    expect(ages).toEqual([DAY / 2, DAY / 2])
  })

  test("an expired timestamp and lists that were due, accepted within maxStale: each by its part, code and words", () => {
    const verdict = verdictAfter(6, 30)
    expect(verdict.verdict).toBe("accepted")
    expect(strictOf(verdict)).toEqual([
      expect.objectContaining({ part: "timestamp", code: "TUF_EXPIRED", accepted: true, maxStaleSec: 30 * DAY }),
      expect.objectContaining({ part: "lists/revocations.json", code: "REVOCATION_STALE", accepted: true }),
      expect.objectContaining({ part: "lists/allow.json", code: "REVOCATION_STALE", accepted: true }),
    ])
    const [timestamp] = strictOf(verdict)
    expect(timestamp?.text).toBe("timestamp 1 expired 4 d ago: strict TUF refuses it; counts within maxStale of 30 d")
    const warnings = verdict.events.at(-1)?.warnings
    expect(warnings).toContain(timestamp?.text)
  })

  test("beyond maxStale the same lines stand beside the refusal", () => {
    const verdict = verdictAfter(6, 5)
    expect(verdict).toMatchObject({ verdict: "inconclusive", code: "REVOCATION_STALE" })
    expect(strictOf(verdict).map(({ part, accepted }) => [part, accepted])).toEqual([
      ["timestamp", true],
      ["lists/revocations.json", false],
      ["lists/allow.json", false],
    ])
  })

  test("the second of expiry is the first that strict clients refuse", () => {
    const at = (sec: number) => {
      const now = afterSec(2 * DAY + sec)
      return strictOf(ask({ policy: policy(30 * DAY), envelopes, trusted: deployment.opened(BUNDLE, { now }), now }))
    }
    expect(at(-1).map(({ part }) => part)).not.toContain("timestamp")
    expect(at(0).map(({ part }) => part)).toContain("timestamp")
  })
})
