import { base64Decode } from "@sealwright/formats/bytes"
import { integer, openObject, string } from "@sealwright/formats/shape"
import { type Command, SERVICE_OPTIONS } from "../arguments.ts"
import { openClient } from "../client.ts"
import { EXIT } from "../exit.ts"
import { writeFileWhole } from "../files.ts"
import { print } from "../output.ts"

const answerShape = openObject({
  deployment: openObject({
    organisation: string(64),
    identityHost: string(253),
    crlHost: string(260),
    tufUrl: string(2048),
    tufThreshold: integer(1),
    tufRoot: string(1_000_000),
  }),
})

export const ceremony: Command = {
  name: "ceremony",
  summary: "set the deployment up, once",
  help: `
Usage: sealwright ceremony --country US --state Washington --organisation "Wabbit Networks"
         --identity-host trust.example.com --crl-host crl.example.com --tuf-url https://trust.example.com/tuf
         [--algorithm ecdsa-p256-sha256] [--root-years 10] [--root-out tuf-root.json]
         [--log-host trust.example.com] [--log-cosigner]

Makes the root, the TUF keys and the names that stand in every certificate for ever. Safe to repeat with the same names.
The transparency logs' names are sig. and events. below --log-host, for ever too; it is the identity host unless given. --log-cosigner adds
signatures under ML-DSA-44 to the logs' checkpoints, now or by a repeat.
The TUF root begins with a threshold of 1 on a key of AWS KMS; \`sealwright tuf propose\` shares it with people. --root-out writes the TUF root that deployers pin: hand it to
them on a way that they trust.

Example:
  sealwright ceremony --country US --state Washington --organisation "Wabbit Networks" \\
    --identity-host trust.wabbit-networks.io --crl-host crl.wabbit-networks.io \\
    --tuf-url https://trust.wabbit-networks.io/tuf --root-out tuf-root.json
`,
  options: {
    ...SERVICE_OPTIONS,
    country: { type: "string" },
    state: { type: "string" },
    organisation: { type: "string" },
    "identity-host": { type: "string" },
    "crl-host": { type: "string" },
    "tuf-url": { type: "string" },
    algorithm: { type: "string" },
    "root-years": { type: "string" },
    "root-out": { type: "string" },
    "log-host": { type: "string" },
    "log-cosigner": { type: "boolean" },
  },
  positionals: { min: 0, max: 0 },
  run: async (args) => {
    const algorithm = args.text("algorithm")
    const rootYears = args.whole("root-years")
    const logHost = args.text("log-host")
    const answer = await openClient(args).send("POST", "/v1/ceremony", {
      country: args.required("country"),
      state: args.required("state"),
      organisation: args.required("organisation"),
      identityHost: args.required("identity-host"),
      crlHost: args.required("crl-host"),
      tufUrl: args.required("tuf-url"),
      ...(algorithm !== undefined && { algorithm }),
      ...(rootYears !== undefined && { rootYears }),
      ...(logHost !== undefined && { logHost }),
      ...(args.flag("log-cosigner") && { logCosigner: true }),
    })
    const { deployment } = answerShape(answer, "answer")
    const rootOut = args.text("root-out")
    if (rootOut !== undefined) writeFileWhole(rootOut, base64Decode(deployment.tufRoot))
    print(args.flag("json"), answer, () => [
      `Deployment of ${deployment.organisation}: identities @${deployment.identityHost}, CRLs at http://${deployment.crlHost}/crl/,`,
      `trust data at ${deployment.tufUrl} (TUF root: threshold ${deployment.tufThreshold}).`,
      ...(rootOut === undefined ? [] : [`TUF root for deployers to pin: ${rootOut}`]),
    ])
    return EXIT.done
  },
}
