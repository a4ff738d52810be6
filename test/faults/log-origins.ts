import { makeLogs } from "@sealwright/core/admin/logs"
import { CHEAP_CRYPTO } from "../support/fakes-crypto.ts"
import { NAMES } from "../support/service.ts"

/** The logs of a deployment with cheap keys, whose keys are their names. */
export const CHEAP_ORIGINS = await makeLogs(
  { maker: CHEAP_CRYPTO.keys((length) => new Uint8Array(length)) },
  NAMES.identityHost,
  false,
)
