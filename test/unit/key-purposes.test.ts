import { KEY_PURPOSES } from "@sealwright/core/ports"
import { expect, test } from "vitest"
import { PURPOSES } from "../../lib/constructs/signing-keys.ts"

test("IAM decides by the purposes that the service gives its keys (D13)", () => {
  expect(PURPOSES).toEqual(KEY_PURPOSES)
})
