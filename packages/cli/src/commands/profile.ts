import { array, boolean, integer, openObject, string } from "@sealwright/formats/shape"
import type { JsonObject } from "@sealwright/formats/strict-json"
import { type Arguments, type Command, SERVICE_OPTIONS } from "../arguments.ts"
import { openClient } from "../client.ts"
import { EXIT, usage } from "../exit.ts"
import { readFileLimited } from "../files.ts"
import { note, print, table } from "../output.ts"

const profileShape = openObject(
  {
    name: string(48),
    issuer: string(48),
    keyMode: string(20),
    algorithm: string(40),
    principals: array(string(256), 1000),
    repositories: array(string(255), 1000),
    state: string(20),
    generation: integer(1),
    allowList: boolean,
    timestamp: string(60),
  },
  { extraIssuer: string(48) },
)
const oneShape = openObject({ profile: profileShape })
type ProfileAnswer = ReturnType<typeof profileShape>

const CHANGE_OPTIONS = {
  ...SERVICE_OPTIONS,
  principal: { type: "string", multiple: true },
  repository: { type: "string", multiple: true },
  expiry: { type: "string" },
  "leaf-lifetime": { type: "string" },
  "extra-issuer": { type: "string" },
} as const

export const profileCreate: Command = {
  name: "profile create",
  summary: "create a signing policy",
  help: `
Usage: sealwright profile create NAME --issuer ISSUER --principal ARN... --repository SCOPE...
         [--key-mode ephemeral|shared|held] [--algorithm ecdsa-p256-sha256|ecdsa-p384-sha384|rsa-pss-sha384]
         [--expiry 365d] [--leaf-lifetime 10m] [--allow-list] [--timestamp none|own|outside:NAME]
         [--allow-root-issuer] [--extra-issuer ISSUER]

A principal is arn:aws:iam::{account}:role/{name}. A scope is registry/repository, or registry/path/* for all below it.
Key mode \`ephemeral\` (the default) makes a key and certificate for every signature, so that each can be revoked by stock clients;
\`shared\` makes one for up to 20 signatures of a batch: a twentieth of the calls to the key service, and stock clients can only revoke all
of them together; \`held\` signs with the profile's own key. \`--issuer root\` signs right below the root, which is refused without
--allow-root-issuer. With \`--timestamp own\` every signature carries a token of the deployment's timestamp authority, with \`outside:NAME\` of one
that \`timestamp outside\` named, and is of the scheme notary.x509; otherwise the signature says its own time, for which the service vouches
(notary.x509.signingAuthority). With --extra-issuer, an issuer of ml-dsa-65, every act signs twice: as before, and once more under ML-DSA-65 with a chain of
its own; not with \`held\`, nor with timestamps. Safe to repeat.

Example:
  sealwright profile create release --issuer ci-2026 --principal arn:aws:iam::111122223333:role/pipeline \\
    --repository registry.wabbit-networks.io/net-monitor
`,
  options: {
    ...CHANGE_OPTIONS,
    issuer: { type: "string" },
    "key-mode": { type: "string" },
    algorithm: { type: "string" },
    "allow-list": { type: "boolean" },
    "allow-root-issuer": { type: "boolean" },
    timestamp: { type: "string" },
  },
  positionals: { min: 1, max: 1 },
  run: async (args) => {
    const keyMode = args.text("key-mode")
    const algorithm = args.text("algorithm")
    const timestamp = args.text("timestamp")
    const answer = await openClient(args).send("POST", "/v1/profiles", {
      name: nameOf(args),
      issuer: args.required("issuer"),
      ...changes(args),
      ...(keyMode !== undefined && { keyMode }),
      ...(algorithm !== undefined && { algorithm }),
      ...(args.flag("allow-list") && { allowList: true }),
      ...(args.flag("allow-root-issuer") && { allowRootIssuer: true }),
      ...(timestamp !== undefined && { timestamp }),
    })
    const { warnings = [] } = openObject({}, { warnings: array(string(1000), 10) })(answer, "answer")
    for (const warning of warnings) note(`sealwright: ${warning}`)
    return show(args, answer)
  },
}

export const profileChange: Command = {
  name: "profile change",
  summary: "change who signs what",
  help: `
Usage: sealwright profile change NAME [--principal ARN...] [--repository SCOPE...] [--expiry 365d] [--leaf-lifetime 10m]
         [--extra-issuer ISSUER | --no-extra-issuer]

Lists replace the lists that stand. Once this answers, nothing is signed under the old ones, nor without the extra signature that an --extra-issuer
(of ml-dsa-65) adds to each.

Example:
  sealwright profile change release --repository registry.wabbit-networks.io/net-monitor --repository registry.wabbit-networks.io/net-watcher
`,
  options: { ...CHANGE_OPTIONS, "no-extra-issuer": { type: "boolean" } },
  positionals: { min: 1, max: 1 },
  run: async (args) => {
    const without = args.flag("no-extra-issuer")
    if (without && args.text("extra-issuer") !== undefined) throw usage("--no-extra-issuer contradicts --extra-issuer")
    const change: JsonObject = { ...changes(args), ...(without && { extraIssuer: null }) }
    if (Object.keys(change).length === 0) throw usage("nothing to change is named")
    return show(args, await openClient(args).send("PATCH", `/v1/profiles/${nameOf(args)}`, change))
  },
}

export const profileList: Command = {
  name: "profile list",
  summary: "list signing policies",
  help: "Usage: sealwright profile list [--json]",
  options: SERVICE_OPTIONS,
  positionals: { min: 0, max: 0 },
  run: async (args) => {
    const answer = await openClient(args).get("/v1/profiles")
    const { profiles } = openObject({ profiles: array(profileShape, 100_000) })(answer, "answer")
    print(args.flag("json"), answer, () =>
      table([
        ["NAME", "STATE", "KEY", "ALGORITHM", "ISSUER"],
        ...profiles.map((one) => [one.name, one.state, one.keyMode, one.algorithm, one.issuer]),
      ]),
    )
    return EXIT.done
  },
}

export const profileShow: Command = {
  name: "profile show",
  summary: "show one signing policy",
  help: "Usage: sealwright profile show NAME [--json]",
  options: SERVICE_OPTIONS,
  positionals: { min: 1, max: 1 },
  run: async (args) => show(args, await openClient(args).get(`/v1/profiles/${nameOf(args)}`)),
}

export const profileRotate: Command = {
  name: "profile rotate",
  summary: "give a profile a new key or another issuer",
  help: `
Usage: sealwright profile rotate NAME [--issuer OTHER]

Gives a profile with a held key a new key and certificate, by the newest generation of its issuer or by another one; moves a profile with ephemeral keys
to another issuer. Once this answers, nothing is signed with the old key. What was signed before stays good as long as its certificate does, so old and
new overlap by themselves, and deployers who trust the root do nothing.

Examples:
  sealwright profile rotate release
  sealwright profile rotate release --issuer ci-2027
`,
  options: { ...SERVICE_OPTIONS, issuer: { type: "string" } },
  positionals: { min: 1, max: 1 },
  run: async (args) => {
    const client = openClient(args)
    const path = `/v1/profiles/${nameOf(args)}`
    const issuer = args.text("issuer")
    const { profile } = oneShape(await client.get(path), "answer")
    const rotation = { generation: profile.generation, ...(issuer !== undefined && { issuer }) }
    return show(args, await client.send("POST", `${path}/rotation`, rotation))
  },
}

export const profileSuspend = stateCommand(
  "suspend",
  "stop a profile from signing",
  "Once this answers, no signature under the profile is recorded any more.",
)
export const profileResume = stateCommand(
  "resume",
  "let a profile sign again",
  "Undoes a suspend. A revoked profile never signs again.",
)

function stateCommand(act: "suspend" | "resume", summary: string, effect: string): Command {
  return {
    name: `profile ${act}`,
    summary,
    help: `Usage: sealwright profile ${act} NAME\n\n${effect}\n\nExample:\n  sealwright profile ${act} release`,
    options: SERVICE_OPTIONS,
    positionals: { min: 1, max: 1 },
    run: async (args) => show(args, await openClient(args).send("POST", `/v1/profiles/${nameOf(args)}/${act}`, {})),
  }
}

const DIGESTS_AT_ONCE = 90

export const profileAllow: Command = {
  name: "profile allow",
  summary: "add digests to a profile's allow list",
  help: `
Usage: sealwright profile allow NAME --repository registry/repository (--digest sha256:…)... [--digests FILE]

The profile must keep an allow list. FILE has one digest a line.

Example:
  sealwright profile allow release --repository registry.wabbit-networks.io/net-monitor --digests approved.txt
`,
  options: {
    ...SERVICE_OPTIONS,
    repository: { type: "string" },
    digest: { type: "string", multiple: true },
    digests: { type: "string" },
  },
  positionals: { min: 1, max: 1 },
  run: async (args) => {
    const repository = args.required("repository")
    const file = args.text("digests")
    const listed =
      file === undefined
        ? []
        : Buffer.from(readFileLimited(file, 16 * 1024 * 1024))
            .toString("utf8")
            .split("\n")
    const digests = [...args.texts("digest"), ...listed.map((line) => line.trim()).filter((line) => line !== "")]
    if (digests.length === 0) throw usage("no digest is named")
    const client = openClient(args)
    let answer: JsonObject = {}
    for (let at = 0; at < digests.length; at += DIGESTS_AT_ONCE)
      answer = await client.send("PUT", `/v1/profiles/${nameOf(args)}/allowances`, {
        repository,
        digests: digests.slice(at, at + DIGESTS_AT_ONCE),
      })
    print(args.flag("json"), answer, () => [
      `${digests.length} digests allowed; publication ${String(answer.epoch)} carries them.`,
    ])
    return EXIT.done
  },
}

function nameOf(args: Arguments): string {
  const [name = ""] = args.positionals
  if (!/^[a-z0-9-]{1,48}$/.test(name)) throw usage(`${name} is no profile's name`)
  return name
}

function changes(args: Arguments): JsonObject {
  const principals = args.texts("principal")
  const repositories = args.texts("repository")
  const expirySec = args.duration("expiry")
  const leafLifetimeSec = args.duration("leaf-lifetime")
  const extraIssuer = args.text("extra-issuer")
  return {
    ...(principals.length > 0 && { principals }),
    ...(repositories.length > 0 && { repositories }),
    ...(expirySec !== undefined && { expirySec }),
    ...(leafLifetimeSec !== undefined && { leafLifetimeSec }),
    ...(extraIssuer !== undefined && { extraIssuer }),
  }
}

function show(args: Arguments, answer: JsonObject): number {
  const { profile } = oneShape(answer, "answer")
  print(args.flag("json"), answer, () => lines(profile))
  return EXIT.done
}

function lines(profile: ProfileAnswer): string[] {
  return [
    `Profile ${profile.name}: ${profile.state}, ${profile.keyMode} key, ${profile.algorithm}, issuer ${profile.issuer}, generation ${profile.generation}`,
    ...profile.principals.map((principal) => `  signer      ${principal}`),
    ...profile.repositories.map((repository) => `  repository  ${repository}`),
    ...(profile.extraIssuer === undefined ? [] : [`  signs twice, under ML-DSA-65 too, issuer ${profile.extraIssuer}`]),
    ...(profile.allowList ? ["  keeps an allow list"] : []),
    ...(profile.timestamp === "none" ? [] : [`  every signature has a timestamp (${profile.timestamp})`]),
  ]
}
