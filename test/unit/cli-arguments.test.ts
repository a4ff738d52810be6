import { describe, expect, test } from "vitest"
import { type Command, readArguments } from "../../packages/cli/src/arguments.ts"
import { CommandFailure, EXIT } from "../../packages/cli/src/exit.ts"

const command: Command = {
  name: "try",
  summary: "",
  help: "",
  options: {
    size: { type: "string" },
    age: { type: "string" },
    each: { type: "string", multiple: true },
    on: { type: "boolean" },
  },
  positionals: { min: 1, max: 2 },
  run: async () => EXIT.done,
}
const read = (...argv: readonly string[]) => readArguments(command, argv)
const usage = expect.objectContaining({ code: "USAGE", status: EXIT.usage })

describe("arguments of a command", () => {
  test("are read by name and kind", () => {
    const args = read("a", "b", "--size", "12", "--age", "24h", "--each", "x", "--each", "y", "--on")
    expect(args.positionals).toEqual(["a", "b"])
    expect([args.whole("size"), args.duration("age"), args.texts("each"), args.flag("on")]).toEqual([
      12,
      86_400,
      ["x", "y"],
      true,
    ])
    expect([args.text("each"), args.flag("size"), args.whole("none"), args.duration("none")]).toEqual([
      undefined,
      false,
      undefined,
      undefined,
    ])
  })

  test.each([
    ["90s", 90],
    ["15m", 900],
    ["24h", 86_400],
    ["7d", 604_800],
  ])("%s is %d seconds", (text, seconds) => {
    expect(read("a", "--age", text).duration("age")).toBe(seconds)
  })

  test.each(["", "1", "1w", "-1s", "1.5h", "1h ", "h"])("%j is no duration", (text) => {
    expect(() => read("a", `--age=${text}`).duration("age")).toThrow(usage)
  })

  test.each(["", "-1", "1.5", "1e3", "0x10", "9".repeat(16)])("%j is no whole number", (text) => {
    expect(() => read("a", `--size=${text}`).whole("size")).toThrow(usage)
  })

  test.each([[[]], [["a", "b", "c"]], [["a", "--unknown"]], [["a", "--size"]], [["a", "--on=yes"]]])(
    "%j does not fit",
    (argv) => {
      expect(() => read(...argv)).toThrow(usage)
    },
  )

  test("help is answered whatever else is missing", () => {
    expect(read("--help").flag("help")).toBe(true)
    expect(() => read("a").required("size")).toThrow(CommandFailure)
  })
})
