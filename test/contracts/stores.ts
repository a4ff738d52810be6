import { DynamoDBClient } from "@aws-sdk/client-dynamodb"
import { S3Client } from "@aws-sdk/client-s3"

/** The account of no one: endpoints of tests let everybody in, or know these keys. */
const ANYONE = {
  region: "us-east-1",
  credentials: { accessKeyId: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "test" },
  maxAttempts: 1,
}

export function dynamoDbAt(endpoint: string): DynamoDBClient {
  return new DynamoDBClient({ ...ANYONE, endpoint })
}

export function s3At(endpoint: string): S3Client {
  return new S3Client({ ...ANYONE, endpoint, forcePathStyle: true })
}

/** The error that a call is expected to end with. */
export async function failure(call: Promise<unknown>): Promise<{ name: string; [member: string]: unknown }> {
  try {
    await call
  } catch (error) {
    return error as { name: string }
  }
  throw new Error("the call succeeded, an error was expected")
}
