import type { ParseArgsOptionsConfig } from "node:util"

/** Options of every command that opens a key on this side, without the service. */
export const KEY_OPTIONS = {
  home: { type: "string" },
  "password-source": { type: "string" },
  region: { type: "string" },
  module: { type: "string" },
  graphene: { type: "string" },
  "pin-source": { type: "string" },
} as const satisfies ParseArgsOptionsConfig

/** What the help of those commands says of them. */
export const KEY_HELP = `KEY is local:NAME (a key of --home, by default ~/.config/sealwright/keys), local:/path/to/file.pem, awskms: and an ARN, key id or alias/NAME, or
pkcs11:token=LABEL;object=NAME, a key on the token of --module, the vendor's library (--graphene: where graphene-pk11 is installed, when not beside
this command). A local key's password comes from --password-source: env:NAME, file:PATH (for its owner's eyes alone), or prompt (the default); a
token's PIN from --pin-source: these, or secretsmanager:ARN.`
