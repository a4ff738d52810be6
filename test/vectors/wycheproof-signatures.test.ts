import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { type SignatureScheme, schemeRow } from "@sealwright/formats/algorithms"
import { hexDecode } from "@sealwright/formats/bytes"
import { ecdsaRawToDer } from "@sealwright/formats/ecdsa"
import { FormatError } from "@sealwright/formats/errors"
import { runSync } from "@sealwright/verifier/node-crypto"
import { verifySignature } from "@sealwright/verifier/requests"
import { runAsync } from "@sealwright/verifier/web-crypto"
import { describe, expect, test } from "vitest"

const FOLDER = join("..", "shared", "vectors", "wycheproof")

interface Case {
  readonly tcId: number
  readonly msg: string
  readonly sig: string
  /** hex of an ML-DSA context; ours is always empty */
  readonly ctx?: string
  readonly result: "valid" | "invalid" | "acceptable"
}
interface Vectors {
  readonly numberOfTests: number
  readonly testGroups: readonly { readonly publicKeyDer: string; readonly tests: readonly Case[] }[]
}

/** P1363 files give r‖s as JOSE does, so they go through the converter first. */
const FILES: readonly (readonly [file: string, scheme: SignatureScheme, form: "der" | "raw" | "plain"])[] = [
  ["ecdsa_secp256r1_sha256_test.json", "ecdsa-p256-sha256", "der"],
  ["ecdsa_secp384r1_sha384_test.json", "ecdsa-p384-sha384", "der"],
  ["ecdsa_secp521r1_sha512_test.json", "ecdsa-p521-sha512", "der"],
  ["ecdsa_secp256r1_sha256_p1363_test.json", "ecdsa-p256-sha256", "raw"],
  ["ecdsa_secp384r1_sha384_p1363_test.json", "ecdsa-p384-sha384", "raw"],
  ["ecdsa_secp521r1_sha512_p1363_test.json", "ecdsa-p521-sha512", "raw"],
  ["ed25519_test.json", "ed25519", "plain"],
  ["mldsa_65_verify_test.json", "ml-dsa-65", "plain"],
  ["rsa_signature_2048_sha256_test.json", "rsa-pkcs1-sha256", "plain"],
  ["rsa_signature_3072_sha256_test.json", "rsa-pkcs1-sha256", "plain"],
  ["rsa_signature_3072_sha384_test.json", "rsa-pkcs1-sha384", "plain"],
  ["rsa_signature_4096_sha256_test.json", "rsa-pkcs1-sha256", "plain"],
  ["rsa_signature_4096_sha512_test.json", "rsa-pkcs1-sha512", "plain"],
  ["rsa_pss_2048_sha256_mgf1_32_test.json", "rsa-pss-sha256", "plain"],
  ["rsa_pss_2048_sha384_mgf1_48_test.json", "rsa-pss-sha384", "plain"],
  ["rsa_pss_3072_sha256_mgf1_32_test.json", "rsa-pss-sha256", "plain"],
  ["rsa_pss_4096_sha384_mgf1_48_test.json", "rsa-pss-sha384", "plain"],
  ["rsa_pss_4096_sha512_mgf1_64_test.json", "rsa-pss-sha512", "plain"],
]

const present = existsSync(FOLDER)

describe.skipIf(!present)("Wycheproof signatures, under node:crypto and WebCrypto", () => {
  test.each(FILES)("%s", { timeout: 120_000 }, async (file, scheme, form) => {
    const vectors: Vectors = JSON.parse(readFileSync(join(FOLDER, file), "utf8"))
    const wrong: string[] = []
    let ran = 0
    for (const group of vectors.testGroups) {
      const spki = hexDecode(group.publicKeyDer)
      for (const { tcId, msg, sig, ctx, result } of group.tests) {
        if (ctx !== undefined && ctx !== "") {
          ran++
          continue
        }
        const verify = () => verifySignature(scheme, spki, hexDecode(msg), signatureOf(sig, scheme, form))
        const node = accepted(() => runSync(verify()))
        const web = await acceptedLater(() => runAsync(verify()))
        ran++
        if (node !== (result === "valid")) wrong.push(`${tcId}: ${result}, node:crypto says ${node}`)
        if (web !== (result === "valid")) wrong.push(`${tcId}: ${result}, WebCrypto says ${web}`)
      }
    }
    expect(ran).toBe(vectors.numberOfTests)
    expect(wrong).toEqual([])
    process.stdout.write(`${file}: ${ran} cases\n`)
  })
})

test.runIf(!present)("Wycheproof vectors are not on this machine", () => {
  process.stdout.write(`skipped: ${FOLDER} is not there\n`)
})

function signatureOf(hex: string, scheme: SignatureScheme, form: "der" | "raw" | "plain"): Uint8Array {
  const bytes = hexDecode(hex)
  const { fieldBytes } = schemeRow(scheme)
  return form === "raw" && fieldBytes !== undefined ? ecdsaRawToDer(bytes, fieldBytes) : bytes
}

function accepted(verify: () => boolean): boolean {
  try {
    return verify()
  } catch (error) {
    if (error instanceof FormatError) return false
    throw error
  }
}

async function acceptedLater(verify: () => Promise<boolean>): Promise<boolean> {
  try {
    return await verify()
  } catch (error) {
    if (error instanceof FormatError) return false
    throw error
  }
}
