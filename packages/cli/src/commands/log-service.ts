import { utf8, utf8Decode } from "@sealwright/formats/bytes"
import { array, boolean, integer, object, openObject, string } from "@sealwright/formats/shape"
import { type Command, SERVICE_OPTIONS } from "../arguments.ts"
import { openClient } from "../client.ts"
import { EXIT, usage } from "../exit.ts"
import { readFileLimited, writeFileWhole } from "../files.ts"
import { logProofs, proofPaths } from "../log-proofs.ts"
import { print, table } from "../output.ts"

export const logProof: Command = {
  name: "log proof",
  summary: "fetch the proof that a signature is logged",
  help: `
Usage: sealwright log proof SIGNATURE-ID [--output FILE]

Writes the proof (C2SP tlog-proof) to FILE, that of a second signature under ML-DSA-65 to FILE.ml-dsa-65; without --output it is printed.
A signature is logged some seconds after it was made; until then the answer is NOT_LOGGED.

Example:
  sealwright log proof 01KAJ3XV5M0000000000000000 --output tool.tar.gz.jws.sig.tlog-proof
`,
  options: { ...SERVICE_OPTIONS, output: { type: "string" } },
  positionals: { min: 1, max: 1 },
  run: async (args) => {
    const [id = ""] = args.positionals
    if (!/^[0-9A-Z]{26}$/.test(id)) throw usage(`${id} is no signature's id`)
    const answer = await openClient(args).get(`/v1/signatures/${id}/proof`)
    const proofs = logProofs(answer)
    const output = args.text("output")
    const paths = output === undefined ? [] : proofPaths(proofs, output, `${output}.ml-dsa-65`)
    for (const [path, text] of paths) writeFileWhole(path, utf8(text))
    print(args.flag("json"), { ...answer, ...(paths.length > 0 && { outputs: paths.map(([path]) => path) }) }, () =>
      paths.length === 0
        ? proofs.flatMap(({ proof }) => proof.trimEnd().split("\n"))
        : [`Signature ${id} is logged.`, ...paths.map(([path]) => `  written    ${path}`)],
    )
    return EXIT.done
  },
}

const statusShape = openObject(
  {
    origin: string(255),
    epoch: integer(0),
    size: string(16),
    state: string(20),
    waiting: integer(0),
  },
  { oldestWaiting: string(30), cosignedBy: array(string(1000), 64), quorumMet: boolean },
)
const witnessShape = openObject({
  name: string(1000),
  url: string(512),
  seen: openObject({ signatures: string(16), events: string(16) }),
})
const answerShape = openObject({
  logs: object({ signatures: statusShape, events: statusShape }),
  policy: string(262_144),
  witnesses: array(witnessShape, 64),
})

function linesOf({ logs, witnesses }: ReturnType<typeof answerShape>): string[] {
  const state = ({ quorumMet, cosignedBy = [] }: (typeof logs)["signatures"]) =>
    quorumMet === undefined ? "-" : `${cosignedBy.length} of ${witnesses.length}${quorumMet ? "" : ", no quorum"}`
  const rows = Object.entries(logs).map(([kind, one]) => [
    kind,
    one.origin,
    one.size,
    String(one.waiting),
    one.oldestWaiting ?? "-",
    state(one),
  ])
  const seen = witnesses.map(({ name, url, seen: { signatures, events } }) => [name, url, signatures, events])
  return [
    ...table([["LOG", "ORIGIN", "LEAVES", "WAITING", "SINCE", "COSIGNED"], ...rows]),
    ...(seen.length === 0 ? [] : ["", ...table([["WITNESS", "ADDRESS", "SIGNATURES", "EVENTS"], ...seen])]),
  ]
}

export const logStatus: Command = {
  name: "log status",
  summary: "show the transparency logs and what waits for them",
  help: `
Usage: sealwright log status

COSIGNED: how many witnesses have cosigned the newest checkpoint. With --json the answer has the logs' policy too (C2SP tlog-policy), as the trust bundle has it.
`,
  options: SERVICE_OPTIONS,
  positionals: { min: 0, max: 0 },
  run: async (args) => {
    const answer = await openClient(args).get("/v1/log")
    const status = answerShape(answer, "answer")
    print(args.flag("json"), answer, () => linesOf(status))
    return EXIT.done
  },
}

export const logWitnesses: Command = {
  name: "log witnesses",
  summary: "say who cosigns the logs' checkpoints",
  help: `
Usage: sealwright log witnesses FILE
       sealwright log witnesses --none

FILE has lines \`witness NAME VKEY https://ADDRESS\`, \`group NAME all|any|K MEMBER...\` and one \`quorum NAME|none\` (C2SP tlog-policy). Each witness is
asked for every checkpoint from now on, for a second in all; keys, groups and quorum join the trust bundle by new TUF targets, addresses do not. A quorum
tells deployers what to demand: proofs from before it stay without, so begin with \`quorum none\` and watch \`log status\`. Safe to repeat.
--none asks nobody any more.

Example:
  sealwright log witnesses witnesses.policy
`,
  options: { ...SERVICE_OPTIONS, none: { type: "boolean" } },
  positionals: { min: 0, max: 1 },
  run: async (args) => {
    const [file] = args.positionals
    if ((file === undefined) === !args.flag("none")) throw usage("give a FILE or --none")
    const policy = file === undefined ? "" : utf8Decode(readFileLimited(file, 65_536))
    const answer = await openClient(args).send("PUT", "/v1/log/witnesses", { policy })
    const status = answerShape(answer, "answer")
    print(args.flag("json"), answer, () => linesOf(status))
    return EXIT.done
  },
}
