import { readFileSync } from "node:fs"
import { KEY_PURPOSES } from "@sealwright/core/ports"
import { DEFAULT_TIMESTAMP_POLICY } from "@sealwright/core/timestamp/rules"
import { expect, test } from "vitest"
import { PURPOSES } from "../../lib/constructs/signing-keys.ts"

test("the stack's default timestamp policy is the service's", () => {
  for (const path of ["lib/constructs/signing-service.ts", "localstack/service.ts"])
    expect(readFileSync(path, "utf8")).toContain(`const TIMESTAMP_POLICY = "${DEFAULT_TIMESTAMP_POLICY}"`)
})

test("IAM decides by the purposes that the service gives its keys (D13)", () => {
  expect(PURPOSES).toEqual(KEY_PURPOSES)
})
