import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join, resolve } from "node:path"
import { clock, digest, randomBytes } from "@sealwright/adapters/platform"
import { type CeremonyOptions, type CeremonyOutcome, holdRootCeremony } from "@sealwright/core/offline-root/flow"
import type { RootCeremonyPorts } from "@sealwright/core/offline-root/ports"
import { rehearsalOf } from "@sealwright/core/offline-root/rehearsal"
import { type CeremonyScript, MAX_SCRIPT_BYTES, parseScript } from "@sealwright/core/offline-root/script"
import { base64Encode, hexEncode } from "@sealwright/formats/bytes"
import { formatTime } from "@sealwright/formats/time"
import { runSync } from "@sealwright/verifier/node-crypto"
import type { Arguments, Command } from "../arguments.ts"
import { EXIT } from "../exit.ts"
import { readFileLimited } from "../files.ts"
import { KEY_OPTIONS } from "../key-options.ts"
import { coded } from "../keys.ts"
import { askParticipant } from "../offline-root/ask.ts"
import { ceremonyFolder, createTranscript } from "../offline-root/folder.ts"
import { hostFacts } from "../offline-root/host.ts"
import { type OpenedRootKey, openRootKey, openThrowawayKey } from "../offline-root/root-key.ts"
import { out } from "../output.ts"

const MAX_REQUEST_BYTES = 32_768
const { region: _, ...ROOT_KEY_OPTIONS } = KEY_OPTIONS

export const rootCeremony: Command = {
  name: "root ceremony",
  summary: "hold a ceremony of an offline root, by a script",
  help: `
Usage: sealwright root ceremony SCRIPT.json [--rehearse] [--folder root-ceremony] [--transcript FILE] [--yes]
         [--home FOLDER] [--password-source SOURCE] [--module LIBRARY] [--graphene FOLDER] [--pin-source SOURCE]

Makes an offline root, certifies issuers from the requests of \`issuer create --external\`, revokes them, and makes the root's CRLs, as the script says
(docs/root-ceremony.md): on a machine without network, with the root's key in an encrypted file (local:NAME below --home) or on a token (pkcs11:…, with
--module). Every participant is asked before each step, unless --yes. What was done stays done, with the same bytes: a ceremony that was cut is repeated.
--folder keeps the journal (journal/) and what was made (out/). The transcript is printed, and written to a file that is never written over: by default
transcripts/TIME.txt below --folder. It ends with its digest, signed by the root's key.
--rehearse does the same with throwaway keys in a temporary folder, marks every certificate, and leaves its transcript alone (rehearsal-TIME.txt).
--json prints one document at the end, with every line of the transcript as an event.

Examples:
  sealwright root ceremony ceremony.json --rehearse --yes
  sealwright root ceremony ceremony.json --folder /root/corporate-root
`,
  options: {
    ...ROOT_KEY_OPTIONS,
    rehearse: { type: "boolean" },
    folder: { type: "string" },
    transcript: { type: "string" },
    yes: { type: "boolean" },
  },
  positionals: { min: 1, max: 1 },
  run: async (args) => {
    const path = args.positionals[0] ?? ""
    const bytes = readFileLimited(path, MAX_SCRIPT_BYTES)
    return await coded(async () => {
      const script = parseScript(bytes)
      const scriptFact = `script: SHA-256 ${hexEncode(digest("sha256", bytes))}`
      const facts = [...(await hostFacts()), scriptFact]
      const held = args.flag("rehearse") ? await rehearse(args, script, facts) : await hold(args, script, facts)
      show(args, held)
      return EXIT.done
    })
  },
}

interface Held {
  readonly folder: string | undefined
  readonly transcriptPath: string
  readonly outcome: CeremonyOutcome
}

async function hold(args: Arguments, script: CeremonyScript, facts: readonly string[]): Promise<Held> {
  const folder = folderOf(args)
  const transcriptPath = resolve(args.text("transcript") ?? join(folder, "transcripts", `${stamp()}.txt`))
  const key = await openRootKey(args, script.root)
  const outcome = await held(args, key, folder, transcriptPath, script, { rehearsal: false, facts })
  return { folder, transcriptPath, outcome }
}

/** The temporary folder goes whatever happens, also when the rehearsal is interrupted. */
async function rehearse(args: Arguments, script: CeremonyScript, facts: readonly string[]): Promise<Held> {
  const transcriptPath = resolve(args.text("transcript") ?? `rehearsal-${stamp()}.txt`)
  const own = await ceremonyFolder(folderOf(args)).entries()
  const { script: whole, inputs, replayed } = rehearsalOf({ digest, run: runSync }, script, own)
  const temporary = mkdtempSync(join(tmpdir(), "sealwright-rehearsal-"))
  const remove = () => rmSync(temporary, { recursive: true, force: true })
  const interrupted = () => {
    remove()
    process.exit(EXIT.unavailable)
  }
  process.once("SIGINT", interrupted).once("SIGTERM", interrupted)
  try {
    const key = await openThrowawayKey(temporary, script.root)
    const options = { rehearsal: true, facts, replayed }
    return {
      folder: undefined,
      transcriptPath,
      outcome: await held(args, key, join(temporary, "ceremony"), transcriptPath, whole, options, inputs),
    }
  } finally {
    remove()
    process.off("SIGINT", interrupted).off("SIGTERM", interrupted)
  }
}

async function held(
  args: Arguments,
  { rootKey, keys, close }: OpenedRootKey,
  folder: string,
  transcriptPath: string,
  script: CeremonyScript,
  options: CeremonyOptions,
  inputs: ReadonlyMap<string, Uint8Array> = new Map(),
): Promise<CeremonyOutcome> {
  try {
    const transcript = createTranscript(transcriptPath)
    const beside = dirname(resolve(args.positionals[0] ?? ""))
    const ports: RootCeremonyPorts = {
      keys,
      rootKey,
      digest,
      clock,
      random: randomBytes,
      run: runSync,
      folder: ceremonyFolder(folder),
      readInput: async (name) => inputs.get(name) ?? readFileLimited(resolve(beside, name), MAX_REQUEST_BYTES),
      confirm: args.flag("yes") ? undefined : (who, question) => askParticipant(who, question),
      async write(line) {
        transcript.write(line)
        if (!args.flag("json")) out(line)
      },
    }
    return await holdRootCeremony(ports, script, options).finally(() => transcript.close())
  } finally {
    await close()
  }
}

function folderOf(args: Arguments): string {
  return resolve(args.text("folder") ?? "root-ceremony")
}

/** Now, as a file's name has it. */
function stamp(): string {
  return formatTime(clock()).replace(/[-:]/g, "")
}

function show(args: Arguments, { folder, transcriptPath, outcome }: Held): void {
  const { transcript, steps, journal } = outcome
  if (!args.flag("json")) {
    out(`Transcript: ${transcriptPath}${folder === undefined ? "" : `; what was made: ${join(folder, "out")}`}`)
    return
  }
  const { sha256, signature, lines } = transcript
  out(
    JSON.stringify({
      rehearsal: folder === undefined,
      ...(folder !== undefined && { folder }),
      transcript: transcriptPath,
      transcriptSha256: sha256,
      transcriptSignature: base64Encode(signature),
      journal,
      steps,
      events: lines,
    }),
  )
}
