/**
 * All operations of the embedded KMS, one small function each. One file, because they share how a key is named, found
 * and refused by its state, and a reader compares them with the table of key states in AWS's documentation.
 */
import {
  createPublicKey,
  generateKeyPair,
  generateKeyPairSync,
  generateKeySync,
  type KeyObject,
  randomUUID,
} from "node:crypto"
import { promisify } from "node:util"
import { ALGORITHMS, type AlgorithmName, KEY_SPECS, type KeySpec, keySpecRow } from "./algorithms.ts"
import { encryptionContext, keyIdIn, openBlob, sealBlob } from "./ciphertext.ts"
import { KmsError } from "./errors.ts"
import type { Input } from "./input.ts"
import * as read from "./input.ts"
import { type MessageType, signWith, toBeSigned, verifyWith } from "./signing.ts"
import type { AliasRow, KeyRow, KmsStore } from "./store.ts"

export interface OperationContext {
  readonly store: KmsStore
  readonly region: string
  readonly accountId: string
  readonly now: Date
  readonly requestId: string
  readonly accessKeyId: string
}

type Output = Readonly<Record<string, unknown>>
type Operation = (input: Input, context: OperationContext) => Output | Promise<Output>

const MAX_RAW_BYTES = 4096
const MAX_SIGNATURE_BYTES = 6144
const MAX_CIPHERTEXT_BYTES = 6144
const DAY_MS = 24 * 3600 * 1000
const SPEC_NAMES = Object.keys(KEY_SPECS) as KeySpec[]
const PAIR_SPECS = SPEC_NAMES.filter((spec) => {
  const { rsaBits, curve } = keySpecRow(spec)
  return rsaBits !== undefined || curve !== undefined || spec === "ECC_NIST_EDWARDS25519"
})
const ALGORITHM_NAMES = Object.keys(ALGORITHMS) as AlgorithmName[]

/** The operations of AWS KMS that this emulator has, under their names on the wire. */
export const OPERATIONS: Readonly<Record<string, Operation>> = {
  CreateKey: createKey,
  DescribeKey: (input, context) => ({ KeyMetadata: metadata(findKey(input, context), context) }),
  GetPublicKey: getPublicKey,
  Sign: sign,
  Verify: verify,
  GenerateDataKeyPairWithoutPlaintext: generateDataKeyPair,
  Decrypt: decrypt,
  ListKeys: listKeys,
  CreateAlias: createAlias,
  UpdateAlias: updateAlias,
  DeleteAlias: deleteAlias,
  ListAliases: listAliases,
  TagResource: tagResource,
  UntagResource: untagResource,
  ListResourceTags: listResourceTags,
  PutKeyPolicy: putKeyPolicy,
  GetKeyPolicy: (input, context) => ({ Policy: findKeyById(input, context).policy, PolicyName: policyName(input) }),
  EnableKey: (input, context) => setState(input, context, "Enabled"),
  DisableKey: (input, context) => setState(input, context, "Disabled"),
  ScheduleKeyDeletion: scheduleKeyDeletion,
  CancelKeyDeletion: cancelKeyDeletion,
}

/** The ARN of the key that a request names, or "*" when it names none that exists. */
export function resourceOf(input: Input, context: OperationContext): string {
  const named = input.KeyId ?? input.TargetKeyId
  const key = typeof named === "string" ? lookUp(named, context) : undefined
  return key === undefined ? "*" : keyArn(key, context)
}

async function createKey(input: Input, context: OperationContext): Promise<Output> {
  const older = read.optionalText(input, "CustomerMasterKeySpec") as KeySpec | undefined
  const spec = read.oneOf(input, "KeySpec", SPEC_NAMES, older ?? "SYMMETRIC_DEFAULT")
  read.oneOf(input, "KeyUsage", [usageOf(spec)], "ENCRYPT_DECRYPT")
  read.oneOf(input, "Origin", ["AWS_KMS"], "AWS_KMS")
  if (read.flag(input, "MultiRegion")) throw new KmsError("ValidationException", "This emulator has one Region.")
  const tags = read.tags(input)
  const policy = read.optionalText(input, "Policy", 32768)
  const row: KeyRow = {
    id: randomUUID(),
    spec,
    createdMs: context.now.getTime(),
    state: "Enabled",
    deletionMs: null,
    description: read.optionalText(input, "Description", 8192) ?? "",
    policy: policy === undefined ? defaultPolicy(context) : read.policyDocument(policy),
  }
  context.store.addKey(row, await generateSecret(spec), tags)
  return { KeyMetadata: metadata(row, context) }
}

function getPublicKey(input: Input, context: OperationContext): Output {
  const key = usable(findKey(input, context), context)
  if (keySpecRow(key.spec).symmetric)
    throw new KmsError("UnsupportedOperationException", `${keyArn(key, context)} has no public key.`)
  return {
    KeyId: keyArn(key, context),
    PublicKey: createPublicKey(context.store.secret(key)).export({ format: "der", type: "spki" }).toString("base64"),
    CustomerMasterKeySpec: key.spec,
    KeySpec: key.spec,
    KeyUsage: "SIGN_VERIFY",
    SigningAlgorithms: keySpecRow(key.spec).algorithms,
  }
}

function sign(input: Input, context: OperationContext): Output {
  const { algorithm, messageType, message } = signingInput(input)
  const dryRun = read.flag(input, "DryRun")
  const key = findKey(input, context)
  const record = (errorCode: string | undefined) =>
    context.store.addSignCall({
      requestId: context.requestId,
      time: context.now,
      keyId: key.id,
      algorithm,
      messageType,
      accessKeyId: context.accessKeyId,
      errorCode,
    })
  try {
    const toSign = toBeSigned(fitting(usable(key, context), algorithm), messageType, message)
    if (dryRun)
      throw new KmsError("DryRunOperationException", "The request would have succeeded, but the DryRun option is set.")
    const signature = signWith(context.store.secret(key), algorithm, messageType, toSign)
    record(undefined)
    return {
      KeyId: keyArn(key, context),
      Signature: Buffer.from(signature).toString("base64"),
      SigningAlgorithm: algorithm,
    }
  } catch (error) {
    if (error instanceof KmsError) record(error.code)
    throw error
  }
}

function verify(input: Input, context: OperationContext): Output {
  const { algorithm, messageType, message } = signingInput(input)
  const signature = read.blob(input, "Signature", MAX_SIGNATURE_BYTES)
  const key = usable(findKey(input, context), context)
  const signed = toBeSigned(fitting(key, algorithm), messageType, message)
  if (read.flag(input, "DryRun")) {
    throw new KmsError("DryRunOperationException", "The request would have succeeded, but the DryRun option is set.")
  }
  if (!verifyWith(context.store.secret(key), algorithm, messageType, signed, signature)) {
    throw new KmsError("KMSInvalidSignatureException", "The signature does not verify.")
  }
  return { KeyId: keyArn(key, context), SignatureValid: true, SigningAlgorithm: algorithm }
}

/** A data key pair whose private part leaves in encrypted form alone: PKCS#8, DER, under the symmetric key. */
async function generateDataKeyPair(input: Input, context: OperationContext): Promise<Output> {
  const spec = read.oneOf(input, "KeyPairSpec", PAIR_SPECS)
  const key = symmetric(usable(findKey(input, context), context))
  const { privateKey, publicKey } = await generatePair(spec)
  const plaintext = privateKey.export({ format: "der", type: "pkcs8" })
  return {
    KeyId: keyArn(key, context),
    KeyPairSpec: spec,
    PublicKey: publicKey.export({ format: "der", type: "spki" }).toString("base64"),
    PrivateKeyCiphertextBlob: Buffer.from(
      sealBlob(context.store.secret(key), key.id, plaintext, encryptionContext(input)),
    ).toString("base64"),
  }
}

/** The key is named in the ciphertext; a request that names one must name the same. */
function decrypt(input: Input, context: OperationContext): Output {
  read.oneOf(input, "EncryptionAlgorithm", ["SYMMETRIC_DEFAULT"], "SYMMETRIC_DEFAULT")
  const blob = read.blob(input, "CiphertextBlob", MAX_CIPHERTEXT_BYTES)
  const key = context.store.key(keyIdIn(blob))
  if (key === undefined)
    throw new KmsError("InvalidCiphertextException", "The ciphertext names no key of this account.")
  if (input.KeyId !== undefined && findKey(input, context).id !== key.id)
    throw new KmsError("IncorrectKeyException", "The ciphertext is of another key.")
  const plaintext = openBlob(context.store.secret(symmetric(usable(key, context))), blob, encryptionContext(input))
  return {
    KeyId: keyArn(key, context),
    Plaintext: Buffer.from(plaintext).toString("base64"),
    EncryptionAlgorithm: "SYMMETRIC_DEFAULT",
  }
}

function symmetric(key: KeyRow): KeyRow {
  if (keySpecRow(key.spec).symmetric) return key
  throw new KmsError("InvalidKeyUsageException", `Key spec ${key.spec} does not encrypt.`)
}

function listKeys(input: Input, context: OperationContext): Output {
  const live = context.store.keys().filter((key) => !isPastDeletion(key, context))
  const page = read.pageOf(live, (key) => key.id, input, 1000)
  return {
    Keys: page.items.map((key) => ({ KeyId: key.id, KeyArn: keyArn(key, context) })),
    ...truncation(page.marker),
  }
}

function createAlias(input: Input, context: OperationContext): Output {
  const name = aliasName(input)
  const key = notPending(findKeyById(input, context, "TargetKeyId"), context)
  if (liveAlias(name, context) !== undefined) {
    throw new KmsError("AlreadyExistsException", `An alias with the name ${name} already exists.`)
  }
  context.store.putAlias(name, key.id, context.now.getTime())
  return {}
}

function updateAlias(input: Input, context: OperationContext): Output {
  const name = aliasName(input)
  const key = notPending(findKeyById(input, context, "TargetKeyId"), context)
  if (liveAlias(name, context) === undefined) throw notFound(`Alias ${name} is not found.`)
  context.store.putAlias(name, key.id, context.now.getTime())
  return {}
}

function deleteAlias(input: Input, context: OperationContext): Output {
  const name = aliasName(input)
  if (liveAlias(name, context) === undefined) throw notFound(`Alias ${name} is not found.`)
  context.store.deleteAlias(name)
  return {}
}

function listAliases(input: Input, context: OperationContext): Output {
  const keyId = input.KeyId === undefined ? undefined : findKeyById(input, context).id
  const matching = context.store
    .aliases()
    .filter((alias) => liveAlias(alias.name, context) && (keyId === undefined || alias.keyId === keyId))
  const page = read.pageOf(matching, (alias) => alias.name, input, 100)
  return {
    Aliases: page.items.map((alias) => ({
      AliasName: alias.name,
      AliasArn: arn(alias.name, context),
      TargetKeyId: alias.keyId,
      CreationDate: alias.createdMs / 1000,
      LastUpdatedDate: alias.updatedMs / 1000,
    })),
    ...truncation(page.marker),
  }
}

function tagResource(input: Input, context: OperationContext): Output {
  const key = notPending(findKeyById(input, context), context)
  const tags = read.tags(input)
  const names = new Set([...context.store.tags(key.id).map((tag) => tag.name), ...tags.map(([name]) => name)])
  if (names.size > 50) throw new KmsError("TagException", "A key has at most 50 tags.")
  for (const [name, value] of tags) context.store.putTag(key.id, name, value)
  return {}
}

function untagResource(input: Input, context: OperationContext): Output {
  const key = notPending(findKeyById(input, context), context)
  for (const name of read.list(input, "TagKeys")) {
    if (typeof name !== "string") throw new KmsError("SerializationException", "TagKeys must hold strings.")
    context.store.deleteTag(key.id, name)
  }
  return {}
}

function listResourceTags(input: Input, context: OperationContext): Output {
  const key = findKeyById(input, context)
  const page = read.pageOf(context.store.tags(key.id), (tag) => tag.name, input, 50)
  return {
    Tags: page.items.map((tag) => ({ TagKey: tag.name, TagValue: tag.value })),
    ...truncation(page.marker),
  }
}

function putKeyPolicy(input: Input, context: OperationContext): Output {
  policyName(input)
  const key = findKeyById(input, context)
  context.store.changePolicy(key.id, read.policyDocument(read.text(input, "Policy", 32768)))
  return {}
}

function setState(input: Input, context: OperationContext, state: "Enabled" | "Disabled"): Output {
  const key = notPending(findKeyById(input, context), context)
  context.store.changeKey(key.id, { state, deletionMs: null })
  return {}
}

function scheduleKeyDeletion(input: Input, context: OperationContext): Output {
  const key = notPending(findKeyById(input, context), context)
  const days = read.integer(input, "PendingWindowInDays", 7, 30, 30)
  const deletionMs = context.now.getTime() + days * DAY_MS
  context.store.changeKey(key.id, { state: "PendingDeletion", deletionMs })
  return {
    KeyId: keyArn(key, context),
    DeletionDate: deletionMs / 1000,
    KeyState: "PendingDeletion",
    PendingWindowInDays: days,
  }
}

function cancelKeyDeletion(input: Input, context: OperationContext): Output {
  const key = findKeyById(input, context)
  if (key.state !== "PendingDeletion") {
    throw new KmsError("KMSInvalidStateException", `${keyArn(key, context)} is not pending deletion.`)
  }
  context.store.changeKey(key.id, { state: "Disabled", deletionMs: null })
  return { KeyId: keyArn(key, context) }
}

function signingInput(input: Input) {
  return {
    algorithm: read.oneOf(input, "SigningAlgorithm", ALGORITHM_NAMES),
    messageType: read.oneOf<MessageType>(input, "MessageType", ["RAW", "DIGEST", "EXTERNAL_MU"], "RAW"),
    message: read.blob(input, "Message", MAX_RAW_BYTES),
  }
}

/** By id, key ARN, alias name or alias ARN. */
function findKey(input: Input, context: OperationContext): KeyRow {
  const named = read.text(input, "KeyId")
  const key = lookUp(named, context)
  if (key === undefined) throw notFound(`Key '${named}' does not exist.`)
  return key
}

/** By id or key ARN: operations that manage a key take no alias. */
function findKeyById(input: Input, context: OperationContext, member = "KeyId"): KeyRow {
  const named = read.text(input, member)
  const key = named.includes("alias/") ? undefined : lookUp(named, context)
  if (key === undefined) throw notFound(`Key '${named}' does not exist.`)
  return key
}

function lookUp(named: string, context: OperationContext): KeyRow | undefined {
  const id = keyIdOf(named, context)
  const key = id === undefined ? undefined : context.store.key(id)
  if (key === undefined || !isPastDeletion(key, context)) return key
  context.store.deleteKey(key.id)
  return undefined
}

function keyIdOf(named: string, context: OperationContext): string | undefined {
  const prefix = arn("", context)
  const isArn = named.startsWith("arn:")
  if (isArn && !named.startsWith(prefix)) return undefined
  const local = isArn ? named.slice(prefix.length) : named
  if (local.startsWith("alias/")) return context.store.alias(local)?.keyId
  if (!isArn) return local
  return local.startsWith("key/") ? local.slice("key/".length) : undefined
}

function liveAlias(name: string, context: OperationContext): AliasRow | undefined {
  return lookUp(name, context) === undefined ? undefined : context.store.alias(name)
}

function isPastDeletion(key: KeyRow, context: OperationContext): boolean {
  return key.deletionMs !== null && key.deletionMs <= context.now.getTime()
}

function usable(key: KeyRow, context: OperationContext): KeyRow {
  if (key.state === "Disabled") throw new KmsError("DisabledException", `${keyArn(key, context)} is disabled.`)
  return notPending(key, context)
}

function notPending(key: KeyRow, context: OperationContext): KeyRow {
  if (key.state !== "PendingDeletion") return key
  throw new KmsError("KMSInvalidStateException", `${keyArn(key, context)} is pending deletion.`)
}

function fitting(key: KeyRow, algorithm: AlgorithmName): AlgorithmName {
  if (keySpecRow(key.spec).algorithms.includes(algorithm)) return algorithm
  throw new KmsError("InvalidKeyUsageException", `Algorithm ${algorithm} is incompatible with key spec ${key.spec}.`)
}

function aliasName(input: Input): string {
  const name = read.text(input, "AliasName", 256)
  if (/^alias\/[a-zA-Z0-9/_-]+$/.test(name) && !name.startsWith("alias/aws/")) return name
  throw new KmsError("InvalidAliasNameException", "An alias is alias/ and letters, digits, /, _ or -.")
}

function policyName(input: Input): string {
  return read.oneOf(input, "PolicyName", ["default"], "default")
}

function metadata(key: KeyRow, context: OperationContext): Output {
  return {
    AWSAccountId: context.accountId,
    KeyId: key.id,
    Arn: keyArn(key, context),
    CreationDate: key.createdMs / 1000,
    Enabled: key.state === "Enabled",
    Description: key.description,
    KeyUsage: usageOf(key.spec),
    KeyState: key.state,
    ...(key.deletionMs === null ? {} : { DeletionDate: key.deletionMs / 1000 }),
    Origin: "AWS_KMS",
    KeyManager: "CUSTOMER",
    CustomerMasterKeySpec: key.spec,
    KeySpec: key.spec,
    ...(keySpecRow(key.spec).symmetric
      ? { EncryptionAlgorithms: ["SYMMETRIC_DEFAULT"] }
      : { SigningAlgorithms: keySpecRow(key.spec).algorithms }),
    MultiRegion: false,
  }
}

function truncation(marker: string | undefined): Output {
  return marker === undefined ? { Truncated: false } : { Truncated: true, NextMarker: marker }
}

function keyArn(key: KeyRow, context: OperationContext): string {
  return arn(`key/${key.id}`, context)
}

function arn(resource: string, context: OperationContext): string {
  return `arn:aws:kms:${context.region}:${context.accountId}:${resource}`
}

function notFound(detail: string): KmsError {
  return new KmsError("NotFoundException", detail)
}

function defaultPolicy(context: OperationContext): string {
  return JSON.stringify({
    Version: "2012-10-17",
    Id: "key-default-1",
    Statement: [
      {
        Sid: "Enable IAM User Permissions",
        Effect: "Allow",
        Principal: { AWS: `arn:aws:iam::${context.accountId}:root` },
        Action: "kms:*",
        Resource: "*",
      },
    ],
  })
}

const generate = promisify(generateKeyPair)

async function generateSecret(spec: KeySpec): Promise<KeyObject> {
  if (keySpecRow(spec).symmetric) return generateKeySync("aes", { length: 256 })
  return (await generatePair(spec)).privateKey
}

async function generatePair(spec: KeySpec): Promise<{ readonly privateKey: KeyObject; readonly publicKey: KeyObject }> {
  const { curve, rsaBits, mlDsa } = keySpecRow(spec)
  if (curve !== undefined) return await generate("ec", { namedCurve: curve })
  if (rsaBits !== undefined) return await generate("rsa", { modulusLength: rsaBits })
  return mlDsa === undefined ? await generate("ed25519") : generateKeyPairSync(mlDsa)
}

function usageOf(spec: KeySpec): "SIGN_VERIFY" | "ENCRYPT_DECRYPT" {
  return keySpecRow(spec).symmetric ? "ENCRYPT_DECRYPT" : "SIGN_VERIFY"
}
