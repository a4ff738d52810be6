import type { Command } from "../arguments.ts"
import { EXIT } from "../exit.ts"
import { fsck } from "../fsck/check.ts"
import { FSCK_CODES } from "../fsck/state.ts"
import { note, print } from "../output.ts"
import { dumpReaders, dumpStill } from "../still-dump.ts"

export const fsckCommand: Command = {
  name: "fsck",
  summary: "check table and bucket for consistency",
  help: `
Usage: sealwright fsck --table NAME --bucket NAME [--json]

Reads the whole table and everything published, and checks the service's promises against them with code that the service does not share: numbers,
leases and records; envelopes; idempotency; every published list, CRL and TUF document; the transparency logs, leaf by leaf. Changes nothing. Reads again when something
is published meanwhile. Run it while nobody signs, or expect findings about what was being written. Exit status 1 when something is wrong.

Example:
  sealwright fsck --table sealwright --bucket sealwright-published
`,
  options: { table: { type: "string" }, bucket: { type: "string" } },
  positionals: { min: 0, max: 0 },
  run: async (args) => {
    const progress = (what: string, count: number) => {
      if (count % 1000 === 0 && count > 0) note(`sealwright: ${count} ${what} read`)
    }
    const dump = await dumpStill(dumpReaders(args.required("table"), args.required("bucket"), progress))
    if (!dump.still) note("sealwright: it was published again and again while this read; findings may be of that alone")
    const { items, objects } = dump
    const result = fsck(dump)
    print(args.flag("json"), { ...result, items: items.length, objects: objects.size }, () => [
      `${items.length} items, ${objects.size} objects, ${result.records} signatures: ${result.findings.length === 0 ? "all is well" : `${result.findings.length} finding(s)`}`,
      ...result.findings.map(
        ({ code, subject, detail }) => `  ${code}  ${subject}: ${detail}\n      ${FSCK_CODES[code]}`,
      ),
    ])
    return result.findings.length === 0 ? EXIT.done : EXIT.rejected
  },
}
