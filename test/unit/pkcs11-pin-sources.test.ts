import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pinSource } from "@sealwright/adapters/pkcs11/pin-sources"
import { ServiceError } from "@sealwright/core/errors"
import { afterAll, describe, expect, test } from "vitest"

const folder = mkdtempSync(join(tmpdir(), "sealwright-pin-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const unreadable = expect.objectContaining({ code: "PIN_UNREADABLE" })

function file(name: string, content: string | Uint8Array, mode = 0o600): string {
  const path = join(folder, name)
  writeFileSync(path, content)
  chmodSync(path, mode)
  return `file:${path}`
}

describe("sources of PINs", () => {
  test("a PIN comes from wherever secrets come from", async () => {
    expect(await pinSource("env:HSM_PIN", { environment: { HSM_PIN: "1234" } })()).toBe("1234")
    expect(await pinSource(file("pin", "user:pass word\n"))()).toBe("user:pass word")
    expect(await pinSource("secretsmanager:pin", { readAwsSecret: async (id) => `of ${id}` })()).toBe("of pin")
  })

  test.each([
    ["a file that the group may read", () => file("group", "1234", 0o640)],
    ["a file that others may write", () => file("written", "1234", 0o602)],
    ["an empty file", () => file("empty", "\n")],
    ["a folder", () => `file:${folder}`],
    ["no file", () => `file:${join(folder, "none")}`],
    ["no variable", () => "env:NOBODY_SET_THIS"],
  ])("refuses %s", async (_, source) => {
    await expect(pinSource(source())()).rejects.toThrow(unreadable)
  })

  test.each(["", "1234", "env:", "prompt:x", "file", "http://127.0.0.1/"])("refuses the source %j", (source) => {
    expect(() => pinSource(source)).toThrow(unreadable)
  })

  test("no error repeats a PIN that stands in the place of its source", () => {
    expect(() => pinSource("geheim")).toThrow(/^(?!.*geheim)/)
  })

  test("a secret that does not answer is another matter than a PIN that can't be had", async () => {
    const failing = pinSource("secretsmanager:pin", {
      readAwsSecret: async () => {
        throw new ServiceError("SIGNER_UNAVAILABLE", "no answer")
      },
    })
    await expect(failing()).rejects.toMatchObject({ code: "SIGNER_UNAVAILABLE" })
  })
})
