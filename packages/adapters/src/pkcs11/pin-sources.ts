import { ServiceError } from "@sealwright/core/errors"
import { type SecretPlaces, secretSource } from "../secret-sources.ts"

/**
 * What gives a PIN when a login needs it.
 * @param source as `secretSource` takes it
 * @throws ServiceError PIN_UNREADABLE for another source, and from the function when the PIN can't be had; SIGNER_UNAVAILABLE when Secrets Manager
 * does not answer
 */
export function pinSource(source: string, places: Partial<SecretPlaces> = {}): () => Promise<string> {
  try {
    const read = secretSource(source, "PIN", places)
    return () => read().catch(asPinError)
  } catch (error) {
    return asPinError(error)
  }
}

function asPinError(error: unknown): never {
  if (error instanceof ServiceError && (error.code === "SECRET_UNAVAILABLE" || error.code === "KEY_FILE_UNSAFE"))
    throw new ServiceError("PIN_UNREADABLE", `the PIN can't be had: ${error.message}`, { cause: error })
  throw error
}
