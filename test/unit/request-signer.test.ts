import { createHash, createHmac } from "node:crypto"
import { RequestSigner, type SignableRequest } from "@sealwright/adapters/request-signer"
import { utf8 } from "@sealwright/formats/bytes"
import { SignatureV4 } from "@smithy/signature-v4"
import fc from "fast-check"
import { describe, expect, test } from "vitest"

/** What the SDK's own signer hashes with. */
class Sha256 {
  readonly #hash
  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    this.#hash = secret === undefined ? createHash("sha256") : createHmac("sha256", secret as string)
  }
  update(data: Uint8Array): void {
    this.#hash.update(data)
  }
  async digest(): Promise<Uint8Array> {
    return new Uint8Array(this.#hash.digest())
  }
  reset(): void {}
}

const SIGNED = /^(?:host|content-type|x-amz-.*)$/
const DATE = new Date("2026-11-21T09:00:00.750Z")
const INIT = {
  credentials: { accessKeyId: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" },
  region: "eu-central-1",
  service: "kms",
}

function request(headers: { [name: string]: string } = {}, body: string | Uint8Array = "{}") {
  return {
    protocol: "https:",
    hostname: "kms.eu-central-1.amazonaws.com",
    method: "POST",
    path: "/",
    query: {},
    headers: {
      host: "kms.eu-central-1.amazonaws.com",
      "content-type": "application/x-amz-json-1.1",
      "x-amz-target": "TrentService.Sign",
      "user-agent": "aws-sdk-js/3",
      "amz-sdk-request": "attempt=1; max=3",
      ...headers,
    } as { [name: string]: string },
    body,
  }
}

/** The `authorization` that the SDK's own signer gives to the same request when it signs the same headers. */
async function bySdk(init: typeof INIT, unsigned: ReturnType<typeof request>, signingDate: Date): Promise<string> {
  const signer = new SignatureV4({ ...init, sha256: Sha256, applyChecksum: false })
  const unsignableHeaders = new Set(Object.keys(unsigned.headers).filter((name) => !SIGNED.test(name)))
  const signed = await signer.sign(unsigned, { signingDate, unsignableHeaders })
  return signed.headers.authorization as string
}

describe("requests of small JSON calls", () => {
  test("are signed as the SDK's own signer signs them", async () => {
    const text = fc.string({ unit: "grapheme", maxLength: 40 })
    const value = fc.stringMatching(/^[\x21-\x7e][\x20-\x7e]{0,30}$/)
    const one = new RequestSigner(INIT)
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(fc.stringMatching(/^x-amz-[a-z][a-z0-9-]{0,9}$/), value),
        text,
        fc.option(fc.base64String({ minLength: 4 }), { nil: undefined }),
        fc.string({ minLength: 1 }),
        fc.date({ min: new Date("2000-01-01"), max: new Date("2099-01-01"), noInvalidDate: true }),
        async (headers, body, sessionToken, secretAccessKey, date) => {
          const credentials = {
            accessKeyId: "AKID",
            secretAccessKey,
            ...(sessionToken !== undefined && { sessionToken }),
          }
          const init = { ...INIT, credentials }
          const expected = await bySdk(init, request(headers, body), date)
          const signed = await new RequestSigner(init).sign(request(headers, body), { signingDate: date })
          expect(signed.headers.authorization).toBe(expected)
          const again = await one.sign(request(headers, utf8(body)), { signingDate: date })
          expect(again.headers.authorization).toBe(await bySdk(INIT, request(headers, body), date))
        },
      ),
    )
  })

  test("a repeated call is signed anew, with the credentials and for the place that count then", async () => {
    let credentials = { ...INIT.credentials, sessionToken: "first" }
    const signer = new RequestSigner({ ...INIT, region: async () => INIT.region, credentials: async () => credentials })
    const sent = request()
    await signer.sign(sent, { signingDate: DATE })
    const { authorization } = sent.headers
    credentials = { ...credentials, secretAccessKey: "another", sessionToken: "second" }
    const later = {
      signingDate: new Date(DATE.getTime() + 1000),
      signingRegion: "us-east-1",
      signingService: "dynamodb",
    }
    await signer.sign(sent, later)
    expect(sent.headers).toMatchObject({ "x-amz-date": "20261121T090001Z", "x-amz-security-token": "second" })
    const init = { region: "us-east-1", service: "dynamodb", credentials }
    const expected = await bySdk(init, request(), later.signingDate)
    expect(sent.headers).toMatchObject({ authorization: expected })
    expect(authorization).not.toBe(expected)
  })

  test.each<[string, Partial<SignableRequest>]>([
    ["another method", { method: "GET" }],
    ["another path", { path: "/key" }],
    ["a query", { query: { a: "b" } }],
    ["a stream", { body: new ReadableStream() }],
    ["no body", { body: undefined }],
  ])("%s is refused", async (_, change) => {
    const signing = new RequestSigner(INIT).sign({ ...request(), ...change }, { signingDate: DATE })
    await expect(signing).rejects.toThrow(TypeError)
  })
})
