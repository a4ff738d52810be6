import type { ReadStream } from "node:tty"
import { ServiceError } from "@sealwright/core/errors"

const ENTER = new Set(["\r", "\n", "\u0004"])
const BACKSPACE = new Set(["\b", "\u007f"])
const INTERRUPT = "\u0003"

type Input = Pick<ReadStream, "isTTY" | "setRawMode" | "on" | "off" | "resume" | "pause">

/**
 * Asks at the terminal for a line that is not shown.
 * @throws ServiceError PIN_UNREADABLE: there is no terminal, or the person gave up
 */
export function askHidden(
  question: string,
  input: Input = process.stdin,
  show: (text: string) => void = (text) => void process.stderr.write(text),
): Promise<string> {
  if (!input.isTTY) return Promise.reject(new ServiceError("PIN_UNREADABLE", "there is no terminal to ask at"))
  return new Promise((resolve, reject) => {
    let line = ""
    const end = (settle: () => void) => {
      input.off("data", read)
      input.setRawMode(false)
      input.pause()
      show("\n")
      settle()
    }
    const read = (chunk: Buffer) => {
      for (const character of chunk.toString("utf8")) {
        if (ENTER.has(character)) return end(() => resolve(line))
        if (character === INTERRUPT) return end(() => reject(new ServiceError("PIN_UNREADABLE", "no PIN was given")))
        line = BACKSPACE.has(character) ? [...line].slice(0, -1).join("") : line + character
      }
    }
    show(question)
    input.setRawMode(true)
    input.on("data", read)
    input.resume()
  })
}
