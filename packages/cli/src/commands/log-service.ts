import { utf8 } from "@sealwright/formats/bytes"
import { integer, object, openObject, string } from "@sealwright/formats/shape"
import { type Command, SERVICE_OPTIONS } from "../arguments.ts"
import { openClient } from "../client.ts"
import { EXIT, usage } from "../exit.ts"
import { writeFileWhole } from "../files.ts"
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
  { oldestWaiting: string(30) },
)
const answerShape = openObject({
  logs: object({ signatures: statusShape, events: statusShape }),
  policy: string(262_144),
})

export const logStatus: Command = {
  name: "log status",
  summary: "show the transparency logs and what waits for them",
  help: `
Usage: sealwright log status

With --json the answer has the logs' policy too (C2SP tlog-policy), as the trust bundle has it.
`,
  options: SERVICE_OPTIONS,
  positionals: { min: 0, max: 0 },
  run: async (args) => {
    const answer = await openClient(args).get("/v1/log")
    const { logs } = answerShape(answer, "answer")
    print(args.flag("json"), answer, () =>
      table([
        ["LOG", "ORIGIN", "LEAVES", "WAITING", "SINCE"],
        ...Object.entries(logs).map(([kind, one]) => [
          kind,
          one.origin,
          one.size,
          String(one.waiting),
          one.oldestWaiting ?? "-",
        ]),
      ]),
    )
    return EXIT.done
  },
}
