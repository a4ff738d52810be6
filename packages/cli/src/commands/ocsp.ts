import { array, integer, openObject, string } from "@sealwright/formats/shape"
import { type Arguments, type Command, SERVICE_OPTIONS } from "../arguments.ts"
import { openClient, type ServiceClient } from "../client.ts"
import { EXIT, usage } from "../exit.ts"
import { print, table } from "../output.ts"

const shape = openObject({
  ocspResponders: array(
    openObject({
      issuer: string(48),
      issuerGeneration: integer(1),
      issuerKeyId: string(64),
      generation: integer(1),
      algorithm: string(40),
      certificate: string(16_384),
      notAfter: string(30),
    }),
    10_000,
  ),
})
type Responders = ReturnType<typeof shape>["ocspResponders"]

const NEW_RESPONDER = {
  ...SERVICE_OPTIONS,
  algorithm: { type: "string" },
  days: { type: "string" },
} as const

export const ocspCreate: Command = {
  name: "ocsp create",
  summary: "make or renew an issuer's OCSP responder",
  help: `
Usage: sealwright ocsp create ISSUER [--days 30] [--algorithm ecdsa-p256-sha256|ecdsa-p384-sha384]

Makes a key that signs OCSP responses and nothing else, and its short-lived certificate right below the issuer: one for each of the issuer's keys that is
in force, retired ones too. Where they stand, those with less than half of their life before them are renewed; a schedule does the same each day.
ISSUER is an issuer's name, or root for the certificates of issuers. Safe to repeat.

Example:
  sealwright ocsp create ci-2026
`,
  options: NEW_RESPONDER,
  positionals: { min: 1, max: 1 },
  run: async (args) => await make(args, openClient(args), undefined),
}

export const ocspRotate: Command = {
  name: "ocsp rotate",
  summary: "give an issuer's OCSP responder a new key",
  help: `
Usage: sealwright ocsp rotate ISSUER [--days 30] [--algorithm ecdsa-p256-sha256|ecdsa-p384-sha384]

Makes the next key of the issuer's OCSP responders, which answers from then on. Clients go on taking what the key before signed until its certificate ends:
they never ask whether a responder is revoked.

Example:
  sealwright ocsp rotate ci-2026
`,
  options: NEW_RESPONDER,
  positionals: { min: 1, max: 1 },
  run: async (args) => {
    const client = openClient(args)
    const [issuer] = args.positionals
    const standing = (await read(client)).responders.filter((one) => one.issuer === issuer)
    if (standing.length === 0) throw usage(`issuer ${issuer} has no OCSP responder`, "Run `sealwright ocsp create`.")
    return await make(args, client, Math.max(...standing.map(({ generation }) => generation)) + 1)
  },
}

export const ocspShow: Command = {
  name: "ocsp show",
  summary: "list OCSP responders",
  help: `
Usage: sealwright ocsp show [--json]

Lists the OCSP responders with the ends of their certificates; --json has the certificates too.

Example:
  sealwright ocsp show
`,
  options: SERVICE_OPTIONS,
  positionals: { min: 0, max: 0 },
  run: async (args) => {
    const { answer, responders } = await read(openClient(args))
    print(args.flag("json"), answer, () => lines(responders))
    return EXIT.done
  },
}

async function read(client: ServiceClient) {
  const answer = await client.get("/v1/ocsp-responders")
  return { answer, responders: shape(answer, "answer").ocspResponders }
}

/** @param generation of a new key; undefined: the key stays */
async function make(args: Arguments, client: ServiceClient, generation: number | undefined): Promise<number> {
  const algorithm = args.text("algorithm")
  const days = args.whole("days")
  const path = `/v1/issuers/${encodeURIComponent(args.positionals[0] ?? "")}/ocsp-responder`
  const answer = await client.send("POST", path, {
    ...(algorithm !== undefined && { algorithm }),
    ...(days !== undefined && { days }),
    ...(generation !== undefined && { generation }),
  })
  print(args.flag("json"), answer, () => lines(shape(answer, "answer").ocspResponders))
  return EXIT.done
}

function lines(responders: Responders): string[] {
  if (responders.length === 0) return ["No issuer has an OCSP responder."]
  return table([
    ["ISSUER", "ITS GENERATION", "KEY", "ALGORITHM", "UNTIL", "ISSUER'S KEY ID"],
    ...responders.map((one) => [
      one.issuer,
      String(one.issuerGeneration),
      String(one.generation),
      one.algorithm,
      one.notAfter,
      one.issuerKeyId,
    ]),
  ])
}
