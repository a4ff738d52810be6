import { hexDecode } from "@sealwright/formats/bytes"
import { parsePkcs11Uri, writePkcs11Uri } from "@sealwright/formats/pkcs11-uri"
import fc from "fast-check"
import { describe, expect, test } from "vitest"

const withCode = (code: string) => expect.objectContaining({ code })

describe("PKCS #11 URIs (RFC 7512)", () => {
  test("one form, both ways", () => {
    const key = { token: "my token", object: "issuer/ci-2026", id: hexDecode("01ab") }
    const uri = "pkcs11:token=my%20token;object=issuer%2Fci-2026;id=%01%AB"
    expect(writePkcs11Uri(key)).toBe(uri)
    expect(parsePkcs11Uri(uri)).toEqual(key)
  })

  test.each([
    ["another order, type and lower-case hex", "pkcs11:id=%0a;type=private;token=a"],
    ["every character that may stand for itself", "pkcs11:token=-._~:[]@!$'()*+,=&;id=%0A"],
    ["an id with plain characters", "pkcs11:token=a;id=%0a"],
  ])("%s", (_, uri) => {
    expect(parsePkcs11Uri(uri).id).toEqual(hexDecode("0a"))
  })

  test.each([
    ["a PIN", "pkcs11:token=a;object=b?pin-value=secret"],
    ["a PIN's source", "pkcs11:token=a;object=b?pin-source=file:pin"],
    ["a module's path", "pkcs11:token=a;object=b?module-path=lib.so"],
    ["an empty query", "pkcs11:token=a;object=b?"],
    ["a PIN in the path", "pkcs11:token=a;object=b;pin-value=secret"],
    ["another attribute of the RFC", "pkcs11:token=a;object=b;serial=1"],
    ["a vendor's attribute", "pkcs11:token=a;object=b;x-vendor=1"],
    ["an attribute twice", "pkcs11:token=a;object=b;object=c"],
    ["a public key", "pkcs11:token=a;object=b;type=public"],
    ["no token", "pkcs11:object=b"],
    ["no key", "pkcs11:token=a"],
    ["an empty token", "pkcs11:token=;object=b"],
    ["an empty label", "pkcs11:token=a;object="],
    ["a token's label of 33 bytes", `pkcs11:token=${"a".repeat(33)};object=b`],
    ["a label of 256 bytes", `pkcs11:token=a;object=${"b".repeat(256)}`],
    ["an id of 65 bytes", `pkcs11:token=a;id=${"%00".repeat(65)}`],
    ["a label that is not UTF-8", "pkcs11:token=%FF;object=b"],
    ["a cut percent-encoding", "pkcs11:token=a;object=b%4"],
    ["a character that must be encoded", "pkcs11:token=a/b;object=c"],
    ["a space", "pkcs11:token=a b;object=c"],
    ["nothing behind a semicolon", "pkcs11:token=a;object=b;"],
    ["another scheme", "PKCS11:token=a;object=b"],
    ["nothing", "pkcs11:"],
  ])("refuses %s", (_, uri) => {
    expect(() => parsePkcs11Uri(uri)).toThrow(withCode("URI_MALFORMED"))
  })

  test("refuses length before it reads", () => {
    expect(() => parsePkcs11Uri(`pkcs11:token=${"a".repeat(2048)}`)).toThrow(withCode("TOO_LARGE"))
  })

  test("no refusal repeats the URI", () => {
    expect(() => parsePkcs11Uri("pkcs11:token=a;object=b?pin-value=geheim")).toThrow(/^(?!.*geheim)/)
    expect(() => parsePkcs11Uri("pkcs11:token=a;geheim")).toThrow(/^(?!.*geheim)/)
  })

  test("writing refuses what could not be read back", () => {
    expect(() => writePkcs11Uri({ token: "", object: "a", id: undefined })).toThrow(withCode("URI_MALFORMED"))
    expect(() => writePkcs11Uri({ token: "a", object: undefined, id: undefined })).toThrow(withCode("URI_MALFORMED"))
  })

  const label = (maxLength: number) =>
    fc
      .uint8Array({ minLength: 1, maxLength })
      .map((bytes) =>
        Buffer.from(bytes)
          .toString("latin1")
          .replace(/[^ -~]/g, "é"),
      )
      .filter((value) => Buffer.byteLength(value) <= maxLength)

  test("what is written is read back", () => {
    fc.assert(
      fc.property(label(32), label(255), fc.uint8Array({ minLength: 1, maxLength: 64 }), (token, object, id) => {
        expect(parsePkcs11Uri(writePkcs11Uri({ token, object, id }))).toEqual({ token, object, id })
      }),
    )
  })

  test("no input makes it throw anything else", () => {
    fc.assert(
      fc.property(fc.string(), fc.uint8Array(), (path, bytes) => {
        for (const uri of [path, `pkcs11:${path}`, `pkcs11:token=a;object=${Buffer.from(bytes).toString("latin1")}`])
          try {
            parsePkcs11Uri(uri)
          } catch (error) {
            expect(error).toEqual(withCode("URI_MALFORMED"))
          }
      }),
    )
  })
})
