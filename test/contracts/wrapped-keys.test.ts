import {
  CreateKeyCommand,
  DecryptCommand,
  DescribeKeyCommand,
  DisableKeyCommand,
  KMSClient,
  ListResourceTagsCommand,
  SignCommand,
} from "@aws-sdk/client-kms"
import { clientOptions } from "@sealwright/adapters/sdk"
import { createKeyWrapper, createWrappedKeys } from "@sealwright/adapters/wrapped-keys"
import type { ProfileAlgorithm } from "@sealwright/core/model"
import { isWrapped, type KeyReference } from "@sealwright/core/ports"
import { utf8 } from "@sealwright/formats/bytes"
import { runSync } from "@sealwright/verifier/node-crypto"
import { verifySignature } from "@sealwright/verifier/requests"
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { KmsError } from "../../localstack/kms/errors.ts"
import { type Endpoint, embeddedKms } from "./embedded.ts"
import { CREDENTIALS, REGION } from "./endpoints.ts"

const MESSAGE = utf8("to be signed")
const BOTH = new Set(["issuer", "timestamp"] as const)
const wrapper = (stack = "stack", purposes: ReadonlySet<"issuer" | "timestamp"> = BOTH) =>
  createKeyWrapper(client, { stack, purposes })
const wrappingKeyOf = ({ keyId }: KeyReference) => /^wrapped:([^#]+)#/.exec(keyId)?.[1] ?? ""
const withCode = (code: string) => expect.objectContaining({ code })

let endpoint: Endpoint
let client: KMSClient
let calls: string[] = []
let refuse: KmsError | undefined
let refuseAt: string | undefined

beforeAll(async () => {
  endpoint = await embeddedKms(({ operation, phase }) => {
    if (phase === "after") return
    calls.push(operation)
    if (operation === refuseAt) {
      refuseAt = undefined
      throw new KmsError("ThrottlingException", "test")
    }
    const refusal = refuse
    refuse = undefined
    if (refusal !== undefined) throw refusal
  })
  client = new KMSClient({
    ...clientOptions({ region: REGION, endpoint: endpoint.url, maxAttempts: 1 }),
    credentials: CREDENTIALS,
  })
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
      const key = await wrapper().wrap("issuer/bulk", "issuer", scheme)
      calls = []
      expect(isWrapped(key)).toBe(true)
      const keys = createWrappedKeys(client, "stack")
      const signatures = await Promise.all(Array.from({ length: 5 }, () => keys.sign(key, MESSAGE)))
      for (const signature of signatures)
        expect(runSync(verifySignature(scheme, key.spki, MESSAGE, signature))).toBe(true)
      expect(calls).toEqual(["Decrypt"])
    },
  )

  test("opens neither for another stack, nor under another name, nor when it was changed", async () => {
    const key = await wrapper().wrap("issuer/bulk", "issuer", "ecdsa-p256-sha256")
    const sign = (stack: string, keyId: string) => createWrappedKeys(client, stack).sign({ ...key, keyId }, MESSAGE)
    await expect(sign("other", key.keyId)).rejects.toThrow(withCode("KEY_NOT_USABLE"))
    await expect(sign("stack", key.keyId.replace("issuer/bulk", "issuer/other"))).rejects.toThrow(
      withCode("KEY_NOT_USABLE"),
    )
    const at = key.keyId.length - 30
    const flipped = key.keyId.slice(0, at) + (key.keyId[at] === "A" ? "B" : "A") + key.keyId.slice(at + 1)
    await expect(sign("stack", flipped)).rejects.toThrow(withCode("KEY_NOT_USABLE"))
    for (const keyId of ["wrapped:", "wrapped:arn:x#y", `${key.keyId}#`, wrappingKeyOf(key)])
      await expect(sign("stack", keyId)).rejects.toThrow(withCode("KEY_NOT_USABLE"))
  })

  test("a decryption that failed is tried again by the next signature; a disabled wrapping key ends it", async () => {
    const key = await wrapper("ending").wrap("issuer/x", "issuer", "ecdsa-p256-sha256")
    const keys = createWrappedKeys(client, "ending")
    refuse = new KmsError("ThrottlingException", "test")
    await expect(keys.sign(key, MESSAGE)).rejects.toThrow(withCode("SIGNER_UNAVAILABLE"))
    expect(runSync(verifySignature(key.scheme, key.spki, MESSAGE, await keys.sign(key, MESSAGE)))).toBe(true)
    await client.send(new DisableKeyCommand({ KeyId: wrappingKeyOf(key) }))
    await expect(createWrappedKeys(client, "ending").sign(key, MESSAGE)).rejects.toThrow(withCode("KEY_NOT_USABLE"))
    await expect(wrapper("ending").wrap("issuer/z", "issuer", key.scheme)).rejects.toThrow(withCode("KEY_NOT_USABLE"))
  })

  test("a symmetric key signs nothing, has no public key, and no other key decrypts", async () => {
    const signing = await client.send(new CreateKeyCommand({ KeySpec: "ECC_NIST_P256", KeyUsage: "SIGN_VERIFY" }))
    const key = await wrapper().wrap("issuer/y", "issuer", "ecdsa-p256-sha256")
    const named = (name: string) => expect.objectContaining({ name })
    const asked = { Message: new Uint8Array(32), MessageType: "DIGEST", SigningAlgorithm: "ECDSA_SHA_256" } as const
    await expect(client.send(new SignCommand({ KeyId: wrappingKeyOf(key), ...asked }))).rejects.toThrow(
      named("InvalidKeyUsageException"),
    )
    const CiphertextBlob = Buffer.from(key.keyId.split("#")[2] as string, "base64url")
    await expect(
      client.send(new DecryptCommand({ KeyId: signing.KeyMetadata?.KeyId, CiphertextBlob })),
    ).rejects.toThrow(named("IncorrectKeyException"))
    await expect(client.send(new DecryptCommand({ CiphertextBlob }))).rejects.toThrow(
      named("InvalidCiphertextException"),
    )
  })

  test("each purpose has one wrapping key, made when it is first needed and found again, with its own tag", async () => {
    const issuer = await wrapper("tagged").wrap("issuer/a", "issuer", "ecdsa-p256-sha256")
    const again = await wrapper("tagged").wrap("issuer/a", "issuer", "ecdsa-p256-sha256")
    const timestamp = await wrapper("tagged").wrap("timestamp/1", "timestamp", "rsa-pkcs1-sha384")
    expect(again.keyId).not.toBe(issuer.keyId)
    expect(wrappingKeyOf(again)).toBe(wrappingKeyOf(issuer))
    expect(wrappingKeyOf(timestamp)).not.toBe(wrappingKeyOf(issuer))
    for (const [key, purpose] of [
      [issuer, "wrapping"],
      [timestamp, "wrapping-timestamp"],
    ] as const) {
      const { KeyMetadata } = await client.send(new DescribeKeyCommand({ KeyId: `alias/tagged/${purpose}` }))
      expect(KeyMetadata).toMatchObject({ Arn: wrappingKeyOf(key), KeyUsage: "ENCRYPT_DECRYPT" })
      const { Tags } = await client.send(new ListResourceTagsCommand({ KeyId: KeyMetadata?.KeyId }))
      expect(Tags).toContainEqual({ TagKey: "sealwright:purpose", TagValue: purpose })
    }
    const signature = await createWrappedKeys(client, "tagged").sign(timestamp, MESSAGE)
    expect(runSync(verifySignature("rsa-pkcs1-sha384", timestamp.spki, MESSAGE, signature))).toBe(true)
  })

  test.each(["CreateKey", "CreateAlias", "GenerateDataKeyPairWithoutPlaintext"])(
    "a %s that failed is answered by a repeat",
    async (operation) => {
      const stack = `failing-${operation.toLowerCase()}`
      refuseAt = operation
      const wrap = () => wrapper(stack).wrap("issuer/a", "issuer", "ecdsa-p256-sha256")
      await expect(wrap()).rejects.toThrow(withCode("SIGNER_UNAVAILABLE"))
      expect(isWrapped(await wrap())).toBe(true)
    },
  )

  test("a deployment that wraps nothing makes no key at all", async () => {
    await expect(wrapper("none", new Set()).wrap("issuer/a", "issuer", "ecdsa-p256-sha256")).rejects.toThrow(
      withCode("WRAPPING_NOT_ENABLED"),
    )
    const timestamps = wrapper("none", new Set(["issuer"])).wrap("timestamp/1", "timestamp", "ecdsa-p256-sha256")
    await expect(timestamps).rejects.toThrow(withCode("WRAPPING_NOT_ENABLED"))
    expect(calls).toEqual([])
  })
})
