import { AwsError } from "../http/aws-error.ts"

/** Status and text of the S3 errors that this subset answers. */
const ERRORS = {
  BadDigest: [400, "The checksum or Content-MD5 you specified did not match what was received."],
  BucketAlreadyOwnedByYou: [409, "Your previous request to create the named bucket succeeded and you already own it."],
  BucketNotEmpty: [409, "The bucket you tried to delete is not empty"],
  EntityTooLarge: [400, "Your proposed upload exceeds the maximum allowed size"],
  IllegalVersioningConfigurationException: [400, "The versioning configuration specified in the request is invalid."],
  IncompleteBody: [400, "The request body terminated unexpectedly"],
  InvalidArgument: [400, "Invalid Argument"],
  InvalidBucketName: [400, "The specified bucket is not valid."],
  InvalidRange: [416, "The requested range is not satisfiable"],
  InvalidRequest: [400, "Invalid Request"],
  InvalidURI: [400, "Couldn't parse the specified URI."],
  KeyTooLongError: [400, "Your key is too long"],
  MalformedXML: [400, "The XML you provided was not well-formed or did not validate against our published schema"],
  MetadataTooLarge: [400, "Your metadata headers exceed the maximum allowed metadata size"],
  MethodNotAllowed: [405, "The specified method is not allowed against this resource."],
  NoSuchBucket: [404, "The specified bucket does not exist"],
  NoSuchKey: [404, "The specified key does not exist."],
  NoSuchVersion: [404, "The specified version does not exist."],
  NotImplemented: [501, "A header or parameter you provided implies functionality that is not implemented"],
  PreconditionFailed: [412, "At least one of the pre-conditions you specified did not hold"],
  XAmzContentSHA256Mismatch: [400, "The provided 'x-amz-content-sha256' header does not match what was computed."],
} as const satisfies Record<string, readonly [number, string]>

export type S3ErrorCode = keyof typeof ERRORS

/** @param members further elements of the error document, such as Key or Condition; `headers` go into the answer's head */
export function s3Error(
  code: S3ErrorCode,
  members: Readonly<Record<string, string>> = {},
  headers: Readonly<Record<string, string>> = {},
): S3Error {
  const [status, message] = ERRORS[code]
  return new S3Error(code, message, status, members, headers)
}

export class S3Error extends AwsError {
  readonly headers: Readonly<Record<string, string>>

  constructor(
    code: string,
    message: string,
    status: number,
    members: Readonly<Record<string, string>>,
    headers: Readonly<Record<string, string>>,
  ) {
    super(code, message, status, members)
    this.name = "S3Error"
    this.headers = headers
  }
}
