import { createPrivateKey, createPublicKey } from "node:crypto"
import { ServiceError } from "@sealwright/core/errors"
import { FormatError } from "@sealwright/formats/errors"
import { pemBlocks } from "@sealwright/formats/pem"
import { KEY_LABEL, MAX_KEY_BYTES, parseEncryptedPrivateKey, parsePrivateKeyInfo } from "@sealwright/formats/pkcs8"
import { decryptKey } from "./key-encryption.ts"
import type { KeyPair } from "./key-pair.ts"

/** What `openssl ecparam -genkey` writes before the key; the key names its curve itself. */
const EC_PARAMETERS = "EC PARAMETERS"
const FORMS = { [KEY_LABEL.sec1]: "sec1", [KEY_LABEL.pkcs1]: "pkcs1" } as const

/**
 * Reads a private key that another tool wrote, in PEM: PKCS #8, plain or encrypted as `parseEncryptedPrivateKey` reads it, SEC 1 or PKCS #1. PEM that is
 * itself encrypted (`Proc-Type: 4,ENCRYPTED`) is refused: its key comes from one pass of MD5.
 * @param password asked for when the key is encrypted
 * @throws ServiceError KEY_FILE_MALFORMED, KEY_PASSWORD_WRONG
 */
export async function readPrivateKeyPem(text: string, password: () => Promise<string>): Promise<KeyPair> {
  try {
    const blocks = pemBlocks(text)
    const [block, ...more] = blocks[0]?.label === EC_PARAMETERS ? blocks.slice(1) : blocks
    if (block === undefined || more.length > 0) throw malformed("the file does not hold one key")
    const { label, der } = block
    if (label === KEY_LABEL.encrypted)
      return pairOf(await decryptKey(parseEncryptedPrivateKey(der), await password()), "pkcs8")
    if (der.length > MAX_KEY_BYTES) throw malformed("the key has more than 16 KiB")
    if (label === KEY_LABEL.pkcs8) {
      parsePrivateKeyInfo(der)
      return pairOf(der, "pkcs8")
    }
    if (label === KEY_LABEL.sec1 || label === KEY_LABEL.pkcs1) return pairOf(der, FORMS[label])
    throw malformed(`the file holds no private key but ${label}`)
  } catch (error) {
    if (error instanceof FormatError) throw malformed(error.message, error)
    throw error
  }
}

/** @param der wiped */
function pairOf(der: Uint8Array, type: "pkcs8" | "sec1" | "pkcs1"): KeyPair {
  try {
    const key = Buffer.from(der.buffer, der.byteOffset, der.length)
    const privateKey = createPrivateKey({ key, format: "der", type })
    return { privateKey, publicKey: createPublicKey(privateKey) }
  } catch (error) {
    throw malformed("the key cannot be imported", error)
  } finally {
    der.fill(0)
  }
}

function malformed(message: string, cause?: unknown): ServiceError {
  return new ServiceError("KEY_FILE_MALFORMED", message, { cause })
}
