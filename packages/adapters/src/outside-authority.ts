/** A timestamp authority of somebody else, over the network (RFC 3161 §3.4). IAM: none. */
import { ServiceError } from "@sealwright/core/errors"
import { MAX_TIMESTAMP_REPLY_BYTES, TIMESTAMP_QUERY_TYPE, TIMESTAMP_REPLY_TYPE } from "@sealwright/formats/timestamp"
import { readLimited } from "./signed-request.ts"

const TIMEOUT_MS = 10_000

/**
 * Asks once. Redirections are refused: the address is what an admin decided on.
 * @param query TimeStampReq, DER
 * @returns what was answered, 64 KiB at most; nothing of it is checked
 * @throws ServiceError TIMESTAMP_UNAVAILABLE
 */
export async function askOutsideAuthority(url: string, query: Uint8Array): Promise<Uint8Array> {
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: { "content-type": TIMESTAMP_QUERY_TYPE, accept: TIMESTAMP_REPLY_TYPE },
      body: Buffer.from(query),
      redirect: "error",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    })
    if (response.status !== 200 && response.status !== 201) {
      await response.body?.cancel()
      throw unavailable(`answered with status ${response.status}`)
    }
    return await readLimited(response, MAX_TIMESTAMP_REPLY_BYTES)
  } catch (error) {
    if (error instanceof ServiceError) throw error
    throw unavailable(error instanceof RangeError ? "answered more than 64 KiB" : "did not answer", error)
  }
}

function unavailable(what: string, cause?: unknown): ServiceError {
  return new ServiceError("TIMESTAMP_UNAVAILABLE", `the outside authority ${what}`, { cause })
}
