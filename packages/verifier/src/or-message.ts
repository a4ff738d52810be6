import { FormatError } from "@sealwright/formats/errors"

/** A decoder's refusal as text; any other error is a fault of this package and passes through. */
export function orMessage<T>(decode: () => T): T | string {
  try {
    return decode()
  } catch (error) {
    if (error instanceof FormatError) return error.message
    throw error
  }
}
