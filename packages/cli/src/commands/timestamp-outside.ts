import { pemEncode } from "@sealwright/formats/pem"
import { array, openObject, string } from "@sealwright/formats/shape"
import { type Command, SERVICE_OPTIONS } from "../arguments.ts"
import { openClient } from "../client.ts"
import { EXIT } from "../exit.ts"
import { print } from "../output.ts"
import { rootsIn } from "./timestamp.ts"

const authority = openObject({
  name: string(48),
  url: string(2048),
  roots: array(string(32_768), 8),
  updatedAt: string(30),
})

const lineOf = ({ name, url, roots }: ReturnType<typeof authority>) => `${name}  ${url}  ${roots.length} root(s)`

export const timestampOutside: Command = {
  name: "timestamp outside",
  summary: "name outside timestamp authorities, or list them",
  help: `
Usage: sealwright timestamp outside
       sealwright timestamp outside NAME --url URL --roots ROOTS.pem

Names an authority of somebody else (RFC 3161), or changes its address or roots; \`profile create --timestamp outside:NAME\` then has it stamp every
signature. Its roots, self-signed and in PEM, join the trust bundle and stay there: older tokens lead to them. Safe to repeat. Without a name it lists them.

Example:
  sealwright timestamp outside acme --url http://timestamp.acme.example/rfc3161 --roots acme-roots.pem
`,
  options: { ...SERVICE_OPTIONS, url: { type: "string" }, roots: { type: "string" } },
  positionals: { min: 0, max: 1 },
  run: async (args) => {
    const [name] = args.positionals
    const client = openClient(args)
    if (name === undefined) {
      const answer = await client.get("/v1/outside-authorities")
      const { outsideAuthorities } = openObject({ outsideAuthorities: array(authority, 1000) })(answer, "answer")
      print(args.flag("json"), answer, () => outsideAuthorities.map(lineOf))
      return EXIT.done
    }
    const roots = rootsIn(args.required("roots")).map((der) => pemEncode("CERTIFICATE", der))
    const body = { url: args.required("url"), roots: roots.join("") }
    const answer = await client.send("PUT", `/v1/outside-authorities/${encodeURIComponent(name)}`, body)
    const { outsideAuthority } = openObject({ outsideAuthority: authority })(answer, "answer")
    print(args.flag("json"), answer, () => [lineOf(outsideAuthority)])
    return EXIT.done
  },
}
