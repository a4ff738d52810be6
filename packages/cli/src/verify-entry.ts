/** The `verify` command alone, for the published build: what an offline site runs must not load what signs. `main.ts` does the same for all commands. */
import { readArguments } from "./arguments.ts"
import { verifyCommand } from "./commands/verify.ts"
import { CommandFailure, EXIT } from "./exit.ts"
import { note, out } from "./output.ts"

const argv = process.argv.slice(3)

async function run(): Promise<number> {
  const args = readArguments(verifyCommand, argv)
  if (!args.flag("help")) return await verifyCommand.run(args)
  out(`sealwright verify: ${verifyCommand.summary}\n\n${verifyCommand.help.trim()}`)
  return EXIT.done
}

function report(error: unknown): number {
  const known = error instanceof CommandFailure ? error : undefined
  const message = error instanceof Error ? error.message : "unknown failure"
  const { code, remedy, status } = known ?? { code: "UNEXPECTED", remedy: undefined, status: EXIT.unavailable }
  if (argv.includes("--json"))
    out(JSON.stringify({ error: { code, message, ...(remedy !== undefined && { remedy }) } }))
  else note(`sealwright: ${code}: ${message}${remedy === undefined ? "" : `\n  ${remedy}`}`)
  return status
}

run()
  .catch(report)
  .then((status) => {
    process.exitCode = status
  })
