const HTTP_STATUS = {
  AccessDeniedException: 400,
  AlreadyExistsException: 400,
  DisabledException: 409,
  DryRunOperationException: 412,
  IncompleteSignatureException: 400,
  IncorrectKeyException: 400,
  InvalidAliasNameException: 400,
  InvalidArnException: 400,
  InvalidCiphertextException: 400,
  InvalidKeyUsageException: 400,
  InvalidMarkerException: 400,
  InvalidSignatureException: 400,
  KMSInternalException: 500,
  KMSInvalidSignatureException: 400,
  KMSInvalidStateException: 409,
  MalformedPolicyDocumentException: 400,
  MissingAuthenticationTokenException: 400,
  NotFoundException: 400,
  RequestEntityTooLargeException: 413,
  SerializationException: 400,
  TagException: 400,
  ThrottlingException: 400,
  UnknownOperationException: 400,
  UnrecognizedClientException: 400,
  UnsupportedOperationException: 400,
  ValidationException: 400,
} as const

export type KmsErrorCode = keyof typeof HTTP_STATUS

/** A refusal under AWS KMS's own name. A fault hook may throw one to have it sent. */
export class KmsError extends Error {
  override readonly name = "KmsError"
  readonly code: KmsErrorCode
  readonly status: number

  constructor(code: KmsErrorCode, detail: string) {
    super(detail)
    this.code = code
    this.status = HTTP_STATUS[code]
  }
}
