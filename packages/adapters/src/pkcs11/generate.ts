import type { SignatureScheme } from "@sealwright/formats/algorithms"
import { type Attribute, CKA, CKK, CKO, type Cryptoki, type KeyPairHandles } from "./cryptoki.ts"
import { keyKind } from "./mechanisms.ts"
import type { Session } from "./token.ts"

/** Under which a token object stands; a session object has no name. */
export interface KeyName {
  readonly label: string
  readonly id: Uint8Array
}

/**
 * Makes a key pair whose private half never leaves the token: sensitive, not extractable, for signing alone. Nothing is said of what the public half
 * may do: it is used outside, and tpm2-pkcs11 finds CKA_VERIFY at odds with a private key that does not decrypt.
 *
 * An RSA pair is made on a thread, since it takes seconds. So is everything that stays. A pair on a curve for one act takes a token about as long as a
 * signature, and pkcs11js loses the memory of its templates at each call on a thread (its issue 120), which a service that signs all day can't
 * afford: it is made at once.
 */
export async function generate(
  cryptoki: Cryptoki,
  session: Session,
  scheme: SignatureScheme,
  name?: KeyName,
): Promise<KeyPairHandles> {
  const { mechanism, keyType, publicAttributes, denied } = keyKind(scheme)
  const common: Attribute[] = [
    { type: CKA.KEY_TYPE, value: keyType },
    { type: CKA.TOKEN, value: name !== undefined },
    ...(name === undefined
      ? []
      : [
          { type: CKA.LABEL, value: Buffer.from(name.label) },
          { type: CKA.ID, value: Buffer.from(name.id) },
        ]),
  ]
  const publicTemplate = [
    { type: CKA.CLASS, value: CKO.PUBLIC_KEY },
    ...common,
    { type: CKA.PRIVATE, value: false },
    ...publicAttributes,
  ]
  const privateTemplate = [
    { type: CKA.CLASS, value: CKO.PRIVATE_KEY },
    ...common,
    { type: CKA.PRIVATE, value: true },
    { type: CKA.SENSITIVE, value: true },
    { type: CKA.EXTRACTABLE, value: false },
    { type: CKA.SIGN, value: true },
    ...denied.map((type) => ({ type, value: false })),
  ]
  return name !== undefined || keyType === CKK.RSA
    ? await cryptoki.C_GenerateKeyPairAsync(session.handle, { mechanism }, publicTemplate, privateTemplate)
    : cryptoki.C_GenerateKeyPair(session.handle, { mechanism }, publicTemplate, privateTemplate)
}
