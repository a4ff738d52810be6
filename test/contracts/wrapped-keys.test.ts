import { CreateKeyCommand, DecryptCommand, DisableKeyCommand, KMSClient, SignCommand } from "@aws-sdk/client-kms"
import { clientOptions } from "@sealwright/adapters/sdk"
import { createWrappedKeyMaker, createWrappedKeys, isWrapped } from "@sealwright/adapters/wrapped-keys"
import type { ProfileAlgorithm } from "@sealwright/core/model"
import { utf8 } from "@sealwright/formats/bytes"
import { runSync } from "@sealwright/verifier/node-crypto"
import { verifySignature } from "@sealwright/verifier/requests"
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { KmsError } from "../../localstack/kms/errors.ts"
import { type Endpoint, embeddedKms } from "./embedded.ts"
import { CREDENTIALS, REGION } from "./endpoints.ts"

const MESSAGE = utf8("to be signed")
const withCode = (code: string) => expect.objectContaining({ code })

let endpoint: Endpoint
let client: KMSClient
let wrapping = ""
let calls: string[] = []
let refuse: KmsError | undefined

beforeAll(async () => {
  endpoint = await embeddedKms(({ operation, phase }) => {
    if (phase === "after") return
    calls.push(operation)
    const refusal = refuse
    refuse = undefined
    if (refusal !== undefined) throw refusal
  })
  client = new KMSClient({
    ...clientOptions({ region: REGION, endpoint: endpoint.url, maxAttempts: 1 }),
    credentials: CREDENTIALS,
  })
  const { KeyMetadata } = await client.send(new CreateKeyCommand({}))
  wrapping = KeyMetadata?.Arn as string
})
beforeEach(() => {
  calls = []
})
afterAll(async () => {
  client.destroy()
  await endpoint.close()
})

describe("wrapped keys (R1, D13)", () => {
  test.each<ProfileAlgorithm>(["ecdsa-p256-sha256", "ecdsa-p384-sha384", "rsa-pss-sha384"])(
    "%s: signs under its public key, with one decryption for many signatures",
    async (scheme) => {
      const key = await createWrappedKeyMaker(client, "stack", wrapping).wrap("issuer/bulk", scheme)
      expect(isWrapped(key)).toBe(true)
      const keys = createWrappedKeys(client, "stack")
      const signatures = await Promise.all(Array.from({ length: 5 }, () => keys.sign(key, MESSAGE)))
      for (const signature of signatures)
        expect(runSync(verifySignature(scheme, key.spki, MESSAGE, signature))).toBe(true)
      expect(calls).toEqual(["GenerateDataKeyPairWithoutPlaintext", "Decrypt"])
    },
  )

  test("opens neither for another stack, nor under another name, nor when it was changed", async () => {
    const key = await createWrappedKeyMaker(client, "stack", wrapping).wrap("issuer/bulk", "ecdsa-p256-sha256")
    const sign = (stack: string, keyId: string) => createWrappedKeys(client, stack).sign({ ...key, keyId }, MESSAGE)
    await expect(sign("other", key.keyId)).rejects.toThrow(withCode("KEY_NOT_USABLE"))
    await expect(sign("stack", key.keyId.replace("issuer/bulk", "issuer/other"))).rejects.toThrow(
      withCode("KEY_NOT_USABLE"),
    )
    const at = key.keyId.length - 30
    const flipped = key.keyId.slice(0, at) + (key.keyId[at] === "A" ? "B" : "A") + key.keyId.slice(at + 1)
    await expect(sign("stack", flipped)).rejects.toThrow(withCode("KEY_NOT_USABLE"))
    for (const keyId of ["wrapped:", "wrapped:arn:x#y", `${key.keyId}#`, wrapping])
      await expect(sign("stack", keyId)).rejects.toThrow(withCode("KEY_NOT_USABLE"))
  })

  test("a decryption that failed is tried again by the next signature; a disabled wrapping key ends it", async () => {
    const { KeyMetadata } = await client.send(new CreateKeyCommand({ KeySpec: "SYMMETRIC_DEFAULT" }))
    const key = await createWrappedKeyMaker(client, "stack", KeyMetadata?.Arn as string).wrap(
      "issuer/x",
      "ecdsa-p256-sha256",
    )
    const keys = createWrappedKeys(client, "stack")
    refuse = new KmsError("ThrottlingException", "test")
    await expect(keys.sign(key, MESSAGE)).rejects.toThrow(withCode("SIGNER_UNAVAILABLE"))
    expect(runSync(verifySignature(key.scheme, key.spki, MESSAGE, await keys.sign(key, MESSAGE)))).toBe(true)
    await client.send(new DisableKeyCommand({ KeyId: KeyMetadata?.KeyId }))
    await expect(createWrappedKeys(client, "stack").sign(key, MESSAGE)).rejects.toThrow(withCode("KEY_NOT_USABLE"))
  })

  test("a symmetric key signs nothing, has no public key, and no other key decrypts", async () => {
    const signing = await client.send(new CreateKeyCommand({ KeySpec: "ECC_NIST_P256", KeyUsage: "SIGN_VERIFY" }))
    const named = (name: string) => expect.objectContaining({ name })
    const asked = { Message: new Uint8Array(32), MessageType: "DIGEST", SigningAlgorithm: "ECDSA_SHA_256" } as const
    await expect(client.send(new SignCommand({ KeyId: wrapping, ...asked }))).rejects.toThrow(
      named("InvalidKeyUsageException"),
    )
    const key = await createWrappedKeyMaker(client, "stack", wrapping).wrap("issuer/y", "ecdsa-p256-sha256")
    const CiphertextBlob = Buffer.from(key.keyId.split("#")[2] as string, "base64url")
    await expect(
      client.send(new DecryptCommand({ KeyId: signing.KeyMetadata?.KeyId, CiphertextBlob })),
    ).rejects.toThrow(named("IncorrectKeyException"))
    await expect(client.send(new DecryptCommand({ CiphertextBlob }))).rejects.toThrow(
      named("InvalidCiphertextException"),
    )
  })
})
