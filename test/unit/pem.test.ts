import { pemBlocks, pemDecode, pemDecodeAll, pemDecodeLenient, pemEncode } from "@sealwright/formats/pem"
import { describe, expect, test } from "vitest"

const malformed = expect.objectContaining({ code: "PEM_MALFORMED" })
const der = Uint8Array.from({ length: 100 }, (_, i) => i)
const pem = pemEncode("CERTIFICATE", der)

describe("strict PEM", () => {
  test("is lines of 64 characters between two boundaries", () => {
    expect(pem.split("\n").map((line) => line.length)).toEqual([27, 64, 64, 8, 25, 0])
    expect(pemDecode("CERTIFICATE", pem)).toEqual(der)
  })

  test("takes CR LF, blank lines between blocks, and several blocks", () => {
    expect(pemDecodeAll("CERTIFICATE", `${pem}\r\n\n${pem.replaceAll("\n", "\r\n")}`)).toEqual([der, der])
  })

  test.each([
    ["another label", pem.replaceAll("CERTIFICATE", "X509 CRL")],
    ["two labels", pem.replace("END CERTIFICATE", "END X509 CRL")],
    ["text around a block", `subject=CN\n${pem}`],
    ["no end", pem.slice(0, 60)],
    ["nothing", ""],
    ["an empty block", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"],
    ["a long line", pem.replace("\n", "\nAAAA")],
    ["a short line in the middle", pem.replace(/\n(.{60})(.{4})\n/, "\n$1\n$2\n")],
    ["an indented line", pem.replace("\n", "\n ")],
    ["a character outside base64", pem.replace("\nA", "\n-")],
    ["headers of RFC 1421", pem.replace("\n", "\nProc-Type: 4,ENCRYPTED\n\n")],
  ])("refuses %s", (_, text) => {
    expect(() => pemDecodeAll("CERTIFICATE", text)).toThrow(malformed)
  })

  test("tells blocks of several labels apart", () => {
    expect(pemBlocks(`${pem}\n${pemEncode("EC PRIVATE KEY", der)}`)).toEqual([
      { label: "CERTIFICATE", der },
      { label: "EC PRIVATE KEY", der },
    ])
    expect(() => pemBlocks(pem.replaceAll("CERTIFICATE", "certificate"))).toThrow(malformed)
  })

  test("refuses two blocks where one is wanted, and texts above 1 MiB", () => {
    expect(() => pemDecode("CERTIFICATE", pem + pem)).toThrow(malformed)
    expect(() => pemDecode("CERTIFICATE", "\n".repeat(2 ** 20 + 1))).toThrow(
      expect.objectContaining({ code: "TOO_LARGE" }),
    )
  })
})

describe("lenient PEM, as documents print it", () => {
  test("may be indented and wrapped anew", () => {
    const printed = `  ${pem.replace(/\n(.{30})/g, "\n    $1\r\n\t ")}  `
    expect(pemDecodeLenient("CERTIFICATE", printed)).toEqual(der)
    expect(pemDecodeLenient("CERTIFICATE", pem.replaceAll("\n", " "))).toEqual(der)
  })

  test.each([
    ["two blocks", pem + pem],
    ["another label", pem.replaceAll("CERTIFICATE", "X509 CRL")],
    ["no end", pem.slice(0, 60)],
    ["white space of another kind", pem.replace("\nA", "\n\u00a0A")],
    ["stray bits", "-----BEGIN CERTIFICATE-----AB==-----END CERTIFICATE-----"],
    ["an empty block", "-----BEGIN CERTIFICATE----- \n -----END CERTIFICATE-----"],
    ["boundaries that overlap", "-----BEGIN CERTIFICATE-----"],
  ])("refuses %s", (_, text) => {
    expect(() => pemDecodeLenient("CERTIFICATE", text)).toThrow(malformed)
  })
})
