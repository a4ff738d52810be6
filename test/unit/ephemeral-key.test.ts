import { createPublicKey } from "node:crypto"
import { makeEphemeralKey } from "@sealwright/adapters/ephemeral-key"
import { SCHEMES, type SignatureScheme } from "@sealwright/formats/algorithms"
import { utf8 } from "@sealwright/formats/bytes"
import { runSync } from "@sealwright/verifier/node-crypto"
import { verifySignature } from "@sealwright/verifier/requests"
import { describe, expect, test } from "vitest"

const CHEAP = (Object.keys(SCHEMES) as SignatureScheme[]).filter((scheme) => SCHEMES[scheme].keyType !== "rsa")

describe("keys for one act", () => {
  test.each([...CHEAP, "rsa-pss-sha256"] as const)("%s: signs for the public key that it shows", (scheme) => {
    const key = makeEphemeralKey(scheme)
    const message = utf8("one act")
    const signature = key.sign(message)
    expect(runSync(verifySignature(scheme, key.spki, message, signature))).toBe(true)
    expect(runSync(verifySignature(scheme, makeEphemeralKey(scheme).spki, message, signature))).toBe(false)
  })

  test.each(CHEAP)("%s: the public key is written as OpenSSL writes it, however its coordinates begin", (scheme) => {
    for (let i = 0; i < 300; i++) {
      const { spki } = makeEphemeralKey(scheme)
      const read = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" })
      expect(read.export({ format: "der", type: "spki" }).equals(spki)).toBe(true)
    }
  })
})
