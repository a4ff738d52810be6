import { execFileSync } from "node:child_process"
import { readdirSync } from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import type { Command } from "../../packages/cli/src/arguments.ts"
import { GENERATED } from "./markdown.ts"

/**
 * docs/cli.md: the overview as the command prints it, then each command's help.
 * @throws Error when the overview names a command that no module has, or the reverse
 */
export async function cliDocument(root: string): Promise<string> {
  const overview = execFileSync(process.execPath, [join(root, "packages/cli/src/main.ts"), "help"], {
    encoding: "utf8",
  }).trim()
  const commands = await commandsOf(join(root, "packages/cli/src/commands"))
  const names = [...overview.matchAll(/^ {2}([a-z-]+(?: [a-z-]+){0,2}) {2,}/gm)].map(([, name = ""]) => name)
  const unknown = names.filter((name) => !commands.has(name))
  if (unknown.length > 0 || names.length !== commands.size)
    throw new Error(`the overview and the commands differ: ${unknown.join(", ")}`)
  const sections = names.map((name) => {
    const { summary, help } = commands.get(name) as Command
    return `## ${name}\n\n${summary.slice(0, 1).toUpperCase()}${summary.slice(1)}.\n\n\`\`\`text\n${help.trim()}\n\`\`\`\n`
  })
  return `${GENERATED}

# The \`sealwright\` command

\`\`\`text
${overview}
\`\`\`

## Settings

The endpoint comes from \`--endpoint\`, from \`SEALWRIGHT_ENDPOINT\`, or from \`endpoint\` in \`$XDG_CONFIG_HOME/sealwright/config.json\` (\`~/.config\` by default); the region from \`--region\`, \`region\` in that file, \`AWS_REGION\`,
\`AWS_DEFAULT_REGION\` or the endpoint's own name. It must be https, or http on this machine. Credentials are found as every AWS tool finds them: environment, profiles, single sign-on, web identity, instance roles.
There is no default profile where there are several: \`sign\` asks for \`--profile\` then.

Requests that fail for a passing reason are sent again up to three times under one \`Idempotency-Key\`, so a retry never makes a second signature. \`verify\` reads files alone and needs neither endpoint nor credentials.

Codes and exit status: [errors.md](errors.md). What \`verify\` checks: [verify.md](verify.md).

${sections.join("\n")}`
}

async function commandsOf(folder: string): Promise<Map<string, Command>> {
  const found = new Map<string, Command>()
  for (const file of readdirSync(folder).sort()) {
    const module: { readonly [name: string]: unknown } = await import(pathToFileURL(join(folder, file)).href)
    for (const value of Object.values(module)) if (isCommand(value)) found.set(value.name, value)
  }
  return found
}

function isCommand(value: unknown): value is Command {
  return typeof value === "object" && value !== null && "help" in value && "summary" in value && "run" in value
}
