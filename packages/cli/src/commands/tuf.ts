import { base64Decode, bytesEqual, hexEncode, utf8Decode } from "@sealwright/formats/bytes"
import { pemEncode } from "@sealwright/formats/pem"
import { KEY_LABEL } from "@sealwright/formats/pkcs8"
import { array, integer, openObject, string } from "@sealwright/formats/shape"
import type { JsonObject } from "@sealwright/formats/strict-json"
import { encodeTufSigning } from "@sealwright/formats/tuf-signing"
import { type Arguments, type Command, SERVICE_OPTIONS } from "../arguments.ts"
import { openClient } from "../client.ts"
import { EXIT, usage } from "../exit.ts"
import { readFileLimited, writeFileWhole } from "../files.ts"
import { KEY_HELP, KEY_OPTIONS } from "../key-options.ts"
import { coded, withKey } from "../keys.ts"
import { askParticipant } from "../offline-root/ask.ts"
import { out, print } from "../output.ts"
import {
  documentsToSign,
  keyidOf,
  readSigningFile,
  reviewLines,
  reviewView,
  withSignatures,
} from "../tuf/signing-file.ts"

const MAX_KEY_BYTES = 64 * 1024
const MAX_ROOT_BYTES = 512_000
const DEFAULT_FILE = "tuf-signing.json"

const tufShape = openObject({
  tuf: openObject(
    {
      root: openObject({ version: integer(1), expires: string(30) }),
      targets: openObject({ version: integer(1), expires: string(30) }),
      roles: array(
        openObject({
          role: string(20),
          threshold: integer(0),
          keys: array(openObject({ keyid: string(64), name: string(80), home: string(10) }), 256),
          nextGeneration: integer(2),
        }),
        6,
      ),
      people: array(openObject({ name: string(48), keyid: string(64) }), 1000),
      warnings: array(string(500), 10),
    },
    { proposal: openObject({ id: string(64), act: string(300) }, { request: string(24_000_000) }) },
  ),
})

export const tufKeyAdd: Command = {
  name: "tuf key add",
  summary: "register a person's key for the TUF root or targets",
  help: `
Usage: sealwright tuf key add NAME --public-key FILE
       sealwright tuf key add NAME --key KEY [--home FOLDER] [--password-source SOURCE]

Registers the public half of a key that a person holds. It counts for nothing until a root names it: see \`sealwright tuf propose\`. Safe to repeat.
${KEY_HELP}

Example:
  sealwright tuf key add ann --public-key ann.pem
`,
  options: { ...SERVICE_OPTIONS, ...KEY_OPTIONS, key: { type: "string" }, "public-key": { type: "string" } },
  positionals: { min: 1, max: 1 },
  run: async (args) => {
    const file = args.text("public-key")
    const publicKey =
      file === undefined
        ? await withKey(args, args.required("key"), async ({ key }) => pemEncode(KEY_LABEL.public, key.spki))
        : utf8Decode(readFileLimited(file, MAX_KEY_BYTES))
    return show(
      args,
      await openClient(args).send("POST", "/v1/tuf/keys", { name: args.positionals[0] ?? "", publicKey }),
    )
  },
}

export const tufPropose: Command = {
  name: "tuf propose",
  summary: "make the next TUF root or targets, with other keys, threshold or end",
  help: `
Usage: sealwright tuf propose root|targets [--keys service,ann,bob] [--threshold 2] [--days 366] [--out ${DEFAULT_FILE}]

Makes the next version and signs it with the service's own keys. What is left out stays as it is; without any of them the document is renewed. \`service\` stands for the
service's key, the others are names of registered keys. New keys of targets take a new root too. Where the service's keys suffice, the version is stored and joins
the next publication. Otherwise it waits: --out has the file that people sign with \`sealwright tuf sign\`, one after another or copies at the same time.

Example:
  sealwright tuf propose root --keys service,ann,bob --threshold 2 --out root-2.json
`,
  options: {
    ...SERVICE_OPTIONS,
    keys: { type: "string" },
    threshold: { type: "string" },
    days: { type: "string" },
    out: { type: "string" },
  },
  positionals: { min: 1, max: 1 },
  run: async (args) => {
    const [threshold, days, keys] = [args.whole("threshold"), args.whole("days"), args.text("keys")]
    const answer = await openClient(args).send("POST", "/v1/tuf/proposals", {
      role: args.positionals[0] ?? "",
      ...(keys !== undefined && { keys: keys.split(",").map((name) => name.trim()) }),
      ...(threshold !== undefined && { threshold }),
      ...(days !== undefined && { days }),
    })
    return show(args, answer, args.text("out") ?? DEFAULT_FILE)
  },
}

export const tufRotate: Command = {
  name: "tuf rotate",
  summary: "give a TUF role a new key of the service",
  help: `
Usage: sealwright tuf rotate root|targets|snapshot|timestamp|lists|registry [--out ${DEFAULT_FILE}]

Makes a new key in the place of those that the service has for the role. Clients follow by themselves; after new keys of timestamp or snapshot they forget versions that a
thief drove up. Where the root or targets need signatures of people, the change waits for them: --out has the file that they sign.

Example:
  sealwright tuf rotate timestamp
`,
  options: { ...SERVICE_OPTIONS, out: { type: "string" } },
  positionals: { min: 1, max: 1 },
  run: async (args) => {
    const client = openClient(args)
    const [role = ""] = args.positionals
    const { tuf } = tufShape(await client.get("/v1/tuf"), "answer")
    const generation = tuf.roles.find((one) => one.role === role)?.nextGeneration
    if (generation === undefined) throw usage(`there is no TUF role ${role}`)
    return show(
      args,
      await client.send("POST", "/v1/tuf/rotation", { role, generation }),
      args.text("out") ?? DEFAULT_FILE,
    )
  },
}

export const tufRequest: Command = {
  name: "tuf request",
  summary: "get the file that people sign",
  help: `
Usage: sealwright tuf request [--out ${DEFAULT_FILE}]

Writes what waits for signatures of people, with those that were handed in.

Example:
  sealwright tuf request --out root-2.json
`,
  options: { ...SERVICE_OPTIONS, out: { type: "string" } },
  positionals: { min: 0, max: 0 },
  run: async (args) => show(args, await openClient(args).get("/v1/tuf"), args.text("out") ?? DEFAULT_FILE),
}

export const tufSign: Command = {
  name: "tuf sign",
  summary: "sign a TUF root or targets offline",
  help: `
Usage: sealwright tuf sign FILE --key KEY [--previous-root FILE] [--yes] [--home FOLDER] [--password-source SOURCE] [--region REGION]

Shows what the file changes, as its documents have it, refuses one whose words say something else, asks, and adds a signature to each document that the key counts for. Needs no
network. --previous-root: your own copy of the root in force, which the file must follow on. A key that signed already changes nothing; one that does not count is refused.
${KEY_HELP}

Examples:
  sealwright tuf sign root-2.json --key local:ann --previous-root 1.root.json
  sealwright tuf sign root-2.json --key "pkcs11:token=safe;object=tuf" --module /usr/lib/softhsm/libsofthsm2.so
`,
  options: { ...KEY_OPTIONS, key: { type: "string" }, "previous-root": { type: "string" }, yes: { type: "boolean" } },
  positionals: { min: 1, max: 1 },
  run: async (args) => {
    const [path = ""] = args.positionals
    const uri = args.required("key")
    return await coded(async () => {
      const read = readSigningFile(path, new Date())
      requireOwnRoot(args, read.request.root)
      const done = await withKey(args, uri, async ({ key, keys }) => {
        const toSign = documentsToSign(read.review, keyidOf(key))
        if (toSign.length === 0) return false
        if (!args.flag("json")) out(reviewLines(read).join("\n"))
        const question = `Sign ${toSign.map(({ role, version }) => `${role} ${version}`).join(" and ")} with ${uri}?`
        if (!args.flag("yes") && !(await askParticipant({ name: uri, role: "key holder" }, question)))
          throw usage("not confirmed: nothing was signed", "Type yes to sign.")
        writeFileWhole(path, encodeTufSigning(await withSignatures(read.request, toSign, key, keys)))
        return true
      })
      const after = readSigningFile(path, new Date())
      print(args.flag("json"), { signed: done, ...reviewView(after) }, () => [
        done ? `Signed ${path}.` : `${path} has this key's signatures already.`,
        ...reviewLines(after).slice(-1),
      ])
      return EXIT.done
    })
  },
}

function requireOwnRoot(args: Arguments, root: Uint8Array): void {
  const own = args.text("previous-root")
  if (own !== undefined && !bytesEqual(readFileLimited(own, MAX_ROOT_BYTES), root))
    throw usage(`the file does not follow on ${own}`, "Do not sign: ask where the file is from.")
}

export const tufShow: Command = {
  name: "tuf show",
  summary: "show keys and thresholds, or who signed a file",
  help: `
Usage: sealwright tuf show [FILE]

Without FILE: the keys and thresholds of the deployment's TUF roles, and what waits for signatures. With FILE: what it changes, who signed it and who is missing, by the keys of the
root in force and of the next one; needs no network. Exit status 3 while signatures are missing.

Example:
  sealwright tuf show root-2.json
`,
  options: SERVICE_OPTIONS,
  positionals: { min: 0, max: 1 },
  run: async (args) => {
    const [path] = args.positionals
    if (path === undefined) return show(args, await openClient(args).get("/v1/tuf"))
    return await coded(async () => {
      const read = readSigningFile(path, new Date())
      print(args.flag("json"), reviewView(read), () => reviewLines(read))
      return read.review.complete ? EXIT.done : EXIT.inconclusive
    })
  },
}

export const tufSubmit: Command = {
  name: "tuf submit",
  summary: "hand in a signed TUF root or targets",
  help: `
Usage: sealwright tuf submit FILE

Hands the file's signatures in. The service checks each of them, and stores the documents once the thresholds of the root in force and of the next one are met; they join the next
publication. Until then it keeps the signatures: several people may hand in copies. Then repeat the command that waited, if it was not \`tuf propose\` or \`tuf rotate\`.

Example:
  sealwright tuf submit root-2.json
`,
  options: SERVICE_OPTIONS,
  positionals: { min: 1, max: 1 },
  run: async (args) => {
    const { request, review } = await coded(async () => readSigningFile(args.positionals[0] ?? "", new Date()))
    const signatures = review.documents.flatMap(({ role, metadata, tallies }) =>
      [...new Set(tallies.flatMap(({ signed }) => signed))].map((keyid) => {
        return { role, keyid, sig: hexEncode(metadata.signatures.get(keyid) ?? new Uint8Array(0)) }
      }),
    )
    const body = { proposal: request.proposal, signatures }
    return show(args, await openClient(args).send("POST", "/v1/tuf/signatures", body))
  },
}

export const tufWithdraw: Command = {
  name: "tuf withdraw",
  summary: "give up what waits for signatures",
  help: `
Usage: sealwright tuf withdraw

Gives up the proposal that waits. If enough people have signed a copy of its file, that copy stays a valid document for TUF clients: destroy it.

Example:
  sealwright tuf withdraw
`,
  options: SERVICE_OPTIONS,
  positionals: { min: 0, max: 0 },
  run: async (args) => {
    const client = openClient(args)
    const { proposal } = tufShape(await client.get("/v1/tuf"), "answer").tuf
    if (proposal === undefined) throw usage("nothing waits for signatures")
    return show(args, await client.send("POST", "/v1/tuf/withdrawal", { proposal: proposal.id }))
  },
}

/** @param file where what waits is written; undefined: nowhere */
function show(args: Arguments, answer: JsonObject, file?: string): number {
  const { root, targets, roles, people, proposal, warnings } = tufShape(answer, "answer").tuf
  const waits = proposal?.request === undefined ? undefined : base64Decode(proposal.request)
  if (file !== undefined && waits !== undefined) writeFileWhole(file, waits)
  print(args.flag("json"), answer, () => [
    `TUF root ${root.version} until ${root.expires}, targets ${targets.version} until ${targets.expires}.`,
    ...roles.map(
      ({ role, threshold, keys }) => `  ${role}: ${threshold} of ${keys.map(({ name }) => name).join(", ")}`,
    ),
    ...(people.length === 0 ? [] : [`Keys of people: ${people.map(({ name }) => name).join(", ")}`]),
    ...warnings.map((warning) => `Warning: ${warning}`),
    ...(proposal === undefined
      ? ["Nothing waits for signatures."]
      : [
          `${proposal.act} ${waits === undefined ? "was overtaken: withdraw it, or propose it again" : "waits for signatures of people"}.`,
        ]),
    ...(file !== undefined && waits !== undefined ? [`What they sign: ${file}`] : []),
  ])
  return EXIT.done
}
