import { EventEmitter } from "node:events"
import { chmodSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type SecretPlaces, secretSource } from "@sealwright/adapters/secret-sources"
import { afterAll, describe, expect, test } from "vitest"

const folder = mkdtempSync(join(tmpdir(), "sealwright-secret-"))
afterAll(() => rmSync(folder, { recursive: true }))

const unavailable = expect.objectContaining({ code: "SECRET_UNAVAILABLE" })

class FakeTerminal extends EventEmitter {
  readonly isTTY: boolean
  readonly modes: boolean[] = []
  constructor(isTTY = true) {
    super()
    this.isTTY = isTTY
  }
  setRawMode(raw: boolean): void {
    this.modes.push(raw)
  }
  resume(): void {}
  pause(): void {}
}

function places(terminal = new FakeTerminal()) {
  const shown: string[] = []
  const here: SecretPlaces = {
    environment: { PASSWORD: "from env", EMPTY: "", LONG: "x".repeat(1025), ZERO: "12\0" },
    terminal,
    show: (text) => void shown.push(text),
    readAwsSecret: async (id) => `of ${id}`,
  }
  return { here, terminal, shown }
}

const readSecret = async (source: string, what: string, places: SecretPlaces) =>
  await secretSource(source, what, places)()

function fileWith(name: string, content: string | Uint8Array, mode = 0o600): string {
  const path = join(folder, name)
  writeFileSync(path, content)
  chmodSync(path, mode)
  return path
}

describe("a secret comes", () => {
  test("from the environment", async () => {
    expect(await readSecret("env:PASSWORD", "password", places().here)).toBe("from env")
  })

  test.each([
    ["pass\n", "pass"],
    ["pass\r\n", "pass"],
    [" pass \n\n", " pass \n"],
    ["pä ss", "pä ss"],
  ])("from a file with %j", async (content, secret) => {
    expect(await readSecret(`file:${fileWith("secret", content)}`, "password", places().here)).toBe(secret)
  })

  test("from a file behind a link, as mounted secrets are", async () => {
    symlinkSync(fileWith("target", "mounted"), join(folder, "link"))
    expect(await readSecret(`file:${join(folder, "link")}`, "password", places().here)).toBe("mounted")
  })

  test("from AWS Secrets Manager", async () => {
    expect(await readSecret("secretsmanager:hsm/pin", "PIN", places().here)).toBe("of hsm/pin")
  })

  test("anew each time it is needed", async () => {
    const environment: { [name: string]: string } = { PIN: "1234" }
    const read = secretSource("env:PIN", "PIN", { environment })
    expect(await read()).toBe("1234")
    environment.PIN = "5678"
    expect(await read()).toBe("5678")
  })

  test("from a terminal, which shows the question alone", async () => {
    const { here, terminal, shown } = places()
    const answer = readSecret("prompt", "Password of the keys", here)
    for (const typed of ["hor", "sä\x7fe", "\x7f\x08se", "\r", "not read"]) terminal.emit("data", Buffer.from(typed))
    expect(await answer).toBe("horse")
    expect([shown, terminal.modes, terminal.listenerCount("data")]).toEqual([
      ["Password of the keys: ", "\n"],
      [true, false],
      0,
    ])
  })
})

describe("there is no secret", () => {
  test.each([
    "env:NONE",
    "env:EMPTY",
    "env:LONG",
    "env:ZERO",
    "env:",
    "PROMPT",
    "prompt:x",
    "http://127.0.0.1/",
    "file:",
    "secret",
    "",
    "stdin:",
    `file:${folder}/none`,
  ])("in %s", async (source) => {
    await expect(readSecret(source, "password", places().here)).rejects.toThrow(unavailable)
  })

  test("where it was written in the source's place, and it is not repeated", async () => {
    const refused = readSecret("hunter2", "password", places().here)
    await expect(refused).rejects.toThrow(unavailable)
    await expect(refused).rejects.not.toThrow("hunter2")
  })

  test("in a file that others may read, and none in a folder", async () => {
    const unsafe = expect.objectContaining({ code: "KEY_FILE_UNSAFE" })
    for (const path of [fileWith("shared", "secret", 0o644), fileWith("long", "x".repeat(1027)), folder])
      await expect(readSecret(`file:${path}`, "password", places().here)).rejects.toThrow(unsafe)
  })

  test.each(["\x03", "\x04"])("when the typing is ended by %j", async (key) => {
    const { here, terminal } = places()
    const answer = readSecret("prompt", "password", here)
    terminal.emit("data", Buffer.from(`abc${key}`))
    await expect(answer).rejects.toThrow(unavailable)
    expect(terminal.modes).toEqual([true, false])
  })

  test("where there is no terminal", async () => {
    const { here } = places(new FakeTerminal(false))
    await expect(readSecret("prompt", "password", here)).rejects.toThrow(unavailable)
  })
})
