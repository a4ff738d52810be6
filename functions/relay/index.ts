import { openDynamoTable } from "@sealwright/adapters/dynamodb"
import { askOutsideAuthority } from "@sealwright/adapters/outside-authority"
import { isServiceError } from "@sealwright/core/errors"
import { readOutsideAuthority } from "@sealwright/core/ledger/outside-authorities"
import { MAX_TIMESTAMP_QUERIES } from "@sealwright/core/timestamp/rules"
import { base64Decode, base64Encode } from "@sealwright/formats/bytes"
import { MAX_TIMESTAMP_QUERY_BYTES } from "@sealwright/formats/timestamp"
import * as v from "valibot"
import { log } from "../http/log.ts"
import { check, slug } from "../http/schemas.ts"
import { readSettings } from "../http/settings.ts"

const settings = readSettings(process.env, "table")
const table = openDynamoTable(settings.table)

/** An authority's name, never its address: who may ask can't choose whom the deployment talks to. */
const requestSchema = v.strictObject({
  authority: slug,
  timestampQueries: v.pipe(
    v.array(v.pipe(v.string(), v.maxLength(Math.ceil(MAX_TIMESTAMP_QUERY_BYTES / 3) * 4))),
    v.maxLength(MAX_TIMESTAMP_QUERIES),
  ),
})

/** Queries of one batch that go out at a time: outside authorities are shared with everybody. */
const LANES = 4

/**
 * Carries timestamp queries to an outside authority and its answers back, unread: who asked checks them. It talks to strangers, so its role can do
 * nothing else but look their addresses up.
 */
export const handler = async (event: unknown): Promise<{ readonly timestampReplies: readonly (string | null)[] }> => {
  const { authority, timestampQueries } = check(requestSchema, event)
  const { url } = await readOutsideAuthority(table, authority)
  const replies: (string | null)[] = timestampQueries.map(() => null)
  const waiting = [...timestampQueries.entries()]
  const lane = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift())
      replies[next[0]] = await replyOrNull(authority, url, next[1])
  }
  await Promise.all(Array.from({ length: LANES }, lane))
  return { timestampReplies: replies }
}

/** One query that fails takes no other along. */
async function replyOrNull(authority: string, url: string, query: string): Promise<string | null> {
  try {
    return base64Encode(await askOutsideAuthority(url, base64Decode(query)))
  } catch (error) {
    log({ relay: authority, failure: isServiceError(error) ? error.message : "unreadable query" })
    return null
  }
}
