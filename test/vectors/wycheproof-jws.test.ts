import { createPublicKey, type JsonWebKey } from "node:crypto"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { SCHEMES, type SignatureScheme, schemeRow } from "@sealwright/formats/algorithms"
import { base64urlDecode, utf8 } from "@sealwright/formats/bytes"
import { ecdsaRawToDer } from "@sealwright/formats/ecdsa"
import { FormatError } from "@sealwright/formats/errors"
import { oneOf, openObject, string } from "@sealwright/formats/shape"
import { parseJson } from "@sealwright/formats/strict-json"
import { runSync } from "@sealwright/verifier/node-crypto"
import { verifySignature } from "@sealwright/verifier/requests"
import { describe, expect, test } from "vitest"

const FILE = join("..", "shared", "vectors", "wycheproof", "json_web_signature_test.json")

interface Vectors {
  readonly numberOfTests: number
  readonly testGroups: readonly {
    readonly private?: JsonWebKey
    readonly public?: JsonWebKey
    readonly tests: readonly { readonly tcId: number; readonly jws: unknown; readonly result: "valid" | "invalid" }[]
  }[]
}

/** Where we differ from the file, with the reason. */
const EXCEPTIONS: Readonly<Record<number, string>> = {
  346: "valid there: the key is for PS256 and the header says PS384; the algorithm belongs to the key",
  347: "valid there: the key says ES521, which is no algorithm",
  350: "valid there: the key is for PS256 and the header says PS384",
  351: "valid there: the key says ES521, which is no algorithm",
}

const SCHEME_OF: ReadonlyMap<string, SignatureScheme> = new Map(
  (Object.keys(SCHEMES) as SignatureScheme[]).map((scheme) => [schemeRow(scheme).jose, scheme]),
)
const present = existsSync(FILE)

describe.skipIf(!present)("Wycheproof JWS, by the pieces that the Notary envelope is read with", () => {
  const vectors: Vectors = present ? JSON.parse(readFileSync(FILE, "utf8")) : { numberOfTests: 0, testGroups: [] }

  test("every case is judged as the file says, but for the listed ones", () => {
    const differs: number[] = []
    let ran = 0
    let ours = 0
    for (const group of vectors.testGroups) {
      const key = group.public ?? group.private ?? {}
      for (const { tcId, jws, result } of group.tests) {
        ran++
        const supported = SCHEME_OF.has(String(key.alg)) || key.alg === "ES521"
        if (supported) ours++
        // A symmetric or PKCS #1 v1.5 algorithm is not in the table: no such token is ever accepted.
        if (accepts(jws, key) !== (supported && result === "valid")) differs.push(tcId)
      }
    }
    expect(ran).toBe(vectors.numberOfTests)
    expect(differs).toEqual(Object.keys(EXCEPTIONS).map(Number))
    process.stdout.write(
      `json_web_signature_test.json: ${ran} cases, ${ours} with our algorithms, ${differs.length} listed exceptions\n`,
    )
  })
})

test.runIf(!present)("Wycheproof JWS vectors are not on this machine", () => {
  process.stdout.write(`skipped: ${FILE} is not there\n`)
})

const jwsHeader = openObject({ alg: string(16) }, { typ: string(64), b64: oneOf("never") })

function accepts(jws: unknown, key: JsonWebKey): boolean {
  if (typeof jws !== "string") return false
  try {
    const parts = jws.split(".", 4)
    const [header, payload, signature] = parts
    if (parts.length !== 3 || header === undefined || payload === undefined || signature === undefined) return false
    const { alg } = jwsHeader(parseJson(base64urlDecode(header), { maxBytes: 65_536 }), "header")
    base64urlDecode(payload)
    const scheme = SCHEME_OF.get(alg)
    if (scheme === undefined || key.alg !== alg) return false
    const raw = base64urlDecode(signature)
    const { fieldBytes } = schemeRow(scheme)
    const bytes = fieldBytes === undefined ? raw : ecdsaRawToDer(raw, fieldBytes)
    const spki = new Uint8Array(createPublicKey({ key, format: "jwk" }).export({ type: "spki", format: "der" }))
    return runSync(verifySignature(scheme, spki, utf8(`${header}.${payload}`), bytes))
  } catch (error) {
    if (error instanceof FormatError) return false
    throw error
  }
}
