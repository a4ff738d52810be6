import type { ParseArgsOptionsConfig } from "node:util"

/** Options of every command that opens a key on this side, without the service. */
export const KEY_OPTIONS = {
  home: { type: "string" },
  "password-source": { type: "string" },
  region: { type: "string" },
} as const satisfies ParseArgsOptionsConfig

/** What the help of those commands says of them. */
export const KEY_HELP = `KEY is local:NAME (a key of --home, by default ~/.config/sealwright/keys), local:/path/to/file.pem, or awskms: and an ARN, key id or alias/NAME.
A local key's password comes from --password-source: env:NAME, file:PATH (for its owner's eyes alone), or prompt (the default).`
