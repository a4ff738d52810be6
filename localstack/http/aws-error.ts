/** A refusal in AWS's own words; each service writes it in its own wire form. */
export class AwsError extends Error {
  /** AWS's name of the error, such as "ConditionalCheckFailedException" */
  readonly code: string
  readonly status: number
  /** further members of the error's body (DynamoDB: Item, CancellationReasons; S3: Key, BucketName) */
  readonly members: Readonly<Record<string, unknown>>

  constructor(code: string, message: string, status = 400, members: Readonly<Record<string, unknown>> = {}) {
    super(message)
    this.name = "AwsError"
    this.code = code
    this.status = status
    this.members = members
  }
}

/** Reads what a callback of another part threw: any error with an AWS `code` and, if it has one, a `status`. */
export function asAwsError(error: unknown, codeForUnknown: string): AwsError {
  if (error instanceof AwsError) return error
  if (error instanceof Error && "code" in error && typeof error.code === "string" && "status" in error) {
    return new AwsError(error.code, error.message, Number(error.status))
  }
  return new AwsError(codeForUnknown, "internal error", 500)
}

export function isConnectionCut(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ECONNRESET"
}
