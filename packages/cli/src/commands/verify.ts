import { readdirSync } from "node:fs"
import { dirname, join, resolve } from "node:path"
import { parseDigest } from "@sealwright/formats/oci"
import { parseReference } from "@sealwright/formats/oci-reference"
import { parseTime } from "@sealwright/formats/time"
import { LOG_PROOF_SUFFIX, MAX_LOG_PROOF_BYTES } from "@sealwright/formats/tlog-proof"
import { openBundle } from "@sealwright/verifier/bundle"
import { MAX_LOG_PROOFS } from "@sealwright/verifier/log-proof"
import { runSync } from "@sealwright/verifier/node-crypto"
import { importNotationPolicy, policyForReference } from "@sealwright/verifier/notation-policy"
import { raiseLogFloors } from "@sealwright/verifier/state"
import { loadTrustPolicy, MAX_POLICY_BYTES, type TrustPolicy } from "@sealwright/verifier/trust-policy"
import type { Verdict } from "@sealwright/verifier/verdict"
import { MAX_SIGNATURES, verify } from "@sealwright/verifier/verify"
import type { Command } from "../arguments.ts"
import { folderReader } from "../bundle-folder.ts"
import { contentReader } from "../bundles/content.ts"
import { openFolder } from "../bundles/folder.ts"
import { readBundleKey, requireSignatures } from "../bundles/sign-index.ts"
import { CommandFailure, EXIT } from "../exit.ts"
import { readFileIfThere, readFileLimited } from "../files.ts"
import { logsIn } from "../log-files.ts"
import { note, print } from "../output.ts"
import { MAX_ROOT_BYTES } from "../root-file.ts"
import { openState } from "../state-file.ts"
import { proofsBeside, readSubject, signaturesBeside } from "../subject.ts"

const MAX_ENVELOPE_BYTES = 1024 * 1024
const STATUS = { accepted: EXIT.done, rejected: EXIT.rejected, inconclusive: EXIT.inconclusive } as const

export const verifyCommand: Command = {
  name: "verify",
  summary: "verify an artifact offline",
  help: `
Usage: sealwright verify SUBJECT --reference registry/repository[:tag] --policy FILE --bundle BUNDLE --root tuf-root.json
         [--bundle-key PUB.pem]... [--tag TAG] [--signature FILE]... [--proof FILE]... [--max-stale 24h] [--now TIME]
         [--events] [--state FILE | --no-state]

Decides from files alone whether an artifact may run; nothing is fetched. SUBJECT is an OCI image layout or a file. Signatures are taken from the
layout or beside the file, from the bundle, and from --signature; log proofs (.tlog-proof) beside them, from the bundle, and from --proof. --policy and --root are the deployer's own,
kept where no carrier of bundles writes: whoever could swap them could have anything accepted. The policy is the Notary v2 JSON or notation's
trustpolicy.json; an exported bundle has one to start from, to be read and kept. --bundle-key demands a signature over the bundle's index, and takes
from the bundle what the index says alone. Exit status: 0 accepted, 1 rejected, 3 inconclusive; only 0 lets it run.

Examples:
  sealwright verify ./image --reference registry.wabbit-networks.io/net-monitor:v1 \\
    --policy policy/trustpolicy.json --bundle ./bundle --root tuf-root.json
  sealwright verify tool.tar.gz --reference downloads.wabbit-networks.io/tool \\
    --policy policy/trustpolicy.json --bundle ./bundle --root tuf-root.json --max-stale 7d --json
`,
  options: {
    reference: { type: "string" },
    bundle: { type: "string" },
    root: { type: "string" },
    "bundle-key": { type: "string", multiple: true },
    policy: { type: "string" },
    tag: { type: "string" },
    signature: { type: "string", multiple: true },
    proof: { type: "string", multiple: true },
    "max-stale": { type: "string" },
    now: { type: "string" },
    events: { type: "boolean" },
    state: { type: "string" },
    "no-state": { type: "boolean" },
  },
  positionals: { min: 1, max: 1 },
  run: async (args) => {
    const folder = resolve(args.required("bundle"))
    const pinnedRoot = readFileLimited(args.required("root"), MAX_ROOT_BYTES)
    const now = args.text("now") === undefined ? new Date() : parseTime(args.required("now"))
    const reference = args.required("reference")
    const policy = readPolicy(args.required("policy"), reference)
    const subject = readSubject(args.positionals[0] ?? "", args.text("tag"))
    const { digest } = subject.descriptor
    const read = bundleReader(folder, args.texts("bundle-key"))
    const envelopes = [
      ...signaturesBeside(subject),
      ...args.texts("signature").map((path) => readFileLimited(path, MAX_ENVELOPE_BYTES)),
      ...bundled(folder, read, digest, MAX_ENVELOPE_BYTES, MAX_SIGNATURES, (name) => !name.endsWith(LOG_PROOF_SUFFIX)),
    ]
    const proofs = [
      ...proofsBeside(subject),
      ...args.texts("proof").map((path) => readFileLimited(path, MAX_LOG_PROOF_BYTES)),
      ...bundled(folder, read, digest, MAX_LOG_PROOF_BYTES, MAX_LOG_PROOFS, (name) => name.endsWith(LOG_PROOF_SUFFIX)),
    ]
    const state = openState(args, pinnedRoot)
    const trusted = runSync(
      openBundle({
        read,
        pinnedRoot,
        now,
        maxStaleSec: args.duration("max-stale") ?? policy.maxStaleSec,
        ...(state.floors && { floors: state.floors }),
      }),
    )
    const verdict = runSync(
      verify({
        artifact: subject.descriptor,
        reference,
        envelopes: distinct(envelopes),
        policy,
        trusted,
        now,
        log: { proofs: distinct(proofs), ...logsIn(read) },
      }),
    )
    if (trusted.ok) state.remember(raiseLogFloors(trusted.floors, verdict.logs))
    if (args.flag("events")) for (const event of verdict.events) note(JSON.stringify(event))
    print(args.flag("json"), verdict, () => describe(verdict))
    return STATUS[verdict.verdict]
  },
}

/** The Notary v2 JSON, or notation's trustpolicy.json with its trust store beside it as notation keeps it. */
function readPolicy(path: string, reference: string): TrustPolicy {
  const bytes = readFileLimited(path, MAX_POLICY_BYTES)
  const folder = dirname(path)
  const ours = loadTrustPolicy(bytes, (name) => readFileIfThere(resolve(folder, name), MAX_POLICY_BYTES))
  if (ours.ok) {
    for (const warning of ours.warnings) note(`sealwright: policy: ${warning}`)
    return ours.policy
  }
  const notation = importNotationPolicy(bytes, (type, name) =>
    readStore(join(folder, "truststore", "x509", type, name)),
  )
  if (!notation.ok)
    throw new CommandFailure(
      EXIT.usage,
      ours.code,
      `${path}: ${ours.detail}`,
      "Give a trust policy in the Notary v2 JSON, or notation's trustpolicy.json.",
    )
  const policy = policyForReference(notation.statements, parseReference(reference))
  if (policy === undefined)
    throw new CommandFailure(EXIT.rejected, "SOURCE_NOT_TRUSTED", `${path} has no statement for ${reference}`)
  return policy
}

function readStore(folder: string): Uint8Array[] | undefined {
  let names: string[]
  try {
    names = readdirSync(folder)
  } catch {
    return undefined
  }
  return names.sort().map((name) => readFileLimited(join(folder, name), MAX_POLICY_BYTES))
}

type ReadBundle = (path: string, maxBytes: number) => Uint8Array | undefined

/** Where the deployer demands signatures over the index, nothing that it does not list is read, and no other bytes. */
function bundleReader(folder: string, keyFiles: readonly string[]): ReadBundle {
  if (keyFiles.length === 0) return folderReader(folder)
  const content = openFolder(folder, false)
  requireSignatures(content, keyFiles.map(readBundleKey))
  return contentReader(content)
}

/** What the bundle has of one kind for an artifact; of more files than `most` one more than that. */
function bundled(
  folder: string,
  read: ReadBundle,
  digest: string,
  maxBytes: number,
  most: number,
  isWanted: (name: string) => boolean,
): Uint8Array[] {
  const { algorithm } = parseDigest(digest)
  const below = `signatures/${algorithm}/${digest.slice(algorithm.length + 1)}`
  let names: string[]
  try {
    names = readdirSync(join(folder, below))
  } catch {
    return []
  }
  return names
    .filter(isWanted)
    .sort()
    .slice(0, most + 1)
    .flatMap((name) => read(`${below}/${name}`, maxBytes) ?? [])
}

function distinct(envelopes: readonly Uint8Array[]): Uint8Array[] {
  return [...new Map(envelopes.map((envelope) => [Buffer.from(envelope).toString("latin1"), envelope])).values()]
}

const MARK = { pass: "ok  ", fail: "FAIL", warn: "warn", skip: "skip" } as const

function describe(verdict: Verdict): string[] {
  const line = (check: Verdict["checks"][number]) => `  ${MARK[check.outcome]}  ${check.check}: ${check.text}`
  return [
    `${verdict.verdict.toUpperCase()}  ${verdict.code}  ${verdict.artifact}`,
    ...verdict.checks.map(line),
    ...verdict.signatures.flatMap((signature, i) => [
      ` signature ${i + 1}: ${signature.code}`,
      ...signature.checks.map(line),
    ]),
    ...verdict.freshness.map(
      ({ part, version, date, due, ageSec }) =>
        `  ${part} ${version}${date === undefined ? "" : ` of ${date} (${ageSec} s old)`}, ${date === undefined ? "expires" : "due"} ${due}`,
    ),
  ]
}
