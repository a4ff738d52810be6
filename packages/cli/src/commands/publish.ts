import { array, boolean, integer, openObject, string } from "@sealwright/formats/shape"
import { type Command, SERVICE_OPTIONS } from "../arguments.ts"
import { openClient } from "../client.ts"
import { EXIT } from "../exit.ts"
import { print, table } from "../output.ts"

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

const statusShape = openObject(
  {
    open: integer(1),
    published: integer(0),
    changes: integer(0),
    level: string(10),
    expiries: array(
      openObject({
        name: string(60),
        at: string(30),
        renewedBy: string(20),
        daysLeft: integer(Number.MIN_SAFE_INTEGER),
        level: string(10),
      }),
      200_000,
    ),
    issuers: array(
      openObject(
        {
          name: string(48),
          state: string(20),
          certificates: integer(0),
          revoked: integer(0),
          level: string(10),
        },
        { wrapped: boolean },
      ),
      10_000,
    ),
    pending: array(openObject({ name: string(48) }), 10_000),
  },
  { committedAt: string(30) },
)
type StatusAnswer = ReturnType<typeof statusShape>

/** Ends that are this near, or past, are what --check is about. */
const URGENT = ["30", "7", "expired"]

export const status: Command = {
  name: "status",
  summary: "show where publication stands and what ends when",
  help: `
Usage: sealwright status [--check] [--json]

Shows the last publication, every certificate and TUF role with the days it has left, and issuers that are nearly used up. What a publication renews by
itself is urgent only when publications fail. With --check the exit status is 1 when people must renew something within 30 days or an
issuer is full.

Example:
  sealwright status --check
`,
  options: { ...SERVICE_OPTIONS, check: { type: "boolean" } },
  positionals: { min: 0, max: 0 },
  run: async (args) => {
    const answer = await openClient(args).get("/v1/status")
    const shown = statusShape(answer, "answer")
    print(args.flag("json"), answer, () => statusLines(shown))
    const urgent =
      URGENT.includes(shown.level) || shown.issuers.some(({ level, state }) => level === "full" && state === "active")
    return args.flag("check") && urgent ? EXIT.rejected : EXIT.done
  },
}

const MARK: { readonly [level: string]: string } = {
  "90": "within 90 days",
  "30": "WITHIN 30 DAYS",
  "7": "WITHIN 7 DAYS",
  expired: "EXPIRED",
}
const RENEWED: { readonly [by: string]: string } = {
  publication: "renewed by each publication",
  schedule: "renewed by a schedule",
  finished: "finished",
}

function statusLines(shown: StatusAnswer): string[] {
  return [
    shown.published === 0
      ? "Nothing is published yet."
      : `Publication ${shown.published} is published, of ${shown.committedAt}.`,
    shown.changes === 0
      ? "Nothing waits for the next one."
      : `${shown.changes} change(s) wait for publication ${shown.open}.`,
    ...table([
      ["ENDS", "DAYS LEFT", "WHAT", ""],
      ...shown.expiries.map(({ name, at, daysLeft, level, renewedBy }) => [
        at,
        String(daysLeft),
        name,
        MARK[level] ?? RENEWED[renewedBy] ?? "",
      ]),
    ]),
    ...shown.issuers
      .filter(({ level, state }) => level !== "ok" && state === "active")
      .map(
        ({ name, level, certificates, revoked }) =>
          `Issuer ${name} ${level === "full" ? "is full" : "is nearly full"}: ${certificates} certificates, ${revoked} revoked. Rotate it.`,
      ),
    ...shown.issuers
      .filter(({ wrapped, state }) => wrapped && state === "active")
      .map(({ name }) => `Issuer ${name} is wrapped: its key signs in the functions' memory.`),
    ...shown.pending.map(({ name }) => `Issuer ${name} waits for its certificate.`),
  ]
}
