import { homedir } from "node:os"
import { join } from "node:path"

/** Where this user's settings and keys stand: `$XDG_CONFIG_HOME/sealwright`, `~/.config/sealwright` by default. */
export function configFolder(): string {
  return join(process.env.XDG_CONFIG_HOME ?? join(homedir(), ".config"), "sealwright")
}
