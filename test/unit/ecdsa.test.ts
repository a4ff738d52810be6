import { hexDecode, hexEncode } from "@sealwright/formats/bytes"
import { ecdsaDerToRaw, ecdsaRawToDer } from "@sealwright/formats/ecdsa"
import { expect, test } from "vitest"

const malformed = expect.objectContaining({ code: "SIGNATURE_MALFORMED" })
const pad = (hex: string) => hex.padStart(64, "0")

test.each([
  ["small numbers", pad("01") + pad("7f"), "300602010102017f"],
  ["a high bit", pad("80") + pad("ff"), "3008020200800202" + "00ff"],
  ["full length", "ff".repeat(64), `3046022100${"ff".repeat(32)}022100${"ff".repeat(32)}`],
])("%s both ways", (_, raw, der) => {
  expect(hexEncode(ecdsaRawToDer(hexDecode(raw), 32))).toBe(der)
  expect(hexEncode(ecdsaDerToRaw(hexDecode(der), 32))).toBe(raw)
})

test.each([0, 63, 65, 96])("r‖s of %i bytes is not P-256's", (length) => {
  expect(() => ecdsaRawToDer(new Uint8Array(length), 32)).toThrow(malformed)
})

test.each([
  ["zero", "3006020100020101"],
  ["a negative number", "30060201ff020101"],
  ["a padded number", "300702020001020101"],
  ["a number that is too long", `302602210100${"00".repeat(31)}020101`],
  ["bytes after s", "3009020101020101020101"],
  ["bytes after the sequence", "300602010102010100"],
  ["one number", "3003020101"],
  ["nothing", ""],
])("DER with %s is refused", (_, der) => {
  expect(() => ecdsaDerToRaw(hexDecode(der), 32)).toThrow(malformed)
})

test("P-521 has 66 bytes a number", () => {
  const raw = new Uint8Array(132).fill(1)
  expect(ecdsaDerToRaw(ecdsaRawToDer(raw, 66), 66)).toEqual(raw)
})
