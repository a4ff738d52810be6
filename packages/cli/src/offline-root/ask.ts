import { createInterface } from "node:readline"
import { ServiceError } from "@sealwright/core/errors"
import type { Participant } from "@sealwright/core/offline-root/script"

export interface AskTerminal {
  readonly input: NodeJS.ReadableStream & { readonly isTTY?: boolean }
  readonly output: NodeJS.WritableStream
}

/**
 * Asks a participant at the terminal; nothing but `yes` confirms, and the input's end does not.
 * @throws ServiceError CEREMONY_NOT_CONFIRMED where there is no terminal
 */
export async function askParticipant(
  { name, role }: Participant,
  question: string,
  { input, output }: AskTerminal = { input: process.stdin, output: process.stderr },
): Promise<boolean> {
  if (input.isTTY !== true)
    throw new ServiceError("CEREMONY_NOT_CONFIRMED", "there is no terminal to ask at, and --yes was not given")
  const terminal = createInterface({ input, output, terminal: false })
  output.write(`\n${question}\n${name}, ${role}: type yes to confirm: `)
  try {
    const answer = await new Promise<string>((settle) => {
      terminal.once("line", settle)
      terminal.once("close", () => settle(""))
    })
    return answer.trim() === "yes"
  } finally {
    terminal.close()
  }
}
