import { openDynamoTable } from "@sealwright/adapters/dynamodb"
import { clock, digest, randomBytes } from "@sealwright/adapters/platform"
import { openS3Objects } from "@sealwright/adapters/s3"
import { serviceKeys } from "@sealwright/adapters/service-keys"
import { openKmsAndWrappedKeys } from "@sealwright/adapters/wrapped-keys"
import { watchUses } from "@sealwright/core/key-uses"
import { makeCrl } from "@sealwright/core/publish/crl"
import * as v from "valibot"
import { check } from "../http/schemas.ts"
import { readSettings, readTokenSettings } from "../http/settings.ts"

const settings = readSettings(process.env, "table", "bucket", "stack")
const watch = watchUses(
  {
    table: openDynamoTable(settings.table),
    objects: openS3Objects(settings.bucket),
    keys: serviceKeys(openKmsAndWrappedKeys(settings.stack), readTokenSettings(process.env)).keys,
    digest,
    clock,
    random: randomBytes,
  },
  "crl",
)

/** An epoch and an issuer, never bytes: what is signed comes from the table alone (D13). */
const requestSchema = v.strictObject({
  epoch: v.pipe(v.number(), v.integer(), v.minValue(1)),
  issuerKeyId: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
})

export const handler = async (
  event: unknown,
  context: { readonly awsRequestId: string },
): Promise<{ readonly digest: string; readonly size: number }> => {
  const { epoch, issuerKeyId } = check(requestSchema, event)
  watch.begin(context.awsRequestId)
  try {
    const { digestHex, size } = await makeCrl(watch.ports, epoch, issuerKeyId)
    return { digest: `sha256:${digestHex}`, size }
  } finally {
    await watch.end()
  }
}
