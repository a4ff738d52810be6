/** The `verify` command alone, for the published build: what an offline site runs must not load what signs. */
import { verifyCommand } from "./commands/verify.ts"
import { endWith, runCommand } from "./run.ts"

const argv = process.argv.slice(3)
endWith(() => runCommand(verifyCommand, argv), argv)
