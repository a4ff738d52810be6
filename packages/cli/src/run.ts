import { type Command, readArguments } from "./arguments.ts"
import { CommandFailure, EXIT } from "./exit.ts"
import { note, out } from "./output.ts"

/** Runs a command, or prints its help. @param argv what follows the command's name */
export async function runCommand(command: Command, argv: readonly string[]): Promise<number> {
  const args = readArguments(command, argv)
  if (!args.flag("help")) return await command.run(args)
  out(`sealwright ${command.name}: ${command.summary}\n\n${command.help.trim()}`)
  return EXIT.done
}

/** Ends the process with what `run` answers, or with what it throws: as JSON when `argv` asks for it, else for people. */
export function endWith(run: () => Promise<number>, argv: readonly string[]): void {
  const report = (error: unknown): number => {
    const { code, message, remedy, status } =
      error instanceof CommandFailure
        ? error
        : new CommandFailure(EXIT.unavailable, "UNEXPECTED", error instanceof Error ? error.message : "unknown failure")
    if (argv.includes("--json"))
      out(JSON.stringify({ error: { code, message, ...(remedy !== undefined && { remedy }) } }))
    else note(`sealwright: ${code}: ${message}${remedy === undefined ? "" : `\n  ${remedy}`}`)
    return status
  }
  void run()
    .catch(report)
    .then((status) => {
      process.exitCode = status
    })
}
