/** What the command's exit status says (D14). */
export const EXIT = { done: 0, rejected: 1, usage: 2, inconclusive: 3, denied: 4, unavailable: 5 } as const

/** Ends the command with a status and a message for people; `--json` prints the code and the message too. */
export class CommandFailure extends Error {
  override readonly name = "CommandFailure"
  readonly status: number
  readonly code: string
  readonly remedy: string | undefined

  constructor(status: number, code: string, message: string, remedy?: string) {
    super(message)
    this.status = status
    this.code = code
    this.remedy = remedy
  }
}

export function usage(message: string, remedy = "Run `sealwright help` to see how."): CommandFailure {
  return new CommandFailure(EXIT.usage, "USAGE", message, remedy)
}
