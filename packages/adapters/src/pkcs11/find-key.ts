import { ServiceError } from "@sealwright/core/errors"
import type { KeyHome, KeyReference } from "@sealwright/core/ports"
import { bytesEqual } from "@sealwright/formats/bytes"
import { type Pkcs11Uri, parsePkcs11Uri } from "@sealwright/formats/pkcs11-uri"

/**
 * The one key of a token that has the label and the id of a URI, as far as it names them.
 * @throws ServiceError KEY_UNKNOWN when there is none, or more than one
 */
export async function findTokenKey(home: Pick<KeyHome, "list">, wanted: Pkcs11Uri): Promise<KeyReference> {
  const found = (await home.list()).filter(({ key }) => {
    const { object, id } = parsePkcs11Uri(key.keyId)
    return (
      (wanted.object === undefined || wanted.object === object) &&
      (wanted.id === undefined || (id !== undefined && bytesEqual(wanted.id, id)))
    )
  })
  const [only] = found
  if (only === undefined || found.length > 1)
    throw new ServiceError("KEY_UNKNOWN", `the token ${wanted.token} has ${found.length} keys for signing of this name`)
  return only.key
}
