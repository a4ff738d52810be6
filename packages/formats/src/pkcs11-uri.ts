import { concat, utf8, utf8Decode } from "./bytes.ts"
import { FormatError } from "./errors.ts"

/** One private key on one token, as RFC 7512 names it. A URI of ours holds neither a PIN nor the path of a module. */
export interface Pkcs11Uri {
  /** CKA_LABEL of the token, without its padding */
  readonly token: string
  /** CKA_LABEL of the key */
  readonly object: string | undefined
  /** CKA_ID of the key */
  readonly id: Uint8Array | undefined
}

const MAX_URI_LENGTH = 2048
/** A token's label is a field of 32 bytes (PKCS #11 §3.2, CK_TOKEN_INFO). */
export const MAX_TOKEN_LABEL_BYTES = 32
export const MAX_OBJECT_LABEL_BYTES = 255
export const MAX_KEY_ID_BYTES = 64

/** pk11-pchar, RFC 7512 §2.3 */
const VALUE = /^(?:[A-Za-z0-9\-._~:[\]@!$'()*+,=&]|%[0-9A-Fa-f]{2})*$/
const KNOWN = new Set(["token", "object", "id", "type"])

/**
 * Reads `pkcs11:token=…;object=…;id=…` in any order; `type=private` may stand beside them. Attributes that would pick a key by something else
 * are refused rather than passed over, and so is a query part: a PIN or a module's path has no place in a key's id. No error repeats the URI.
 * @throws FormatError TOO_LARGE, URI_MALFORMED
 */
export function parsePkcs11Uri(uri: string): Pkcs11Uri {
  if (uri.length > MAX_URI_LENGTH) throw new FormatError("TOO_LARGE", `a URI of more than ${MAX_URI_LENGTH} characters`)
  if (!uri.startsWith("pkcs11:")) throw malformed("it does not begin with pkcs11:")
  if (uri.includes("?")) throw malformed("it has a query part")
  const found = new Map<string, Uint8Array>()
  for (const attribute of uri.slice("pkcs11:".length).split(";")) {
    const end = attribute.indexOf("=")
    const name = attribute.slice(0, Math.max(end, 0))
    if (!KNOWN.has(name)) throw malformed("an attribute other than token, object, id and type")
    if (found.has(name)) throw malformed(`${name} stands twice`)
    found.set(name, percentDecode(attribute.slice(end + 1)))
  }
  const type = found.get("type")
  if (type !== undefined && utf8Decode(type) !== "private") throw malformed("a type other than private")
  const token = found.get("token")
  const object = found.get("object")
  const id = found.get("id")
  if (token === undefined) throw malformed("no token is named")
  if (object === undefined && id === undefined) throw malformed("neither object nor id is named")
  checkLength("token", token, MAX_TOKEN_LABEL_BYTES)
  if (object !== undefined) checkLength("object", object, MAX_OBJECT_LABEL_BYTES)
  if (id !== undefined) checkLength("id", id, MAX_KEY_ID_BYTES)
  return { token: text(token), object: object && text(object), id }
}

/**
 * @returns unreserved characters as they are, all others percent-encoded; of an id every byte (RFC 7512 §2.3)
 * @throws FormatError URI_MALFORMED for what could not be read back
 */
export function writePkcs11Uri({ token, object, id }: Pkcs11Uri): string {
  const parts = [`token=${encodeText(token)}`]
  if (object !== undefined) parts.push(`object=${encodeText(object)}`)
  if (id !== undefined) parts.push(`id=${percentEncode(id)}`)
  const uri = `pkcs11:${parts.join(";")}`
  parsePkcs11Uri(uri)
  return uri
}

function percentDecode(value: string): Uint8Array {
  if (!VALUE.test(value)) throw malformed("a character that must be percent-encoded")
  const parts = value.split("%")
  return concat(
    utf8(parts[0] ?? ""),
    ...parts.slice(1).flatMap((part) => [Uint8Array.of(Number.parseInt(part.slice(0, 2), 16)), utf8(part.slice(2))]),
  )
}

function encodeText(value: string): string {
  return [...utf8(value)]
    .map((byte) => {
      const character = String.fromCharCode(byte)
      return /[A-Za-z0-9\-._~]/.test(character) ? character : percentEncode(Uint8Array.of(byte))
    })
    .join("")
}

function percentEncode(bytes: Uint8Array): string {
  return [...bytes].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join("")
}

function checkLength(name: string, value: Uint8Array, maxBytes: number): void {
  if (value.length === 0) throw malformed(`an empty ${name}`)
  if (value.length > maxBytes) throw malformed(`a ${name} of more than ${maxBytes} bytes`)
}

function text(bytes: Uint8Array): string {
  try {
    return utf8Decode(bytes)
  } catch {
    throw malformed("a label that is not UTF-8")
  }
}

function malformed(detail: string): FormatError {
  return new FormatError("URI_MALFORMED", detail)
}
