import { array, openObject, string } from "@sealwright/formats/shape"
import { type Command, SERVICE_OPTIONS } from "../arguments.ts"
import { openClient } from "../client.ts"
import { EXIT } from "../exit.ts"
import { print, table } from "../output.ts"

const issuerShape = openObject({
  name: string(48),
  issuerKeyId: string(64),
  algorithm: string(40),
  state: string(20),
  notAfter: string(30),
})

export const issuerCreate: Command = {
  name: "issuer create",
  summary: "create an issuing CA",
  help: `
Usage: sealwright issuer create NAME [--algorithm ecdsa-p256-sha256|ecdsa-p384-sha384|rsa-pss-sha384] [--days 1096]

Makes a CA key and its certificate below the deployment's root. Safe to repeat.

Example:
  sealwright issuer create ci-2026
`,
  options: { ...SERVICE_OPTIONS, algorithm: { type: "string" }, days: { type: "string" } },
  positionals: { min: 1, max: 1 },
  run: async (args) => {
    const [name = ""] = args.positionals
    const algorithm = args.text("algorithm")
    const days = args.whole("days")
    const answer = await openClient(args).send("POST", "/v1/issuers", {
      name,
      ...(algorithm !== undefined && { algorithm }),
      ...(days !== undefined && { days }),
    })
    const { issuer } = openObject({ issuer: issuerShape })(answer, "answer")
    print(args.flag("json"), answer, () => [
      `Issuer ${issuer.name} (${issuer.algorithm}) until ${issuer.notAfter}, key id ${issuer.issuerKeyId}`,
    ])
    return EXIT.done
  },
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
        ["NAME", "STATE", "ALGORITHM", "UNTIL", "KEY ID"],
        ...issuers.map((one) => [one.name, one.state, one.algorithm, one.notAfter, one.issuerKeyId]),
      ]),
    )
    return EXIT.done
  },
}
