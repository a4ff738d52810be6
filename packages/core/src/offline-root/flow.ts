import { bytesEqual, hexEncode, utf8 } from "@sealwright/formats/bytes"
import { canonicalJson } from "@sealwright/formats/canonical-json"
import { pemEncode } from "@sealwright/formats/pem"
import type { JsonObject } from "@sealwright/formats/strict-json"
import { formatTime } from "@sealwright/formats/time"
import { isServiceError, ServiceError } from "../errors.ts"
import type { KeyReference } from "../ports.ts"
import { wholeSeconds } from "../sign/rules.ts"
import { encodeEntry, type JournalEntry, type JournalState, readJournal } from "./journal.ts"
import type { RootCeremonyPorts } from "./ports.ts"
import { type CeremonyScript, type CeremonyStep, invalid, type RootPlan } from "./script.ts"
import { grouped, type PreparedStep, prepareStep, type StepContext } from "./steps.ts"
import { type SignedTranscript, Transcript } from "./transcript.ts"

export interface CeremonyOptions {
  /** certificates are marked; the ports hold throwaway keys and a folder of their own */
  readonly rehearsal: boolean
  /** facts about program, machine and script that the transcript begins with */
  readonly facts: readonly string[]
  /** steps that a rehearsal takes from the ceremony's journal: nobody is asked for them again */
  readonly replayed?: ReadonlySet<string>
}

export interface CeremonyOutcome {
  readonly transcript: SignedTranscript
  readonly steps: readonly {
    readonly id: string
    /** `before`: an earlier run did it, and its bytes were shown again */
    readonly done: "now" | "before"
    readonly outputs: readonly { readonly name: string; readonly sha256: string }[]
  }[]
  /** lower-case hex SHA-256 of the journal's newest entry */
  readonly journal: string
}

/**
 * Holds a ceremony of an offline root (R5, R14, R17). For each step: look at it, write into the transcript what will be done, have every participant
 * confirm, sign, verify what was made, append it to the journal, and only then show it. What the journal has is done: a repeat shows the same bytes. A
 * crash before the entry leaves nothing that anyone has seen, a crash after it is healed by the next run; before a new key an intent is written, so
 * that the next run knows the key for its own.
 * @throws ServiceError CEREMONY_SCRIPT_INVALID, CEREMONY_STEP_DIFFERS, CEREMONY_INPUT_DIFFERS, CEREMONY_NOT_CONFIRMED, CEREMONY_CONFLICT,
 * CEREMONY_JOURNAL_DAMAGED, CEREMONY_JOURNAL_STALE, CERTIFICATE_REQUEST_INVALID, CERTIFICATE_NOT_OF_KEY, ALREADY_EXISTS, KEY_UNKNOWN,
 * ISSUER_OUTLIVES_CA, CLOCK_WENT_BACK, and as `checkIssuerChain` and the key's home do
 */
export async function holdRootCeremony(
  ports: RootCeremonyPorts,
  script: CeremonyScript,
  options: CeremonyOptions,
): Promise<CeremonyOutcome> {
  const title = options.rehearsal
    ? "Sealwright root ceremony: REHEARSAL with throwaway keys"
    : "Sealwright root ceremony"
  const transcript = new Transcript(ports, title)
  try {
    return await hold(ports, script, options, transcript)
  } catch (error) {
    const code = isServiceError(error) ? error.code : "UNEXPECTED"
    // The disk may be what failed: the first failure is the one to tell.
    await transcript
      .add(`stopped: ${code}; nothing below this line was done, and this transcript is not signed`)
      .catch(() => undefined)
    throw error
  }
}

async function hold(
  ports: RootCeremonyPorts,
  script: CeremonyScript,
  options: CeremonyOptions,
  transcript: Transcript,
): Promise<CeremonyOutcome> {
  for (const fact of options.facts) await transcript.add(fact)
  for (const { name, role } of script.participants) await transcript.add(`participant: ${name}, ${role}`)
  let state = readJournal(ports, await ports.folder.entries())
  await transcript.add(
    `journal: ${state.length} entries${state.length === 0 ? "" : `, the newest ${state.digests.at(-1)}`}`,
  )
  checkJournal(state, script)
  let key = await openRoot(ports, state)
  await showAgain(ports, state)
  const steps: { id: string; done: "now" | "before"; outputs: { name: string; sha256: string }[] }[] = []
  for (const [at, step] of script.steps.entries()) {
    const title = `step ${at + 1} of ${script.steps.length}, ${step.id} (${step.do})`
    const before = state.done.get(step.id)
    if (before !== undefined) {
      checkSame(before, step)
      await transcript.add(`${title}: done before, on ${formatTime(before.at)}`)
    } else {
      await transcript.add(`${title}:`)
      const now = laterThan(state, wholeSeconds(ports.clock()))
      const context = { ports, plan: script.root, state, key, now, rehearsal: options.rehearsal }
      const prepared = await prepareStep(context, step)
      for (const line of prepared.lines) await transcript.add(`  ${line}`)
      if (prepared.input !== undefined) await transcript.add(`  input: SHA-256 ${hexOf(ports, prepared.input)}`)
      if (options.replayed?.has(step.id)) await transcript.add("  replayed from the journal: nobody is asked")
      else await confirm(ports, script, step, prepared, transcript)
      const made = await carryOut(context, step, prepared)
      state = made.state
      key = made.key
    }
    const entry = state.done.get(step.id) as JournalEntry
    const outputs = outputsOf(entry, state)
    for (const { name, bytes } of outputs) await ports.folder.release(name, bytes)
    for (const line of resultLines(ports, entry, outputs)) await transcript.add(`  ${line}`)
    steps.push({
      id: step.id,
      done: before === undefined ? "now" : "before",
      outputs: outputs.map(({ name, bytes }) => ({ name, sha256: hexOf(ports, bytes) })),
    })
  }
  const journal = state.digests.at(-1) ?? ""
  await transcript.add(`journal: ${state.length} entries, the newest ${journal}`)
  if (key === undefined) throw invalid("the first step of a new folder is make-root")
  return { transcript: await transcript.sign(key), steps, journal }
}

/** @throws ServiceError CEREMONY_JOURNAL_STALE, CEREMONY_STEP_DIFFERS */
export function checkJournal(state: JournalState, { journal, root }: CeremonyScript): void {
  if (journal !== undefined && !state.digests.includes(journal))
    throw new ServiceError(
      "CEREMONY_JOURNAL_STALE",
      `the folder lacks the entry ${journal}: it is an old copy, or another root's`,
    )
  const before = state.root?.plan ?? state.intent?.root
  if (before !== undefined && !bytesEqual(comparedRoot(before), comparedRoot(root)))
    throw new ServiceError(
      "CEREMONY_STEP_DIFFERS",
      "the script's root has other names, hosts or another algorithm than the folder's",
    )
}

/** Where the key lies may change; what the root is may not. */
function comparedRoot({ algorithm, subject, crlHost }: RootPlan): Uint8Array {
  return canonicalJson({ algorithm, subject, crlHost })
}

/** The name of the request's file may change; its digest may not. */
function checkSame({ step: before }: JournalEntry, step: CeremonyStep): void {
  const compared = (one: CeremonyStep) => canonicalJson({ ...one, request: "" } as unknown as JsonObject)
  if (!bytesEqual(compared(before), compared(step)))
    throw new ServiceError(
      "CEREMONY_STEP_DIFFERS",
      `${step.id} was done before, and the script now says something else: take a new id`,
    )
}

/** @returns undefined before the root is made */
async function openRoot(ports: RootCeremonyPorts, { root }: JournalState): Promise<KeyReference | undefined> {
  if (root === undefined) return undefined
  const key = await ports.rootKey.find()
  if (key === undefined) throw new ServiceError("KEY_UNKNOWN", "the root's key is not there")
  if (!bytesEqual(key.spki, root.certificate.spki))
    throw new ServiceError(
      "CERTIFICATE_NOT_OF_KEY",
      "the key that the script names is not the key of this folder's root",
    )
  return { ...key, scheme: root.plan.algorithm }
}

/** All that was ever made stands in the folder, whatever a crash left out. */
async function showAgain(ports: RootCeremonyPorts, state: JournalState): Promise<void> {
  for (const entry of state.done.values())
    for (const { name, bytes } of outputsOf(entry, state)) await ports.folder.release(name, bytes)
}

async function confirm(
  ports: RootCeremonyPorts,
  { participants }: CeremonyScript,
  step: CeremonyStep,
  prepared: PreparedStep,
  transcript: Transcript,
): Promise<void> {
  if (ports.confirm === undefined) return await transcript.add("  nobody was asked to confirm (--yes)")
  const question = [`${step.id} (${step.do})`, ...prepared.lines].join("\n  ")
  for (const who of participants) {
    const yes = await ports.confirm(who, question)
    await transcript.add(`  ${yes ? "confirmed" : "NOT confirmed"} by ${who.name}, ${who.role}`)
    if (!yes) throw new ServiceError("CEREMONY_NOT_CONFIRMED", `${who.name} did not confirm ${step.id}`)
  }
}

async function carryOut(
  context: StepContext,
  step: CeremonyStep,
  prepared: PreparedStep,
): Promise<{ state: JournalState; key: KeyReference | undefined }> {
  const { ports, plan, now } = context
  const entry = { at: now, step, root: plan, kind: "done", input: prepared.input } as const
  if (step.do !== "make-root") {
    const made = await prepared.act()
    return { state: await append(ports, context.state, { ...entry, made }), key: context.key }
  }
  let { state } = context
  if (plan.keyIs === "new" && state.intent === undefined) {
    if ((await ports.rootKey.find()) !== undefined)
      throw new ServiceError("ALREADY_EXISTS", "the script asks for a new key, and one of that name stands")
    state = await append(ports, state, { ...entry, kind: "intent", made: undefined })
  }
  const found = plan.keyIs === "new" ? await ports.rootKey.make() : await ports.rootKey.find()
  if (found === undefined) throw new ServiceError("KEY_UNKNOWN", "the existing key that the script names is not there")
  const key = { ...found, scheme: plan.algorithm }
  const { act } = await prepareStep({ ...context, key }, step)
  const made = await act()
  return { state: await append(ports, state, { ...entry, made }), key }
}

/** @throws ServiceError CEREMONY_CONFLICT when another ceremony took the number */
async function append(ports: RootCeremonyPorts, state: JournalState, entry: JournalEntry): Promise<JournalState> {
  const bytes = encodeEntry(state, entry)
  if (!(await ports.folder.append(state.length + 1, bytes)))
    throw new ServiceError("CEREMONY_CONFLICT", "another ceremony wrote into this folder")
  return readJournal(ports, await ports.folder.entries())
}

/** @throws ServiceError CLOCK_WENT_BACK */
function laterThan({ last }: JournalState, now: Date): Date {
  if (last !== undefined && now.getTime() < last.at.getTime())
    throw new ServiceError("CLOCK_WENT_BACK", `the newest entry of the journal is of ${formatTime(last.at)}`)
  return now
}

interface Output {
  readonly name: string
  readonly bytes: Uint8Array
}

/** Certificates in PEM, an issuer's with the root behind it as `issuer activate --chain` wants them; CRLs in DER. */
function outputsOf({ step, made }: JournalEntry, state: JournalState): readonly Output[] {
  if (made === undefined || state.root === undefined) return []
  const pem = pemEncode("CERTIFICATE", made)
  if (step.do === "make-crl") return [{ name: `${step.id}.crl`, bytes: made }]
  if (step.do === "make-root") return [{ name: `${step.id}.pem`, bytes: utf8(pem) }]
  const root = pemEncode("CERTIFICATE", state.root.certificate.der)
  return [{ name: `${step.id}.chain.pem`, bytes: utf8(pem + root) }]
}

function resultLines(ports: RootCeremonyPorts, { step, made }: JournalEntry, outputs: readonly Output[]): string[] {
  const lines = outputs.map(({ name, bytes }) => `output: ${name}, SHA-256 ${hexOf(ports, bytes)}`)
  if (made === undefined) return lines
  lines.push(`${step.do === "make-crl" ? "CRL" : "certificate"} (DER), SHA-256: ${grouped(hexOf(ports, made))}`)
  return lines
}

function hexOf(ports: RootCeremonyPorts, bytes: Uint8Array): string {
  return hexEncode(ports.digest("sha256", bytes))
}
