import { array, integer, openObject, string } from "@sealwright/formats/shape"
import { type Command, SERVICE_OPTIONS } from "../arguments.ts"
import { openClient } from "../client.ts"
import { EXIT, usage } from "../exit.ts"
import { print } from "../output.ts"

const findingShape = openObject(
  { id: string(100), kind: string(20), at: string(30), foundAt: string(30) },
  {
    keyId: string(2048),
    key: string(200),
    principal: string(2048),
    sourceIp: string(100),
    eventId: string(100),
    leases: integer(0),
    voids: integer(0),
    count: integer(0),
  },
)
type Finding = ReturnType<typeof findingShape>

const answerShape = openObject({ findings: array(findingShape, 1_000_000) }, { since: string(30), through: string(30) })

export const reconcile: Command = {
  name: "reconcile",
  summary: "show uses of keys that no act explains",
  help: `
Usage: sealwright reconcile [--check] [--json]

Shows how far uses of keys are reconciled with what the service recorded, and what was found and nobody has acknowledged yet. With --check the exit
status is 1 when there is anything.

Example:
  sealwright reconcile --check
`,
  options: { ...SERVICE_OPTIONS, check: { type: "boolean" } },
  positionals: { min: 0, max: 0 },
  run: async (args) => {
    const answer = await openClient(args).get("/v1/reconciliation")
    const { since, through, findings } = answerShape(answer, "answer")
    print(args.flag("json"), answer, () => [
      since === undefined ? "Nothing is reconciled yet." : `Uses of keys from ${since} to ${through} are reconciled.`,
      ...(findings.length === 0 ? ["Nothing is open."] : findings.flatMap(linesOf)),
    ])
    return args.flag("check") && findings.length > 0 ? EXIT.rejected : EXIT.done
  },
}

const WHAT: { readonly [kind: string]: string } = {
  unexplained: "UNEXPLAINED: no act of the service tells this use of a key",
  "wrong-role": "WRONG ROLE: who used this key has no business with it",
  missing: "WITHOUT EVENT: acts used keys, and CloudTrail does not show it",
}

function linesOf(finding: Finding): string[] {
  const { id, kind, at, keyId, key, principal, sourceIp, eventId, leases, voids, count } = finding
  const line = (name: string, value: string | number | undefined) =>
    value === undefined ? [] : [`  ${name.padEnd(10)} ${value}`]
  return [
    `${at}  ${WHAT[kind] ?? kind}`,
    ...line("id", id),
    ...line("key", key === undefined ? keyId : `${key} (${keyId})`),
    ...line("role", principal),
    ...line("from", sourceIp),
    ...line("event", eventId),
    ...line("uses", count),
    ...line("leases", leases === undefined ? undefined : `${leases} open then, ${voids} of their numbers unrecorded`),
  ]
}

export const reconcileAcknowledge: Command = {
  name: "reconcile acknowledge",
  summary: "say what a finding turned out to be",
  help: `
Usage: sealwright reconcile acknowledge FINDING-ID --comment TEXT [--json]

What was looked into rings no more. It stays in the ledger with the comment and who gave it, and the audit trail has the act.

Example:
  sealwright reconcile acknowledge 0b1c2d3e-0000-4000-8000-000000000000 --comment "sign crashed before it recorded; see its log"
`,
  options: { ...SERVICE_OPTIONS, comment: { type: "string" } },
  positionals: { min: 1, max: 1 },
  run: async (args) => {
    const [id = ""] = args.positionals
    if (!/^[0-9A-Za-z-]{1,100}$/.test(id)) throw usage(`${id} is no finding's id`)
    const body = { comment: args.required("comment") }
    const answer = await openClient(args).send("POST", `/v1/reconciliation/findings/${id}/acknowledgement`, body)
    print(args.flag("json"), answer, () => [`${id} is acknowledged.`])
    return EXIT.done
  },
}
