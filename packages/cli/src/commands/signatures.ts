import { array, integer, openObject, string } from "@sealwright/formats/shape"
import { type Command, SERVICE_OPTIONS } from "../arguments.ts"
import { openClient } from "../client.ts"
import { EXIT, usage } from "../exit.ts"
import { print, table } from "../output.ts"

const signatureShape = openObject(
  {
    id: string(26),
    profile: string(48),
    number: string(15),
    reference: string(600),
    principal: string(256),
    signedAt: string(30),
    subject: openObject({ digest: string(135) }),
  },
  { expiresAt: string(30) },
)
const logShape = openObject({ epoch: integer(1), index: string(16) })
const pageShape = openObject({ signatures: array(signatureShape, 1000) }, { next: string(26) })

export const list: Command = {
  name: "list",
  summary: "list signatures",
  help: `
Usage: sealwright list (--profile NAME [--from TIME] [--to TIME] [--newest] | --digest DIGEST) [--limit 50] [--after ID]

Examples:
  sealwright list --profile release --newest --limit 10
  sealwright list --digest sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
`,
  options: {
    ...SERVICE_OPTIONS,
    profile: { type: "string" },
    digest: { type: "string" },
    from: { type: "string" },
    to: { type: "string" },
    newest: { type: "boolean" },
    limit: { type: "string" },
    after: { type: "string" },
  },
  positionals: { min: 0, max: 0 },
  run: async (args) => {
    const profile = args.text("profile")
    const digest = args.text("digest")
    if ((profile === undefined) === (digest === undefined)) throw usage("name exactly one of --profile and --digest")
    const page = {
      limit: args.text("limit"),
      after: args.text("after"),
      from: args.text("from"),
      to: args.text("to"),
      order: args.flag("newest") ? "newest" : undefined,
    }
    const client = openClient(args)
    const answer =
      profile === undefined
        ? await client.get("/v1/signatures", { digest, after: page.after })
        : await client.get(`/v1/profiles/${encodeURIComponent(profile)}/signatures`, page)
    const { signatures, next } = pageShape(answer, "answer")
    print(args.flag("json"), answer, () => [
      ...table([
        ["ID", "SIGNED", "PROFILE", "REFERENCE", "DIGEST"],
        ...signatures.map((one) => [one.id, one.signedAt, one.profile, one.reference, one.subject.digest]),
      ]),
      ...(next === undefined ? [] : [`More: --after ${next}`]),
    ])
    return EXIT.done
  },
}

export const show: Command = {
  name: "show",
  summary: "show one signature",
  help: "Usage: sealwright show SIGNATURE-ID [--json]\n\nWith --json the envelopes stand in the answer, in base64.",
  options: SERVICE_OPTIONS,
  positionals: { min: 1, max: 1 },
  run: async (args) => {
    const [id = ""] = args.positionals
    if (!/^[0-9A-Z]{26}$/.test(id)) throw usage(`${id} is no signature's id`)
    const answer = await openClient(args).get(`/v1/signatures/${id}`)
    const { signature } = openObject({ signature: signatureShape })(answer, "answer")
    const { log } = openObject({ signature: openObject({}, { log: logShape }) })(answer, "answer").signature
    print(args.flag("json"), answer, () => [
      `Signature ${signature.id}, number ${signature.number} of its issuer`,
      `  artifact   ${signature.subject.digest}`,
      `  reference  ${signature.reference}`,
      `  profile    ${signature.profile}`,
      `  signed     ${signature.signedAt} for ${signature.principal}`,
      ...(signature.expiresAt === undefined ? [] : [`  expires    ${signature.expiresAt}`]),
      log === undefined ? "  log        waits" : `  log        leaf ${log.index}, epoch ${log.epoch}`,
    ])
    return EXIT.done
  },
}

const entryShape = openObject(
  { at: string(30), principal: string(256), action: string(200), target: string(4000), outcome: string(10) },
  { code: string(60) },
)

export const audit: Command = {
  name: "audit",
  summary: "list who did what on a day",
  help: "Usage: sealwright audit [--day 2026-11-21] [--limit 50] [--after ID]\n\nExample:\n  sealwright audit --day 2026-11-21 --json",
  options: { ...SERVICE_OPTIONS, day: { type: "string" }, limit: { type: "string" }, after: { type: "string" } },
  positionals: { min: 0, max: 0 },
  run: async (args) => {
    const answer = await openClient(args).get("/v1/audit", {
      day: args.text("day"),
      limit: args.text("limit"),
      after: args.text("after"),
    })
    const { entries, next } = openObject({ entries: array(entryShape, 1000) }, { next: string(64) })(answer, "answer")
    print(args.flag("json"), answer, () => [
      ...table([
        ["AT", "OUTCOME", "ACTION", "PRINCIPAL", "TARGET"],
        ...entries.map((one) => [one.at, one.code ?? one.outcome, one.action, one.principal, one.target]),
      ]),
      ...(next === undefined ? [] : [`More: --after ${next}`]),
    ])
    return EXIT.done
  },
}
