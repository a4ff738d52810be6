import { spawn } from "node:child_process"
import * as crypto from "node:crypto"
import { once } from "node:events"
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import {
  CancelKeyDeletionCommand,
  CreateAliasCommand,
  CreateKeyCommand,
  DeleteAliasCommand,
  DescribeKeyCommand,
  DisableKeyCommand,
  EnableKeyCommand,
  GetKeyPolicyCommand,
  GetPublicKeyCommand,
  type KeySpec,
  KMSClient,
  ListAliasesCommand,
  ListKeysCommand,
  ListResourceTagsCommand,
  PutKeyPolicyCommand,
  ScheduleKeyDeletionCommand,
  SignCommand,
  type SigningAlgorithmSpec,
  TagResourceCommand,
  UntagResourceCommand,
  UpdateAliasCommand,
  VerifyCommand,
} from "@aws-sdk/client-kms"
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest"
import { KmsError } from "../../localstack/kms/errors.ts"
import { type EmbeddedKms, type KmsCall, startKms } from "../../localstack/kms/server.ts"
import type { AccessQuestion } from "../../localstack/policy.ts"

const REGION = "eu-central-1"
const ACCOUNT = "000000000000"
const CREDENTIALS = { accessKeyId: "AKIAKMSCONTRACT", secretAccessKey: "kms-contract-secret" }
const CALLER = {
  ...CREDENTIALS,
  accountId: ACCOUNT,
  userArn: `arn:aws:iam::${ACCOUNT}:user/test`,
  callerId: "AIDATEST",
}
const HASHES = { SHA_256: "sha256", SHA_384: "sha384", SHA_512: "sha512" } as const

let nowOffsetMs = 0
let onCall: ((call: KmsCall) => void) | undefined
let allowed: (question: AccessQuestion) => boolean = () => true
const folder = mkdtempSync(join(tmpdir(), "sealwright-kms-"))

const start = (dataDir: string) =>
  startKms({
    dataDir,
    region: REGION,
    accountId: ACCOUNT,
    credentials: (id) =>
      id === CREDENTIALS.accessKeyId ? { secretAccessKey: CREDENTIALS.secretAccessKey, caller: CALLER } : undefined,
    clock: () => new Date(Date.now() + nowOffsetMs),
    onCall: (call) => onCall?.(call),
    authorize: (question) => allowed(question),
  })

const clientOf = (endpoint: string, credentials = CREDENTIALS) =>
  new KMSClient({ region: REGION, endpoint, credentials, maxAttempts: 1 })

let kms: EmbeddedKms
let client: KMSClient

beforeAll(async () => {
  kms = await start(":memory:")
  client = clientOf(kms.url)
})
afterEach(() => {
  nowOffsetMs = 0
  onCall = undefined
  allowed = () => true
})
afterAll(async () => {
  client.destroy()
  await kms.close()
  rmSync(folder, { recursive: true })
})

const named = (name: string) => expect.objectContaining({ name })

async function createKey(spec: KeySpec = "ECC_NIST_P256"): Promise<string> {
  const { KeyMetadata } = await client.send(new CreateKeyCommand({ KeySpec: spec, KeyUsage: "SIGN_VERIFY" }))
  return KeyMetadata?.KeyId as string
}

async function publicKeyOf(KeyId: string, by = client): Promise<crypto.KeyObject> {
  const { PublicKey } = await by.send(new GetPublicKeyCommand({ KeyId }))
  return crypto.createPublicKey({ key: Buffer.from(PublicKey as Uint8Array), format: "der", type: "spki" })
}

const RSA_ALGORITHMS = ["PSS", "PKCS1_V1_5"].flatMap((form) =>
  Object.keys(HASHES).map((hash) => `RSASSA_${form}_${hash}` as SigningAlgorithmSpec),
)
const MATRIX: [KeySpec, SigningAlgorithmSpec[]][] = [
  ["ECC_NIST_P256", ["ECDSA_SHA_256"]],
  ["ECC_NIST_P384", ["ECDSA_SHA_384"]],
  ["ECC_NIST_P521", ["ECDSA_SHA_512"]],
  ["ECC_NIST_EDWARDS25519", ["ED25519_SHA_512"]],
  ["ML_DSA_44", ["ML_DSA_SHAKE_256"]],
  ["ML_DSA_65", ["ML_DSA_SHAKE_256"]],
  ["ML_DSA_87", ["ML_DSA_SHAKE_256"]],
  ["RSA_2048", RSA_ALGORITHMS],
  ["RSA_3072", RSA_ALGORITHMS],
  ["RSA_4096", ["RSASSA_PSS_SHA_256"]],
]

describe.each(MATRIX)("Sign and Verify, %s", (spec, algorithms) => {
  test.each(algorithms)("%s: RAW and DIGEST both verify with node:crypto and with Verify", async (SigningAlgorithm) => {
    const KeyId = await createKey(spec)
    const publicKey = await publicKeyOf(KeyId)
    const Message = crypto.randomBytes(100)
    const whole = ["ED25519_SHA_512", "ML_DSA_SHAKE_256"].includes(SigningAlgorithm)
    const hash = whole ? null : HASHES[SigningAlgorithm.slice(-7) as keyof typeof HASHES]
    const pss = SigningAlgorithm.includes("PSS")
      ? { padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: crypto.constants.RSA_PSS_SALTLEN_DIGEST }
      : {}
    const forms = [{ MessageType: "RAW" as const, Message }]
    if (SigningAlgorithm === "ML_DSA_SHAKE_256")
      forms.push({ MessageType: "EXTERNAL_MU" as never, Message: externalMu(publicKey, Message) })
    if (hash !== null) {
      forms.push({ MessageType: "DIGEST" as never, Message: crypto.createHash(hash).update(Message).digest() })
    }
    for (const form of forms) {
      const signed = await client.send(new SignCommand({ KeyId, SigningAlgorithm, ...form }))
      const Signature = signed.Signature as Uint8Array
      expect(signed.KeyId).toBe(`arn:aws:kms:${REGION}:${ACCOUNT}:key/${KeyId}`)
      expect(crypto.verify(hash, Message, { key: publicKey, ...pss }, Signature), form.MessageType).toBe(true)
      const verified = await client.send(new VerifyCommand({ KeyId, SigningAlgorithm, Signature, ...form }))
      expect(verified.SignatureValid).toBe(true)
      const flipped = Uint8Array.from(Signature)
      flipped[20] = (flipped[20] as number) ^ 1
      const wrong = client.send(new VerifyCommand({ KeyId, SigningAlgorithm, Signature: flipped, ...form }))
      await expect(wrong).rejects.toEqual(named("KMSInvalidSignatureException"))
    }
  })
})

/** FIPS 204, algorithm 7, line 6; the key is at the end of its SubjectPublicKeyInfo. */
function externalMu(publicKey: crypto.KeyObject, message: Uint8Array) {
  const { pub = "" } = publicKey.export({ format: "jwk" }) as { pub?: string }
  const shake256 = (...parts: Uint8Array[]) =>
    crypto.createHash("shake256", { outputLength: 64 }).update(Buffer.concat(parts)).digest()
  return shake256(shake256(Buffer.from(pub, "base64url")), Uint8Array.of(0, 0), message)
}

describe("what Sign refuses", () => {
  const sha256 = crypto.createHash("sha256").update("m").digest()

  test.each([
    ["an algorithm of another curve", "ECC_NIST_P256", "ECDSA_SHA_384", "RAW", sha256, "InvalidKeyUsageException"],
    [
      "an RSA algorithm for an EC key",
      "ECC_NIST_P256",
      "RSASSA_PSS_SHA_256",
      "RAW",
      sha256,
      "InvalidKeyUsageException",
    ],
    ["a digest of another hash", "ECC_NIST_P384", "ECDSA_SHA_384", "DIGEST", sha256, "ValidationException"],
    ["a digest one byte short", "ECC_NIST_P256", "ECDSA_SHA_256", "DIGEST", sha256.subarray(1), "ValidationException"],
    ["a digest for Ed25519", "ECC_NIST_EDWARDS25519", "ED25519_SHA_512", "DIGEST", sha256, "ValidationException"],
    ["Ed25519ph", "ECC_NIST_EDWARDS25519", "ED25519_PH_SHA_512", "DIGEST", sha256, "ValidationException"],
    ["4,097 bytes", "ECC_NIST_P256", "ECDSA_SHA_256", "RAW", Buffer.alloc(4097), "ValidationException"],
    ["no bytes", "ECC_NIST_P256", "ECDSA_SHA_256", "RAW", Buffer.alloc(0), "ValidationException"],
    ["63 bytes of mu", "ML_DSA_65", "ML_DSA_SHAKE_256", "EXTERNAL_MU", Buffer.alloc(63), "ValidationException"],
    [
      "mu for Ed25519",
      "ECC_NIST_EDWARDS25519",
      "ED25519_SHA_512",
      "EXTERNAL_MU",
      Buffer.alloc(64),
      "ValidationException",
    ],
    ["external mu", "ECC_NIST_P256", "ECDSA_SHA_256", "EXTERNAL_MU", sha256, "ValidationException"],
  ] as const)("%s", async (_, spec, SigningAlgorithm, MessageType, Message, code) => {
    const KeyId = await createKey(spec)
    const signing = client.send(new SignCommand({ KeyId, SigningAlgorithm, MessageType, Message }))
    await expect(signing).rejects.toEqual(named(code))
  })

  test("4,096 bytes are taken", async () => {
    const KeyId = await createKey()
    const signing = new SignCommand({ KeyId, SigningAlgorithm: "ECDSA_SHA_256", Message: Buffer.alloc(4096) })
    expect((await client.send(signing)).Signature).toBeDefined()
  })

  test("DryRun says that it would have worked, and signs nothing", async () => {
    const KeyId = await createKey()
    const dry = new SignCommand({ KeyId, SigningAlgorithm: "ECDSA_SHA_256", Message: sha256, DryRun: true })
    await expect(client.send(dry)).rejects.toEqual(named("DryRunOperationException"))
    const calls = kms.signCalls().filter((call) => call.keyId === KeyId)
    expect(calls).toMatchObject([{ errorCode: "DryRunOperationException" }])
  })
})

test("a key's states: enabled, disabled, pending deletion, cancelled, gone", async () => {
  const KeyId = await createKey()
  const sign = () =>
    client.send(new SignCommand({ KeyId, SigningAlgorithm: "ECDSA_SHA_256", Message: Buffer.from("m") }))
  const state = async () => (await client.send(new DescribeKeyCommand({ KeyId }))).KeyMetadata?.KeyState
  await client.send(new DisableKeyCommand({ KeyId }))
  await expect(sign()).rejects.toEqual(named("DisabledException"))
  await expect(publicKeyOf(KeyId)).rejects.toEqual(named("DisabledException"))
  await client.send(new EnableKeyCommand({ KeyId }))
  await sign()
  const short = client.send(new ScheduleKeyDeletionCommand({ KeyId, PendingWindowInDays: 6 }))
  await expect(short).rejects.toEqual(named("ValidationException"))
  const scheduled = await client.send(new ScheduleKeyDeletionCommand({ KeyId, PendingWindowInDays: 7 }))
  expect(scheduled).toMatchObject({ KeyState: "PendingDeletion", PendingWindowInDays: 7 })
  await expect(sign()).rejects.toEqual(named("KMSInvalidStateException"))
  await expect(client.send(new EnableKeyCommand({ KeyId }))).rejects.toEqual(named("KMSInvalidStateException"))
  await client.send(new CancelKeyDeletionCommand({ KeyId }))
  expect(await state()).toBe("Disabled")
  const again = client.send(new CancelKeyDeletionCommand({ KeyId }))
  await expect(again).rejects.toEqual(named("KMSInvalidStateException"))
  await client.send(new ScheduleKeyDeletionCommand({ KeyId, PendingWindowInDays: 7 }))
  nowOffsetMs = 8 * 24 * 3600 * 1000
  const later = new KMSClient({
    region: REGION,
    endpoint: kms.url,
    credentials: CREDENTIALS,
    maxAttempts: 1,
    systemClockOffset: nowOffsetMs,
  })
  await expect(later.send(new DescribeKeyCommand({ KeyId }))).rejects.toEqual(named("NotFoundException"))
  later.destroy()
})

test("aliases name a key, move to another, and are gone with it", async () => {
  const [first, second] = [await createKey(), await createKey()]
  const AliasName = "alias/sealwright/contract"
  await client.send(new CreateAliasCommand({ AliasName, TargetKeyId: first }))
  const twice = client.send(new CreateAliasCommand({ AliasName, TargetKeyId: second }))
  await expect(twice).rejects.toEqual(named("AlreadyExistsException"))
  const keyOf = async (KeyId: string) => (await client.send(new DescribeKeyCommand({ KeyId }))).KeyMetadata?.KeyId
  expect(await keyOf(AliasName)).toBe(first)
  await client.send(new UpdateAliasCommand({ AliasName, TargetKeyId: second }))
  expect(await keyOf(`arn:aws:kms:${REGION}:${ACCOUNT}:${AliasName}`)).toBe(second)
  expect(await keyOf(`arn:aws:kms:${REGION}:${ACCOUNT}:key/${second}`)).toBe(second)
  const { Aliases } = await client.send(new ListAliasesCommand({ KeyId: second }))
  expect(Aliases).toMatchObject([{ AliasName, TargetKeyId: second }])
  await expect(client.send(new DisableKeyCommand({ KeyId: AliasName }))).rejects.toEqual(named("NotFoundException"))
  await client.send(new DeleteAliasCommand({ AliasName }))
  await expect(keyOf(AliasName)).rejects.toEqual(named("NotFoundException"))
  const reserved = client.send(new CreateAliasCommand({ AliasName: "alias/aws/x", TargetKeyId: first }))
  await expect(reserved).rejects.toEqual(named("InvalidAliasNameException"))
  for (const KeyId of ["nothing", `arn:aws:kms:us-east-1:${ACCOUNT}:key/${first}`]) {
    await expect(keyOf(KeyId)).rejects.toEqual(named("NotFoundException"))
  }
})

test("tags and policies are kept as given, bad ones refused", async () => {
  const Tags = [{ TagKey: "purpose", TagValue: "issuer" }]
  const created = await client.send(new CreateKeyCommand({ KeySpec: "ECC_NIST_P256", KeyUsage: "SIGN_VERIFY", Tags }))
  const KeyId = created.KeyMetadata?.KeyId as string
  await client.send(new TagResourceCommand({ KeyId, Tags: [{ TagKey: "stack", TagValue: "a" }] }))
  await client.send(new TagResourceCommand({ KeyId, Tags: [{ TagKey: "stack", TagValue: "b" }] }))
  await client.send(new UntagResourceCommand({ KeyId, TagKeys: ["purpose"] }))
  expect((await client.send(new ListResourceTagsCommand({ KeyId }))).Tags).toEqual([{ TagKey: "stack", TagValue: "b" }])
  const reserved = client.send(new TagResourceCommand({ KeyId, Tags: [{ TagKey: "aws:x", TagValue: "" }] }))
  await expect(reserved).rejects.toEqual(named("TagException"))
  expect((await client.send(new GetKeyPolicyCommand({ KeyId }))).Policy).toContain(`${ACCOUNT}:root`)
  const Policy = '{"Statement":[]}'
  await client.send(new PutKeyPolicyCommand({ KeyId, Policy }))
  expect((await client.send(new GetKeyPolicyCommand({ KeyId }))).Policy).toBe(Policy)
  const malformed = client.send(new PutKeyPolicyCommand({ KeyId, Policy: "{" }))
  await expect(malformed).rejects.toEqual(named("MalformedPolicyDocumentException"))
})

test.each([
  ["another usage", { KeyUsage: "ENCRYPT_DECRYPT" }],
  ["no usage", { KeyUsage: undefined }],
  ["a symmetric key", { KeySpec: "SYMMETRIC_DEFAULT" }],
  ["imported material", { Origin: "EXTERNAL" }],
  ["several Regions", { MultiRegion: true }],
] as const)("CreateKey refuses %s", async (_, change) => {
  const creating = new CreateKeyCommand({ KeySpec: "ECC_NIST_P256", KeyUsage: "SIGN_VERIFY", ...change })
  await expect(client.send(creating)).rejects.toEqual(named("ValidationException"))
})

test("ListKeys pages through every key once", async () => {
  const made = [await createKey(), await createKey(), await createKey()]
  const seen: (string | undefined)[] = []
  let Marker: string | undefined
  do {
    const page = await client.send(new ListKeysCommand({ Limit: 2, ...(Marker === undefined ? {} : { Marker }) }))
    seen.push(...(page.Keys ?? []).map((key) => key.KeyId))
    Marker = page.NextMarker
  } while (Marker !== undefined)
  expect(new Set(seen).size).toBe(seen.length)
  expect(seen).toEqual(expect.arrayContaining(made))
})

test("a wrong secret, an unknown key and no signature are refused by name", async () => {
  for (const [credentials, code] of [
    [{ ...CREDENTIALS, secretAccessKey: "wrong" }, "InvalidSignatureException"],
    [{ ...CREDENTIALS, accessKeyId: "AKIAUNKNOWN" }, "UnrecognizedClientException"],
  ] as const) {
    const stranger = clientOf(kms.url, credentials)
    await expect(stranger.send(new ListKeysCommand({}))).rejects.toEqual(named(code))
    stranger.destroy()
  }
  const headers = { "x-amz-target": "TrentService.ListKeys" }
  const unsigned = await fetch(kms.url, { method: "POST", headers, body: "{}" })
  expect(await unsigned.json()).toMatchObject({ __type: "MissingAuthenticationTokenException" })
})

test("the access hook sees action, key, algorithm and message type, and its refusal is AccessDeniedException", async () => {
  const KeyId = await createKey()
  const asked: AccessQuestion[] = []
  allowed = (question) => {
    asked.push(question)
    return false
  }
  const signing = new SignCommand({ KeyId, SigningAlgorithm: "ECDSA_SHA_256", Message: Buffer.from("m") })
  await expect(client.send(signing)).rejects.toEqual(named("AccessDeniedException"))
  expect(asked).toMatchObject([
    {
      action: "kms:Sign",
      resource: `arn:aws:kms:${REGION}:${ACCOUNT}:key/${KeyId}`,
      conditions: { "kms:SigningAlgorithm": "ECDSA_SHA_256", "kms:MessageType": "RAW" },
    },
  ])
})

describe("the fault hook", () => {
  const signing = (KeyId: string) =>
    client.send(new SignCommand({ KeyId, SigningAlgorithm: "ECDSA_SHA_256", Message: Buffer.from("m") }))
  const countOf = (KeyId: string) => kms.signCalls().filter((call) => call.keyId === KeyId).length

  test.each([
    ["before", 0],
    ["after", 1],
  ] as const)("a throttle thrown %s the operation is sent; signatures made: %i", async (phase, made) => {
    const KeyId = await createKey()
    onCall = (call) => {
      if (call.phase === phase) throw new KmsError("ThrottlingException", "injected")
    }
    await expect(signing(KeyId)).rejects.toEqual(named("ThrottlingException"))
    expect(countOf(KeyId)).toBe(made)
  })

  test("any other error cuts the connection", async () => {
    const KeyId = await createKey()
    onCall = () => {
      throw new Error("cut")
    }
    await expect(signing(KeyId)).rejects.toThrow()
    expect(countOf(KeyId)).toBe(0)
  })
})

test("what was answered is still there after SIGKILL: the key, its alias and the Sign call", async () => {
  const dataDir = join(folder, "killed")
  const program = `
    import { startKms } from ${JSON.stringify(new URL("../../localstack/kms/server.ts", import.meta.url).href)}
    const caller = ${JSON.stringify(CALLER)}
    const kms = await startKms({
      dataDir: ${JSON.stringify(dataDir)}, region: "${REGION}", accountId: "${ACCOUNT}",
      credentials: () => ({ secretAccessKey: caller.secretAccessKey, caller }), clock: () => new Date(),
    })
    process.stdout.write(kms.url)
  `
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
    stdio: ["ignore", "pipe", "inherit"],
  })
  const [url] = await once(child.stdout, "data")
  const writer = clientOf(String(url))
  const created = await writer.send(new CreateKeyCommand({ KeySpec: "ECC_NIST_P256", KeyUsage: "SIGN_VERIFY" }))
  const KeyId = created.KeyMetadata?.KeyId as string
  await writer.send(new CreateAliasCommand({ AliasName: "alias/killed", TargetKeyId: KeyId }))
  const signing = { KeyId: "alias/killed", SigningAlgorithm: "ECDSA_SHA_256", Message: Buffer.from("m") } as const
  await writer.send(new SignCommand(signing))
  const exit = once(child, "exit")
  child.kill("SIGKILL")
  await exit
  writer.destroy()

  const after = await start(dataDir)
  const reader = clientOf(after.url)
  expect(after.signCalls()).toMatchObject([{ keyId: KeyId, errorCode: undefined }])
  expect((await reader.send(new SignCommand(signing))).KeyId).toContain(KeyId)
  reader.destroy()
  await after.close()
})

test("keys, aliases, tags, states and Sign calls outlive the process; key files are the owner's alone", async () => {
  const dataDir = join(folder, "kept")
  const before = await start(dataDir)
  const writer = clientOf(before.url)
  const created = await writer.send(new CreateKeyCommand({ KeySpec: "ECC_NIST_P384", KeyUsage: "SIGN_VERIFY" }))
  const KeyId = created.KeyMetadata?.KeyId as string
  await writer.send(new CreateAliasCommand({ AliasName: "alias/kept", TargetKeyId: KeyId }))
  const Message = Buffer.from("m")
  await writer.send(new SignCommand({ KeyId, SigningAlgorithm: "ECDSA_SHA_384", Message }))
  const publicKey = await publicKeyOf(KeyId, writer)
  writer.destroy()
  await before.close()

  const files = readdirSync(join(dataDir, "keys"))
  expect(files).toEqual([`${KeyId}.p8`])
  expect(statSync(join(dataDir, "keys", `${KeyId}.p8`)).mode & 0o777).toBe(0o600)

  const after = await start(dataDir)
  const reader = clientOf(after.url)
  const signing = new SignCommand({ KeyId: "alias/kept", SigningAlgorithm: "ECDSA_SHA_384", Message })
  const { Signature } = await reader.send(signing)
  expect(crypto.verify("sha384", Message, publicKey, Signature as Uint8Array)).toBe(true)
  expect(after.signCalls()).toMatchObject([
    { keyId: KeyId, algorithm: "ECDSA_SHA_384", messageType: "RAW", accessKeyId: CREDENTIALS.accessKeyId },
    { keyId: KeyId },
  ])
  reader.destroy()
  await after.close()
})
