/** A CK_ULONG that names a slot, a session or an object, in the host's byte order. */
export type Handle = Buffer

export interface Mechanism {
  readonly mechanism: number
  readonly parameter?: { readonly type: number; readonly [name: string]: number }
}

export interface Attribute {
  readonly type: number
  readonly value?: Buffer | number | boolean | string
}

/**
 * What this home needs of a PKCS #11 v2.40 module, under the names of the specification. `load.ts` gives a real one. Calls block the event loop, but
 * for the two that end in `Async`, which run on a thread of libuv. They throw `CryptokiError`s.
 */
export interface Cryptoki {
  C_Initialize(options: { readonly flags: number }): void
  C_Finalize(): void
  C_GetSlotList(tokenPresent: boolean): readonly Handle[]
  C_GetTokenInfo(slot: Handle): { readonly label: string; readonly flags: number }
  C_GetMechanismList(slot: Handle): readonly number[]
  C_OpenSession(slot: Handle, flags: number): Handle
  C_CloseSession(session: Handle): void
  C_GetSessionInfo(session: Handle): { readonly state: number }
  C_Login(session: Handle, userType: number, pin: string): void
  C_FindObjectsInit(session: Handle, template: readonly Attribute[]): void
  C_FindObjects(session: Handle, maxObjects: number): readonly Handle[]
  C_FindObjectsFinal(session: Handle): void
  C_GetAttributeValue(
    session: Handle,
    object: Handle,
    template: readonly { readonly type: number }[],
  ): readonly { readonly value: Buffer }[]
  C_GenerateKeyPair(
    session: Handle,
    mechanism: Mechanism,
    publicTemplate: readonly Attribute[],
    privateTemplate: readonly Attribute[],
  ): KeyPairHandles
  C_GenerateKeyPairAsync(
    session: Handle,
    mechanism: Mechanism,
    publicTemplate: readonly Attribute[],
    privateTemplate: readonly Attribute[],
  ): Promise<KeyPairHandles>
  C_DestroyObject(session: Handle, object: Handle): void
  C_SignInit(session: Handle, mechanism: Mechanism, key: Handle): void
  /** @param message may be read, and `signature` written, until the promise settles: the caller keeps both from the garbage collector till then */
  C_SignAsync(session: Handle, message: Buffer, signature: Buffer): Promise<Buffer>
}

export interface KeyPairHandles {
  readonly publicKey: Handle
  readonly privateKey: Handle
}

/** What a module answers in place of CKR_OK. The message is the constant's name, `CKR_VENDOR_DEFINED` for a number of its own. */
export interface CryptokiError extends Error {
  readonly code: number
}

export function isCryptokiError(error: unknown): error is CryptokiError {
  return error instanceof Error && error.message.startsWith("CKR_") && "code" in error && typeof error.code === "number"
}

/** Return values (PKCS #11 v2.40 §5.1) that this home tells apart. */
export const CKR = {
  GENERAL_ERROR: 0x5,
  ATTRIBUTE_TYPE_INVALID: 0x12,
  ATTRIBUTE_VALUE_INVALID: 0x13,
  DEVICE_ERROR: 0x30,
  DEVICE_MEMORY: 0x31,
  DEVICE_REMOVED: 0x32,
  KEY_HANDLE_INVALID: 0x60,
  KEY_SIZE_RANGE: 0x62,
  KEY_TYPE_INCONSISTENT: 0x63,
  KEY_FUNCTION_NOT_PERMITTED: 0x68,
  MECHANISM_INVALID: 0x70,
  MECHANISM_PARAM_INVALID: 0x71,
  OBJECT_HANDLE_INVALID: 0x82,
  PIN_INCORRECT: 0xa0,
  PIN_INVALID: 0xa1,
  PIN_LEN_RANGE: 0xa2,
  PIN_EXPIRED: 0xa3,
  PIN_LOCKED: 0xa4,
  SESSION_CLOSED: 0xb0,
  SESSION_HANDLE_INVALID: 0xb3,
  SLOT_ID_INVALID: 0x3,
  TEMPLATE_INCOMPLETE: 0xd0,
  TEMPLATE_INCONSISTENT: 0xd1,
  TOKEN_NOT_PRESENT: 0xe0,
  TOKEN_NOT_RECOGNIZED: 0xe1,
  TOKEN_WRITE_PROTECTED: 0xe2,
  USER_ALREADY_LOGGED_IN: 0x100,
  USER_NOT_LOGGED_IN: 0x101,
  CURVE_NOT_SUPPORTED: 0x140,
  CRYPTOKI_NOT_INITIALIZED: 0x190,
  CRYPTOKI_ALREADY_INITIALIZED: 0x191,
} as const

export const CKF = {
  /** of C_Initialize: the module may use the system's own locks, since calls come from several threads */
  OS_LOCKING_OK: 0x2,
  /** of a session */
  RW_SESSION: 0x2,
  SERIAL_SESSION: 0x4,
  /** of a token */
  TOKEN_INITIALIZED: 0x400,
  USER_PIN_FINAL_TRY: 0x20000,
  USER_PIN_LOCKED: 0x40000,
} as const

export const CKU_USER = 1
/** States of a session in which the user is logged in: CKS_RO_USER_FUNCTIONS, CKS_RW_USER_FUNCTIONS */
export const CKS_USER: ReadonlySet<number> = new Set([1, 3])

export const CKO = { PUBLIC_KEY: 0x2, PRIVATE_KEY: 0x3 } as const
export const CKK = { RSA: 0x0, EC: 0x3, EC_EDWARDS: 0x40 } as const

export const CKA = {
  CLASS: 0x0,
  TOKEN: 0x1,
  PRIVATE: 0x2,
  LABEL: 0x3,
  KEY_TYPE: 0x100,
  ID: 0x102,
  SENSITIVE: 0x103,
  DECRYPT: 0x105,
  UNWRAP: 0x107,
  SIGN: 0x108,
  DERIVE: 0x10c,
  MODULUS: 0x120,
  MODULUS_BITS: 0x121,
  PUBLIC_EXPONENT: 0x122,
  EXTRACTABLE: 0x162,
  EC_PARAMS: 0x180,
  EC_POINT: 0x181,
} as const

export function readUlong(value: Buffer): number {
  if (value.length === 8) return Number(value.readBigUInt64LE())
  return value.length === 4 ? value.readUInt32LE() : Number.NaN
}
