import { base64Decode } from "@sealwright/formats/bytes"
import { array, openObject, string } from "@sealwright/formats/shape"
import { type Command, SERVICE_OPTIONS } from "../arguments.ts"
import { openClient, type ServiceClient } from "../client.ts"
import { EXIT, usage } from "../exit.ts"
import { writeFileWhole } from "../files.ts"
import { attachSignature } from "../layout.ts"
import { print } from "../output.ts"
import { envelopePath, readSubject } from "../subject.ts"

const answerShape = openObject({
  signature: openObject({
    id: string(26),
    number: string(15),
    profile: string(48),
    signedAt: string(30),
    envelopes: array(openObject({ format: string(40), content: string(1_500_000) }), 16, 1),
  }),
})

export const sign: Command = {
  name: "sign",
  summary: "sign an image layout or a file",
  help: `
Usage: sealwright sign SUBJECT --reference registry/repository[:tag] [--profile NAME] [--tag TAG]
         [--expires TIME] [--output FILE] [--no-attach]

SUBJECT is an OCI image layout (a folder) or a file. The service gets its digest, never its bytes. An image's signature is put into the layout,
as Notary clients expect it; a file's is written beside it as FILE.jws.sig. --profile may be left out when there is only one.

Examples:
  sealwright sign ./image --profile release --reference registry.wabbit-networks.io/net-monitor:v1
  sealwright sign tool.tar.gz --reference downloads.wabbit-networks.io/tool:1.2.0 --expires 2027-11-21T00:00:00Z
`,
  options: {
    ...SERVICE_OPTIONS,
    profile: { type: "string" },
    reference: { type: "string" },
    tag: { type: "string" },
    expires: { type: "string" },
    output: { type: "string" },
    "no-attach": { type: "boolean" },
  },
  positionals: { min: 1, max: 1 },
  run: async (args) => {
    const [path = ""] = args.positionals
    const reference = args.required("reference")
    const subject = readSubject(path, args.text("tag"))
    const client = openClient(args)
    const profile = args.text("profile") ?? (await onlyProfile(client))
    const expiresAt = args.text("expires")
    const answer = await client.send("POST", `/v1/profiles/${encodeURIComponent(profile)}/signatures`, {
      subject: {
        mediaType: subject.descriptor.mediaType,
        digest: subject.descriptor.digest,
        size: subject.descriptor.size,
      },
      reference,
      ...(expiresAt !== undefined && { expiresAt }),
    })
    const { signature } = answerShape(answer, "answer")
    const envelope = base64Decode(signature.envelopes.find(({ format }) => format === "notary-jws")?.content ?? "")
    const output = args.text("output") ?? (subject.kind === "file" ? envelopePath(path) : undefined)
    if (output !== undefined) writeFileWhole(output, envelope)
    const attached =
      subject.kind === "image" && !args.flag("no-attach")
        ? attachSignature(path, subject.descriptor, envelope)
        : undefined
    print(
      args.flag("json"),
      { ...answer, ...(output !== undefined && { output }), ...(attached !== undefined && { attached }) },
      () => [
        `Signed ${subject.descriptor.digest}`,
        `  signature  ${signature.id}, number ${signature.number}, profile ${signature.profile}, at ${signature.signedAt}`,
        ...(attached === undefined ? [] : [`  attached   ${attached} in ${path}`]),
        ...(output === undefined ? [] : [`  written    ${output}`]),
      ],
    )
    return EXIT.done
  },
}

/** There is no default profile where there are several (D14). */
async function onlyProfile(client: ServiceClient): Promise<string> {
  const answer = await client.get("/v1/profiles")
  const { profiles } = openObject({ profiles: array(openObject({ name: string(48) }), 100_000) })(answer, "answer")
  const [only] = profiles
  if (only === undefined || profiles.length > 1)
    throw usage(`there are ${profiles.length} profiles`, "Name one with --profile.")
  return only.name
}
