import { boolean, integer, openObject, string } from "@sealwright/formats/shape"
import type { JsonObject } from "@sealwright/formats/strict-json"
import { type Arguments, type Command, SERVICE_OPTIONS } from "../arguments.ts"
import { openClient } from "../client.ts"
import { EXIT, usage } from "../exit.ts"
import { print } from "../output.ts"

const answerShape = openObject({
  revocation: openObject({ id: string(64), reason: string(40), effectiveAt: string(30), released: boolean }),
  changed: boolean,
  epoch: integer(1),
  published: boolean,
  due: string(30),
})

const TARGETS = ["signature", "artifact", "certificate", "certificate-of", "issuer", "profile", "principal"] as const

export const revoke: Command = {
  name: "revoke",
  summary: "revoke signatures, artifacts, certificates, profiles, principals",
  help: `
Usage: sealwright revoke (--signature ID | --artifact DIGEST | --certificate SHA256 | --certificate-of ID | --issuer NAME [--from TIME] |
         --profile NAME --from TIME | --principal ARN --from TIME [--until TIME])
         [--reason keyCompromise] [--comment TEXT] [--effective TIME] [--wait]

Answers once the revocation is durable, with the publication that will carry it and when that is due; --wait waits for it (exit 0 either way;
with --wait, exit 3 when it is not published within 25 seconds). Asking again for the same is safe. Reasons are those of RFC 5280; only a
certificateHold can be released. --certificate-of revokes the certificate that a signature was made under: all signatures of its batch.
--issuer with --from spares, in our own verifier, what a timestamp authority proves to be older; stock clients refuse all of the issuer's.

Examples:
  sealwright revoke --signature 01JD3Y0V6ZV4Q6D8W9X4K2M7RT --reason keyCompromise --wait
  sealwright revoke --artifact sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 --comment "backdoored dependency"
  sealwright revoke --issuer ci-2026 --from 2026-11-20T22:00:00Z --reason cACompromise
  sealwright revoke --principal arn:aws:iam::111122223333:role/pipeline --from 2026-11-20T22:00:00Z
`,
  options: {
    ...SERVICE_OPTIONS,
    signature: { type: "string" },
    artifact: { type: "string" },
    certificate: { type: "string" },
    "certificate-of": { type: "string" },
    issuer: { type: "string" },
    profile: { type: "string" },
    principal: { type: "string" },
    from: { type: "string" },
    until: { type: "string" },
    reason: { type: "string" },
    comment: { type: "string" },
    effective: { type: "string" },
    wait: { type: "boolean" },
  },
  positionals: { min: 0, max: 0 },
  run: async (args) => {
    const reason = args.text("reason")
    const comment = args.text("comment")
    const effectiveAt = args.text("effective")
    const body = {
      target: targetOf(args),
      ...(reason !== undefined && { reason }),
      ...(comment !== undefined && { comment }),
      ...(effectiveAt !== undefined && { effectiveAt }),
    }
    const wait = args.flag("wait")
    const answer = await openClient(args).send("POST", "/v1/revocations", body, {
      wait: wait ? "published" : undefined,
    })
    return show(args, answer, wait)
  },
}

export const release: Command = {
  name: "release",
  summary: "let a certificateHold go",
  help: "Usage: sealwright release REVOCATION-ID [--wait]\n\nExample:\n  sealwright release rev-b709ee52d073515bce98612913d54fe0 --wait",
  options: { ...SERVICE_OPTIONS, wait: { type: "boolean" } },
  positionals: { min: 1, max: 1 },
  run: async (args) => {
    const [id = ""] = args.positionals
    if (!/^rev-[0-9a-f]{32}$/.test(id)) throw usage(`${id} is no revocation's id`)
    const wait = args.flag("wait")
    const answer = await openClient(args).send(
      "POST",
      `/v1/revocations/${id}/release`,
      {},
      { wait: wait ? "published" : undefined },
    )
    return show(args, answer, wait)
  },
}

function targetOf(args: Arguments): JsonObject {
  const named = TARGETS.filter((kind) => args.text(kind) !== undefined)
  const [kind] = named
  if (kind === undefined || named.length > 1)
    throw usage(`name exactly one of ${TARGETS.map((target) => `--${target}`).join(", ")}`)
  const value = args.required(kind)
  switch (kind) {
    case "artifact":
      return { kind, digest: value }
    case "certificate":
      return { kind, thumbprint: value }
    case "certificate-of":
      return { kind: "certificate", signature: value }
    case "issuer": {
      const from = args.text("from")
      return { kind, issuer: value, ...(from !== undefined && { from }) }
    }
    case "profile":
      return { kind, profile: value, from: args.required("from") }
    case "principal": {
      const until = args.text("until")
      return { kind, principal: value, from: args.required("from"), ...(until !== undefined && { until }) }
    }
    default:
      return { kind, [kind]: value }
  }
}

function show(args: Arguments, answer: JsonObject, wait: boolean): number {
  const { revocation, changed, epoch, published, due } = answerShape(answer, "answer")
  print(args.flag("json"), answer, () => [
    `${revocation.id}: ${revocation.released ? "released" : revocation.reason} since ${revocation.effectiveAt}${changed ? "" : " (stood already)"}`,
    published ? `Publication ${epoch} carries it and is published.` : `Publication ${epoch} carries it, due by ${due}.`,
  ])
  return wait && !published ? EXIT.inconclusive : EXIT.done
}
