import { integer, openObject, string } from "@sealwright/formats/shape"
import { type Command, SERVICE_OPTIONS } from "../arguments.ts"
import { openClient } from "../client.ts"
import { EXIT } from "../exit.ts"
import { print } from "../output.ts"

export const publish: Command = {
  name: "publish",
  summary: "publish now instead of within a minute",
  help: "Usage: sealwright publish [--json]\n\nMakes a new publication even when nothing changed.\n\nExample:\n  sealwright publish",
  options: SERVICE_OPTIONS,
  positionals: { min: 0, max: 0 },
  run: async (args) => {
    const answer = await openClient(args).send("POST", "/v1/publications", {})
    const { epoch } = openObject({ epoch: integer(0) })(answer, "answer")
    print(args.flag("json"), answer, () => [`Publication ${epoch} is published.`])
    return EXIT.done
  },
}

export const status: Command = {
  name: "status",
  summary: "show where publication stands",
  help: "Usage: sealwright status [--json]",
  options: SERVICE_OPTIONS,
  positionals: { min: 0, max: 0 },
  run: async (args) => {
    const answer = await openClient(args).get("/v1/publication")
    const head = openObject(
      { open: integer(1), published: integer(0), changes: integer(0) },
      { committedAt: string(30) },
    )(answer, "answer")
    print(args.flag("json"), answer, () => [
      head.published === 0
        ? "Nothing is published yet."
        : `Publication ${head.published} is published, of ${head.committedAt}.`,
      head.changes === 0
        ? "Nothing waits for the next one."
        : `${head.changes} change(s) wait for publication ${head.open}.`,
    ])
    return EXIT.done
  },
}
