import { base64Decode, hexEncode, utf8 } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import { parseReference } from "@sealwright/formats/oci-reference"
import { anyObject, array, openObject, string } from "@sealwright/formats/shape"
import { formatTime } from "@sealwright/formats/time"
import { LOG_PROOF_SUFFIX } from "@sealwright/formats/tlog-proof"
import { type Arguments, type Command, SERVICE_OPTIONS } from "../arguments.ts"
import { openClient } from "../client.ts"
import { EXIT, usage } from "../exit.ts"
import { writeFileWhole } from "../files.ts"
import { KEY_HELP, KEY_OPTIONS } from "../key-options.ts"
import { attachSignature } from "../layout.ts"
import { type LogProofs, logProofs, proofPaths } from "../log-proofs.ts"
import { onlyProfile } from "../only-profile.ts"
import { print } from "../output.ts"
import { envelopePath, extraEnvelopePath, readSubject, type Subject } from "../subject.ts"

const answerShape = openObject({
  signature: openObject(
    {
      id: string(26),
      number: string(15),
      profile: string(48),
      signedAt: string(30),
      envelopes: array(openObject({ format: string(40), content: string(1_500_000) }), 16, 1),
    },
    { extra: openObject({ issuer: string(48), number: string(15) }) },
  ),
})

/** What `deliver` puts where. */
interface Signed {
  readonly first: Uint8Array
  readonly extra: Uint8Array | undefined
  readonly proofs: LogProofs
}

const waitedShape = openObject({ signature: anyObject })

export const sign: Command = {
  name: "sign",
  summary: "sign an image layout or a file",
  help: `
Usage: sealwright sign SUBJECT --reference registry/repository[:tag] [--profile NAME] [--tag TAG]
         [--expires TIME] [--output FILE] [--extra-output FILE] [--no-attach] [--wait logged]
       sealwright sign SUBJECT --key KEY --certificate chain.pem [--reference registry/repository[:tag]] [--tag TAG]
         [--expires TIME] [--output FILE] [--no-attach] [--home FOLDER] [--password-source SOURCE]
       sealwright sign --batch FILE [--profile NAME] [--expires TIME] [--async] [--no-wait] [--timeout DURATION]
         [--idempotency-key KEY] [--envelopes FOLDER]

SUBJECT is an OCI image layout (a folder) or a file. The service gets its digest, never its bytes. An image's signature is put into the layout,
as Notary clients expect it; a file's is written beside it as FILE.jws.sig. Where the profile has an extra issuer, a second signature under ML-DSA-65 goes
into the layout, or stands beside the file as FILE.ml-dsa-65.jws.sig; --extra-output names another place. --profile may be left out when there is only one.

With --key nothing is asked of the service: the key signs here, under the chain that a CA gave it (PEM, its own certificate first, the root
last), and its time is a claim that nobody vouches for. A CA's own key is refused. ${KEY_HELP}

With --wait logged the command waits, at most 25 seconds, until the signature is in the transparency log, and writes the proof beside it
(C2SP tlog-proof): as FILE.jws.sig.tlog-proof, of an image as PATH.tlog-proof. Exit status 3 when it was not logged in time; the signature stands, and
\`sealwright log proof\` fetches the proof later.

With --batch a file (or - for standard input) names up to 10,000 subjects, one a line: PATH REFERENCE, or DIGEST SIZE REFERENCE [MEDIA-TYPE] (of an
image manifest unless given), or a JSON object with reference and either path or subject, as the API takes it. More than 100, or --async, become a job that the
service signs at its own pace. The command waits for it and shows how far it is; cut off and run again with the same file, it finds the same job, because
its Idempotency-Key is made from profile and subjects (--idempotency-key gives another). Exit status 1 when a subject was refused, 3 when --timeout passed first.

Examples:
  sealwright sign ./image --profile release --reference registry.wabbit-networks.io/net-monitor:v1
  sealwright sign tool.tar.gz --reference downloads.wabbit-networks.io/tool:1.2.0 --expires 2027-11-21T00:00:00Z
  sealwright sign ./image --key local:release --certificate release.pem --password-source env:KEY_PASSWORD
  sealwright sign --batch subjects.txt --profile release --envelopes signatures
`,
  options: {
    ...SERVICE_OPTIONS,
    profile: { type: "string" },
    reference: { type: "string" },
    tag: { type: "string" },
    expires: { type: "string" },
    output: { type: "string" },
    "extra-output": { type: "string" },
    "no-attach": { type: "boolean" },
    batch: { type: "string" },
    async: { type: "boolean" },
    "no-wait": { type: "boolean" },
    wait: { type: "string" },
    timeout: { type: "string" },
    "idempotency-key": { type: "string" },
    envelopes: { type: "string" },
    ...KEY_OPTIONS,
    key: { type: "string" },
    certificate: { type: "string" },
  },
  positionals: { min: 0, max: 1 },
  run: async (args) => {
    const [path] = args.positionals
    if ((path === undefined) === (args.text("batch") === undefined)) throw usage("name one SUBJECT, or --batch")
    if (path === undefined) return await (await import("../sign-batch.ts")).signBatch(args)
    if (![undefined, "logged"].includes(args.text("wait"))) throw usage("--wait takes logged and nothing else")
    const subject = readSubject(path, args.text("tag"))
    return args.text("key") === undefined ? await signByService(args, subject) : await signByKey(args, subject)
  },
}

async function signByService(args: Arguments, subject: Subject): Promise<number> {
  const reference = args.required("reference")
  const client = openClient(args)
  const profile = args.text("profile") ?? (await onlyProfile(client))
  const expiresAt = args.text("expires")
  const waits = args.text("wait") !== undefined
  const body = {
    subject: {
      mediaType: subject.descriptor.mediaType,
      digest: subject.descriptor.digest,
      size: subject.descriptor.size,
    },
    reference,
    ...(expiresAt !== undefined && { expiresAt }),
  }
  const path = `/v1/profiles/${encodeURIComponent(profile)}/signatures`
  const answer = await client.send("POST", path, body, waits ? { wait: "logged" } : undefined)
  const { signature } = answerShape(answer, "answer")
  const contentOf = (wanted: string) => signature.envelopes.find(({ format }) => format === wanted)?.content
  const extra = contentOf("notary-jws-ml-dsa-65")
  const envelopes = {
    first: base64Decode(contentOf("notary-jws") ?? ""),
    extra: extra === undefined ? undefined : base64Decode(extra),
    proofs: logProofs(waitedShape(answer, "answer").signature),
  }
  const logged = envelopes.proofs.length > 0
  deliver(args, subject, envelopes, answer, [
    `signature  ${signature.id}, number ${signature.number}, profile ${signature.profile}, at ${signature.signedAt}`,
    ...(signature.extra === undefined
      ? []
      : [`extra      ML-DSA-65, number ${signature.extra.number}, issuer ${signature.extra.issuer}`]),
    ...(waits && !logged ? [`log        not yet; sealwright log proof ${signature.id}`] : []),
  ])
  return waits && !logged ? EXIT.inconclusive : EXIT.done
}

async function signByKey(args: Arguments, subject: Subject): Promise<number> {
  if (args.text("profile") !== undefined) throw usage("--profile is the service's, --key signs without it")
  checkReference(args.text("reference"), subject.descriptor.digest)
  const { signOnThisSide } = await import("../sign-with-key.ts")
  const { envelope, key, leaf, issuerKeyId, certificateSha256, signedAt } = await signOnThisSide(
    args,
    subject.descriptor,
  )
  const view = {
    subject: subject.descriptor,
    key,
    issuerKeyId: hexEncode(issuerKeyId),
    serialHex: hexEncode(leaf.serialBytes),
    certificateSha256,
    certificateNotAfter: formatTime(leaf.notAfter),
    signedAt: formatTime(signedAt),
  }
  deliver(args, subject, { first: envelope, extra: undefined, proofs: [] }, view, [
    `key        ${key.keyId}, ${key.algorithm}, at ${view.signedAt}`,
    `issuer     ${view.issuerKeyId}, serial ${view.serialHex}, until ${view.certificateNotAfter}`,
  ])
  return EXIT.done
}

/** The signature does not carry the reference, so it is only looked at for what contradicts the subject. */
function checkReference(reference: string | undefined, digest: string): void {
  if (reference === undefined) return
  let named: string | undefined
  try {
    named = parseReference(reference).digest
  } catch (error) {
    throw usage(error instanceof FormatError ? error.message : `${reference} is no reference`)
  }
  if (named !== undefined && named !== digest) throw usage(`the reference names ${named}, the subject is ${digest}`)
}

/** Puts the envelopes where they belong, and prints what was made. */
function deliver(
  args: Arguments,
  { kind, path, descriptor }: Subject,
  { first, extra, proofs }: Signed,
  view: object,
  lines: readonly string[],
): void {
  const file = kind === "file"
  const output = args.text("output") ?? (file ? envelopePath(path) : undefined)
  const extraOutput = args.text("extra-output") ?? (file ? extraEnvelopePath(path) : undefined)
  const attach = !file && !args.flag("no-attach")
  const put = (envelope: Uint8Array | undefined, to: string | undefined) => {
    if (envelope === undefined) return { written: undefined, attached: undefined }
    if (to !== undefined) writeFileWhole(to, envelope)
    return { written: to, attached: attach ? attachSignature(path, descriptor, envelope) : undefined }
  }
  const one = put(first, output)
  const two = put(extra, extraOutput)
  const bare = path.replace(/\/+$/, "")
  const proofFiles = proofPaths(
    proofs,
    `${output ?? bare}${LOG_PROOF_SUFFIX}`,
    `${extraOutput ?? `${bare}.ml-dsa-65`}${LOG_PROOF_SUFFIX}`,
  )
  for (const [file, text] of proofFiles) writeFileWhole(file, utf8(text))
  print(
    args.flag("json"),
    {
      ...view,
      ...(one.written !== undefined && { output: one.written }),
      ...(one.attached !== undefined && { attached: one.attached }),
      ...(two.written !== undefined && { extraOutput: two.written }),
      ...(two.attached !== undefined && { extraAttached: two.attached }),
      ...(proofFiles.length > 0 && { proofs: proofFiles.map(([file]) => file) }),
    },
    () => [
      `Signed ${descriptor.digest}`,
      ...lines.map((line) => `  ${line}`),
      ...[one.attached, two.attached].flatMap((digest) =>
        digest === undefined ? [] : [`  attached   ${digest} in ${path}`],
      ),
      ...[one.written, two.written, ...proofFiles.map(([file]) => file)].flatMap((to) =>
        to === undefined ? [] : [`  written    ${to}`],
      ),
    ],
  )
}
