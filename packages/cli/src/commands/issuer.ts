import { utf8, utf8Decode } from "@sealwright/formats/bytes"
import { pemDecodeLenient, pemEncode } from "@sealwright/formats/pem"
import { array, boolean, integer, openObject, string } from "@sealwright/formats/shape"
import { type Command, SERVICE_OPTIONS } from "../arguments.ts"
import { openClient } from "../client.ts"
import { EXIT, usage } from "../exit.ts"
import { readFileLimited, writeFileWhole } from "../files.ts"
import { print, table } from "../output.ts"

const issuerShape = openObject(
  { name: string(48), generation: integer(1), issuerKeyId: string(64), algorithm: string(40), state: string(20) },
  { notAfter: string(30), request: string(16_384), wrapped: boolean },
)
const oneShape = openObject({ issuer: issuerShape })
type IssuerAnswer = ReturnType<typeof issuerShape>

export const issuerCreate: Command = {
  name: "issuer create",
  summary: "create an issuing CA",
  help: `
Usage: sealwright issuer create NAME [--algorithm ecdsa-p256-sha256|ecdsa-p384-sha384|rsa-pss-sha384|ml-dsa-65]
         [--days 1096] [--wrapped]
       sealwright issuer create NAME --external [--algorithm …] [--request-out FILE]

Makes a CA key and its certificate below the deployment's root of the algorithm; for ml-dsa-65 make that first (\`sealwright root create\`). With
--external it makes the key and a request (PKCS #10) for a CA certificate of another authority, and waits for \`sealwright issuer activate\`. With --wrapped the key signs in the service's functions instead of KMS, beyond KMS's quota: it
can be copied by who takes such a function over, so every profile below it stamps its signatures. Safe to repeat.

Examples:
  sealwright issuer create ci-2026
  sealwright issuer create bulk-2026 --wrapped
  sealwright issuer create ci-corp --external --request-out ci-corp.csr
`,
  options: {
    ...SERVICE_OPTIONS,
    algorithm: { type: "string" },
    days: { type: "string" },
    external: { type: "boolean" },
    wrapped: { type: "boolean" },
    "request-out": { type: "string" },
  },
  positionals: { min: 1, max: 1 },
  run: async (args) => {
    const [name = ""] = args.positionals
    const algorithm = args.text("algorithm")
    const days = args.whole("days")
    const requestOut = args.text("request-out")
    const external = args.flag("external")
    const wrapped = args.flag("wrapped")
    if (external && wrapped) throw usage("--wrapped keys can't sign the request that --external makes")
    if (external && days !== undefined) throw usage("--days is for the outside authority to say")
    if (!external && requestOut !== undefined) throw usage("--request-out goes with --external")
    const answer = await openClient(args).send("POST", "/v1/issuers", {
      name,
      ...(algorithm !== undefined && { algorithm }),
      ...(days !== undefined && { days }),
      ...(external && { external }),
      ...(wrapped && { wrapped }),
    })
    const { issuer } = oneShape(answer, "answer")
    if (requestOut !== undefined && issuer.request !== undefined) writeFileWhole(requestOut, utf8(issuer.request))
    print(args.flag("json"), answer, () => lines(issuer, requestOut))
    return EXIT.done
  },
}

const MAX_CHAIN_BYTES = 131_072
const BLOCK = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

export const issuerActivate: Command = {
  name: "issuer activate",
  summary: "give a pending issuer its certificate",
  help: `
Usage: sealwright issuer activate NAME --chain FILE...

The files hold, in PEM, the issuer's certificate as its authority made it from the request, each certificate above it in order, and the self-signed root
last; text around the blocks is left out. From then on the issuer signs, and the root stands in the trust bundle.
Signatures count for deployers once they have a bundle that lists the issuer. Safe to repeat.

Example:
  sealwright issuer activate ci-corp --chain ci-corp.pem --chain corporate-cas.pem
`,
  options: { ...SERVICE_OPTIONS, chain: { type: "string", multiple: true } },
  positionals: { min: 1, max: 1 },
  run: async (args) => {
    const files = args.texts("chain")
    if (files.length === 0) throw usage("--chain is missing")
    const blocks = files.flatMap((file) => utf8Decode(readFileLimited(file, MAX_CHAIN_BYTES)).match(BLOCK) ?? [])
    if (blocks.length === 0) throw usage("the files hold no certificate in PEM")
    const chain = blocks.map((block) => pemEncode("CERTIFICATE", pemDecodeLenient("CERTIFICATE", block))).join("")
    const path = `/v1/issuers/${encodeURIComponent(args.positionals[0] ?? "")}/activation`
    const answer = await openClient(args).send("POST", path, { chain })
    print(args.flag("json"), answer, () => lines(oneShape(answer, "answer").issuer))
    return EXIT.done
  },
}

export const issuerRotate: Command = {
  name: "issuer rotate",
  summary: "make an issuer's successor, or let it take over",
  help: `
Usage: sealwright issuer rotate NAME [--algorithm ecdsa-p256-sha256|ecdsa-p384-sha384|rsa-pss-sha384] [--days 1096]
         [--wrapped|--no-wrapped]
       sealwright issuer rotate NAME --activate

First makes a new key and certificate under the same name, which the next publication shows; of an issuer that an outside authority certifies, a request for
\`sealwright issuer activate\`. Then, with --activate, the successor signs and the one before is retired: what it signed stays good, its CRL goes on,
and deployers do nothing. Offline sites should have a bundle from between the two acts. The new key is wrapped if the one before is, unless --wrapped or
--no-wrapped says otherwise; for a wrapped one each profile of the issuer stamps its signatures. Safe to repeat.

Examples:
  sealwright issuer rotate ci-2026
  sealwright issuer rotate ci-2026 --activate
`,
  options: {
    ...SERVICE_OPTIONS,
    algorithm: { type: "string" },
    days: { type: "string" },
    wrapped: { type: "boolean" },
    "no-wrapped": { type: "boolean" },
    activate: { type: "boolean" },
  },
  positionals: { min: 1, max: 1 },
  run: async (args) => {
    const client = openClient(args)
    const path = `/v1/issuers/${encodeURIComponent(args.positionals[0] ?? "")}`
    const algorithm = args.text("algorithm")
    const days = args.whole("days")
    const takeover = args.flag("activate")
    const wrapped = args.flag("wrapped")
    const unwrapped = args.flag("no-wrapped")
    if (wrapped && unwrapped) throw usage("give --wrapped or --no-wrapped")
    if (takeover && (algorithm !== undefined || days !== undefined || wrapped || unwrapped))
      throw usage("--activate changes nothing of the successor")
    const { issuer: current } = oneShape(await client.get(path), "answer")
    const generation = current.generation + 1
    const answer = takeover
      ? await client.send("POST", `${path}/takeover`, { generation })
      : await client.send("POST", `${path}/rotation`, {
          generation,
          ...(algorithm !== undefined && { algorithm }),
          ...(days !== undefined && { days }),
          ...((wrapped || unwrapped) && { wrapped }),
        })
    print(args.flag("json"), answer, () => lines(oneShape(answer, "answer").issuer))
    return EXIT.done
  },
}

function lines(issuer: IssuerAnswer, requestOut?: string): string[] {
  const { name, generation, state, algorithm, issuerKeyId, notAfter, request, wrapped } = issuer
  if (request === undefined)
    return [
      `Issuer ${name}, generation ${generation} (${algorithm}${wrapped ? ", wrapped" : ""}), ${state} until ${notAfter}, key id ${issuerKeyId}`,
    ]
  return [
    `Issuer ${name} (${algorithm}) waits for its certificate, key id ${issuerKeyId}`,
    ...(requestOut === undefined ? [request.trimEnd()] : [`Request for its authority: ${requestOut}`]),
  ]
}

export const issuerList: Command = {
  name: "issuer list",
  summary: "list issuing CAs",
  help: "Usage: sealwright issuer list [--json]",
  options: SERVICE_OPTIONS,
  positionals: { min: 0, max: 0 },
  run: async (args) => {
    const answer = await openClient(args).get("/v1/issuers")
    const { issuers } = openObject({ issuers: array(issuerShape, 10_000) })(answer, "answer")
    print(args.flag("json"), answer, () =>
      table([
        ["NAME", "GENERATION", "STATE", "ALGORITHM", "KEY", "UNTIL", "KEY ID"],
        ...issuers.map((one) => [
          one.name,
          String(one.generation),
          one.state,
          one.algorithm,
          one.wrapped ? "wrapped" : "kept",
          one.notAfter ?? "-",
          one.issuerKeyId,
        ]),
      ]),
    )
    return EXIT.done
  },
}
