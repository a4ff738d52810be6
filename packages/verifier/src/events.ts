import { formatTime } from "@sealwright/formats/time"
import { type DecisionEvent, printable, VERDICT_CODES, type Verdict } from "./verdict.ts"

/** One event for each signature that was looked at and one for the verdict, in this order. */
export function decisionEvents(
  verdict: Omit<Verdict, "events">,
  reference: string | undefined,
  now: Date,
): readonly DecisionEvent[] {
  const common = {
    time: formatTime(now),
    artifact: verdict.artifact,
    ...(reference !== undefined && { reference: printable(reference) }),
  }
  const signatures = verdict.signatures.map(({ index, outcome, code, parties, signer, log, checks }): DecisionEvent => {
    const failed = checks.find((check) => check.outcome === "fail")
    return {
      event: "signature",
      ...common,
      index,
      outcome,
      code,
      text: failed?.text ?? VERDICT_CODES[code].text,
      remedy: VERDICT_CODES[code].remedy,
      ...(parties.length > 0 && { parties }),
      ...signer,
      ...(log && { logOrigin: log.origin, logIndex: log.index, logSize: log.size }),
    }
  })
  const { code } = verdict
  const row = VERDICT_CODES[code]
  const failed = verdict.checks.find((check) => check.code === code)
  return [
    ...signatures,
    {
      event: "verdict",
      ...common,
      outcome: verdict.verdict,
      code,
      text: failed?.text ?? row.text,
      remedy: row.remedy,
      warnings: verdict.checks.filter(({ outcome }) => outcome === "warn").map(({ text }) => text),
    },
  ]
}
