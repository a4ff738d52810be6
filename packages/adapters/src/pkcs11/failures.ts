import { type ErrorCode, ServiceError } from "@sealwright/core/errors"
import { CKR, isCryptokiError } from "./cryptoki.ts"

/**
 * Answers after which the session, the login or the connection to the token is gone, while the key may well be usable through a new one. p11-kit
 * tells a cut connection as DEVICE_ERROR, then as DEVICE_REMOVED.
 */
const CUT: ReadonlySet<number> = new Set([
  CKR.CRYPTOKI_NOT_INITIALIZED,
  CKR.DEVICE_ERROR,
  CKR.DEVICE_REMOVED,
  CKR.GENERAL_ERROR,
  CKR.SESSION_CLOSED,
  CKR.SESSION_HANDLE_INVALID,
  CKR.SLOT_ID_INVALID,
  CKR.TOKEN_NOT_PRESENT,
  CKR.TOKEN_NOT_RECOGNIZED,
  CKR.USER_NOT_LOGGED_IN,
])

export function isCut(error: unknown): boolean {
  return error instanceof TokenAway || (isCryptokiError(error) && CUT.has(error.code))
}

/**
 * A token that was there is not in the module's list now. p11-kit's client says so for as long as it was initialised while nobody served: an empty
 * list, and no error.
 */
export class TokenAway extends ServiceError {
  constructor(cause: ServiceError) {
    super("SIGNER_UNAVAILABLE", cause.message, { cause })
  }
}

/** Answers about the key that was asked for; the session stays as good as it was. */
const CODES: ReadonlyMap<number, ErrorCode> = new Map([
  [CKR.KEY_HANDLE_INVALID, "KEY_NOT_USABLE"],
  [CKR.OBJECT_HANDLE_INVALID, "KEY_NOT_USABLE"],
  [CKR.KEY_FUNCTION_NOT_PERMITTED, "KEY_NOT_USABLE"],
  [CKR.KEY_TYPE_INCONSISTENT, "KEY_NOT_USABLE"],
  [CKR.KEY_SIZE_RANGE, "KEY_NOT_USABLE"],
  [CKR.MECHANISM_INVALID, "ALGORITHM_UNSUPPORTED"],
  [CKR.MECHANISM_PARAM_INVALID, "ALGORITHM_UNSUPPORTED"],
  [CKR.CURVE_NOT_SUPPORTED, "ALGORITHM_UNSUPPORTED"],
  // What a token says that makes no such key, or none that is not to stay: tpm2-pkcs11 has no session objects.
  [CKR.ATTRIBUTE_TYPE_INVALID, "ALGORITHM_UNSUPPORTED"],
  [CKR.ATTRIBUTE_VALUE_INVALID, "ALGORITHM_UNSUPPORTED"],
  [CKR.TEMPLATE_INCOMPLETE, "ALGORITHM_UNSUPPORTED"],
  [CKR.TEMPLATE_INCONSISTENT, "ALGORITHM_UNSUPPORTED"],
  [CKR.TOKEN_WRITE_PROTECTED, "KEY_NOT_USABLE"],
])

export function isAboutKey(error: unknown): boolean {
  return isCryptokiError(error) && CODES.has(error.code)
}

export function isHandleInvalid(error: unknown): boolean {
  return isCryptokiError(error) && (error.code === CKR.KEY_HANDLE_INVALID || error.code === CKR.OBJECT_HANDLE_INVALID)
}

/** @returns the module's answer as a code of ours; any other error as it is */
export function failureOf(error: unknown): unknown {
  if (!isCryptokiError(error)) return error
  const code = CODES.get(error.code)
  if (code !== undefined) return new ServiceError(code, `the token refuses: ${error.message}`, { cause: error })
  return new ServiceError("SIGNER_UNAVAILABLE", `the token did not answer: ${error.message}`, { cause: error })
}
