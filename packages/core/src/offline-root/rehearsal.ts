import { checkJournal } from "./flow.ts"
import { readJournal } from "./journal.ts"
import type { RootCeremonyPorts } from "./ports.ts"
import type { CeremonyScript, CeremonyStep } from "./script.ts"

export interface Rehearsal {
  /** all that the folder's journal has, then the script's own steps */
  readonly script: CeremonyScript
  /** input files of steps that the journal has, by the name that they have in `script` */
  readonly inputs: ReadonlyMap<string, Uint8Array>
  /** ids of the steps that the journal has */
  readonly replayed: ReadonlySet<string>
}

/**
 * A script for a new folder that comes to where the ceremony's own folder stands and then does what the ceremony will do.
 * @param entries the ceremony's own journal
 * @throws ServiceError CEREMONY_JOURNAL_DAMAGED, CEREMONY_JOURNAL_STALE, CEREMONY_STEP_DIFFERS
 */
export function rehearsalOf(
  ports: Pick<RootCeremonyPorts, "digest" | "run">,
  script: CeremonyScript,
  entries: readonly Uint8Array[],
): Rehearsal {
  const state = readJournal(ports, entries)
  checkJournal(state, script)
  const inputs = new Map<string, Uint8Array>()
  const earlier = [...state.done.values()].map(({ step, input }): CeremonyStep => {
    if (step.do !== "certify-issuer" || input === undefined) return step
    const request = `journal:${step.id}`
    inputs.set(request, input)
    return { ...step, request }
  })
  return {
    script: { ...script, steps: [...earlier, ...script.steps], journal: undefined },
    inputs,
    replayed: new Set(state.done.keys()),
  }
}
