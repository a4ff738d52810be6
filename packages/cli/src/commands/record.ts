import { base64Encode } from "@sealwright/formats/bytes"
import { boolean, openObject, string } from "@sealwright/formats/shape"
import { type Command, SERVICE_OPTIONS } from "../arguments.ts"
import { openClient } from "../client.ts"
import { EXIT } from "../exit.ts"
import { readFileLimited } from "../files.ts"
import { print } from "../output.ts"

/** What the service takes. */
const MAX_ENVELOPE_BYTES = 128 * 1024
const MAX_ENVELOPES = 100

const answerShape = openObject({
  signature: openObject({
    id: string(40),
    issuerKeyId: string(64),
    serial: string(40),
    certificateSha256: string(64),
    subject: openObject({ digest: string(135) }),
  }),
  recorded: boolean,
})

export const record: Command = {
  name: "record",
  summary: "register signatures made without the service",
  help: `
Usage: sealwright record ENVELOPE... --profile NAME --reference registry/repository[:tag]

Registers what \`sign --key\` wrote (FILE.jws.sig, or its --output), so that the certificate that signed can be revoked here like one of the service's
own. Each envelope has to verify under the chain that it carries; its CA gains no trust. Safe to repeat.

Examples:
  sealwright record tool.tar.gz.jws.sig --profile release --reference downloads.wabbit-networks.io/tool:1.2.0
  sealwright revoke --certificate 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 --reason keyCompromise
`,
  options: { ...SERVICE_OPTIONS, profile: { type: "string" }, reference: { type: "string" } },
  positionals: { min: 1, max: MAX_ENVELOPES },
  run: async (args) => {
    const profile = args.required("profile")
    const reference = args.required("reference")
    const envelopes = args.positionals.map((path) => ({ path, bytes: readFileLimited(path, MAX_ENVELOPE_BYTES) }))
    const client = openClient(args)
    const route = `/v1/profiles/${encodeURIComponent(profile)}/foreign-signatures`
    const answers: ReturnType<typeof answerShape>[] = []
    for (const { bytes } of envelopes)
      answers.push(
        answerShape(await client.send("POST", route, { envelope: base64Encode(bytes), reference }), "answer"),
      )
    print(args.flag("json"), { results: answers }, () =>
      answers.flatMap(({ signature, recorded }, i) => [
        `${recorded ? "Registered" : "Stood already:"} ${envelopes[i]?.path} as ${signature.id}, on ${signature.subject.digest}`,
        `  certificate  ${signature.certificateSha256}`,
        `  issuer       ${signature.issuerKeyId}, serial ${signature.serial}`,
      ]),
    )
    return EXIT.done
  },
}
