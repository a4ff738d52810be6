import { createHash, createPublicKey, verify } from "node:crypto"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, beforeAll, expect, test } from "vitest"
import { functionRole } from "../../localstack/people.ts"
import { type Outcome, run, withClients } from "../support/clients.ts"
import { REGION, startDeployment, type TestDeployment } from "./deployment.ts"

withClients("R32: the AWS CLI against the embedded parts", ["aws"], (aws) => {
  let deployment: TestDeployment

  beforeAll(async () => {
    deployment = await startDeployment()
  }, 60_000)

  afterAll(() => deployment?.close())

  function cli(args: readonly string[], more: { readonly [name: string]: string } = {}): Promise<Outcome> {
    const { endpoints, keys } = deployment.service
    const pair = keys[functionRole("publish")]
    return run(
      aws,
      [...args, "--output", "json"],
      {
        HOME: deployment.folder,
        AWS_DEFAULT_REGION: REGION,
        AWS_ACCESS_KEY_ID: pair?.accessKeyId ?? "",
        AWS_SECRET_ACCESS_KEY: pair?.secretAccessKey ?? "",
        AWS_ENDPOINT_URL_DYNAMODB: endpoints.dynamodb,
        AWS_ENDPOINT_URL_S3: endpoints.s3,
        AWS_ENDPOINT_URL_KMS: endpoints.kms,
        AWS_EC2_METADATA_DISABLED: "true",
        ...more,
      },
      deployment.folder,
    )
  }

  // biome-ignore lint/suspicious/noExplicitAny: answers are read by name, and a missing member fails
  async function must(...args: readonly string[]): Promise<any> {
    const { status, stdout, stderr } = await cli(args)
    if (status !== 0) throw new Error(`aws ${args.slice(0, 2).join(" ")}: ${stderr}`)
    return stdout.trim() === "" ? undefined : JSON.parse(stdout)
  }

  /** The error code that a refused call ends with. */
  async function refusal(...args: readonly string[]): Promise<string> {
    const { status, stderr } = await cli(args)
    expect(status).not.toBe(0)
    return /An error occurred \((\w+)\)/.exec(stderr)?.[1] ?? stderr
  }

  test("DynamoDB: tables, conditions, transactions, queries", async () => {
    const table = ["--table-name", "from-the-cli"]
    const definitions = ["AttributeName=pk,AttributeType=S", "AttributeName=sk,AttributeType=S"]
    const schema = ["AttributeName=pk,KeyType=HASH", "AttributeName=sk,KeyType=RANGE"]
    const shape = [
      "--attribute-definitions",
      ...definitions,
      "--key-schema",
      ...schema,
      "--billing-mode",
      "PAY_PER_REQUEST",
    ]
    expect((await must("dynamodb", "create-table", ...table, ...shape)).TableDescription.TableName).toBe("from-the-cli")
    await must("dynamodb", "wait", "table-exists", ...table)
    const item = (sk: string) => ({ pk: { S: "a" }, sk: { S: sk }, n: { N: "7" } })
    const put = (sk: string, ...more: readonly string[]) => [
      "dynamodb",
      "put-item",
      ...table,
      "--item",
      JSON.stringify(item(sk)),
      ...more,
    ]
    await must(...put("1"))
    const absent = ["--condition-expression", "attribute_not_exists(pk)"]
    expect(await refusal(...put("1", ...absent))).toBe("ConditionalCheckFailedException")
    const writes = (...sks: readonly string[]) => [
      "--transact-items",
      JSON.stringify(
        sks.map((sk) => ({
          Put: { TableName: "from-the-cli", Item: item(sk), ConditionExpression: "attribute_not_exists(pk)" },
        })),
      ),
    ]
    await must("dynamodb", "transact-write-items", ...writes("2", "3"))
    expect(await refusal("dynamodb", "transact-write-items", ...writes("4", "3"))).toBe("TransactionCanceledException")
    const values = ["--expression-attribute-values", JSON.stringify({ ":p": { S: "a" } })]
    const { Items } = await must("dynamodb", "query", ...table, "--key-condition-expression", "pk = :p", ...values)
    expect(Items).toEqual(["1", "2", "3"].map(item))
  })

  test("S3: conditional writes, ranges, versions, and the high-level copy", async () => {
    const file = join(deployment.folder, "object.txt")
    writeFileSync(file, "0123456789")
    const { bucket } = deployment.service
    const object = ["--bucket", bucket, "--key", "cli/object.txt"]
    const { ETag } = await must("s3api", "put-object", ...object, "--body", file, "--if-none-match", "*")
    expect(await refusal("s3api", "put-object", ...object, "--body", file, "--if-none-match", "*")).toBe(
      "PreconditionFailed",
    )
    await must("s3api", "put-object", ...object, "--body", file, "--if-match", ETag)
    const part = join(deployment.folder, "part.txt")
    expect((await must("s3api", "get-object", ...object, "--range", "bytes=2-5", part)).ContentLength).toBe(4)
    expect(readFileSync(part, "utf8")).toBe("2345")
    const { Versions } = await must("s3api", "list-object-versions", "--bucket", bucket, "--prefix", "cli/")
    expect(Versions).toHaveLength(2)
    const copy = join(deployment.folder, "copy.txt")
    expect(await cli(["s3", "cp", file, `s3://${bucket}/cli/copied.txt`])).toMatchObject({ status: 0 })
    expect(await cli(["s3", "cp", `s3://${bucket}/cli/copied.txt`, copy])).toMatchObject({ status: 0 })
    expect(readFileSync(copy, "utf8")).toBe("0123456789")
    expect(await refusal("s3api", "get-object", "--bucket", bucket, "--key", "cli/none", copy)).toBe("NoSuchKey")
  })

  test("KMS: a key signs a digest, Node verifies it; misuse is refused", async () => {
    const spec = ["--key-spec", "ECC_NIST_P256", "--key-usage", "SIGN_VERIFY"]
    const { KeyId } = (await must("kms", "create-key", ...spec)).KeyMetadata
    const message = Buffer.from("signed from the command line")
    const digestFile = join(deployment.folder, "digest.bin")
    writeFileSync(digestFile, createHash("sha256").update(message).digest())
    const sign = (path: string, ...more: readonly string[]) => [
      ...["kms", "sign", "--key-id", KeyId, "--message", `fileb://${path}`, "--message-type", "DIGEST"],
      ...["--signing-algorithm", "ECDSA_SHA_256", ...more],
    ]
    const { Signature } = await must(...sign(digestFile))
    const { PublicKey } = await must("kms", "get-public-key", "--key-id", KeyId)
    const key = createPublicKey({ key: Buffer.from(PublicKey, "base64"), format: "der", type: "spki" })
    expect(verify("sha256", message, key, Buffer.from(Signature, "base64"))).toBe(true)
    const short = join(deployment.folder, "short.bin")
    writeFileSync(short, Buffer.alloc(20))
    expect(await refusal(...sign(short))).toBe("ValidationException")
    await must("kms", "disable-key", "--key-id", KeyId)
    expect(await refusal(...sign(digestFile))).toBe("DisabledException")
  })

  test("every part refuses a wrong secret", async () => {
    const wrong = { AWS_SECRET_ACCESS_KEY: "x".repeat(40) }
    for (const args of [
      ["dynamodb", "list-tables"],
      ["s3api", "list-buckets"],
      ["kms", "list-keys"],
    ]) {
      const { status, stderr } = await cli(args, wrong)
      expect(status).not.toBe(0)
      expect(stderr).toMatch(/\((InvalidSignatureException|SignatureDoesNotMatch)\)/)
      expect(await cli(args)).toMatchObject({ status: 0 })
    }
  })
})
