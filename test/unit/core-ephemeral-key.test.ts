import { ServiceError } from "@sealwright/core/errors"
import type { MakeEphemeralKey } from "@sealwright/core/ports"
import { describe, expect, test } from "vitest"
import { createService, signRequest } from "../support/service.ts"
import { withCode } from "./core-published.ts"

/** Counts keys that live, and lets one step of their lives fail. */
function watched(failing?: "sign") {
  const count = { made: 0, alive: 0 }
  const wrap =
    (make: MakeEphemeralKey): MakeEphemeralKey =>
    async (scheme) => {
      const key = await make(scheme)
      count.made++
      count.alive++
      return {
        ...key,
        sign: async (message) => {
          if (failing === "sign") throw new ServiceError("SIGNER_UNAVAILABLE", "the token is gone")
          return await key.sign(message)
        },
        drop: async () => {
          await key.drop()
          count.alive--
        },
      }
    }
  return { count, wrap }
}

describe("a key for one act is dropped after it (R14)", () => {
  test("after signatures, each with a key of its own", async () => {
    const { count, wrap } = watched()
    const service = createService({ makeEphemeralKey: wrap })
    await service.setUp()
    await service.profile("release")
    await service.signer()(signRequest(["a", "b", "c"]))
    expect(count).toEqual({ made: 3, alive: 0 })
  })

  test("after the key itself failed", async () => {
    const { count, wrap } = watched("sign")
    const service = createService({ makeEphemeralKey: wrap })
    await service.setUp()
    await service.profile("release")
    await expect(service.signer()(signRequest(["a"]))).rejects.toThrow(withCode("SIGNER_UNAVAILABLE"))
    expect(count).toEqual({ made: 1, alive: 0 })
  })

  test("after the issuer refused to certify it", async () => {
    const { count, wrap } = watched()
    const service = createService({ makeEphemeralKey: wrap })
    await service.setUp()
    await service.profile("release")
    service.memory.keys.disable("memory:issuer/ci")
    await expect(service.signer()(signRequest(["a"]))).rejects.toThrow(withCode("KEY_NOT_USABLE"))
    expect(count).toEqual({ made: 1, alive: 0 })
  })
})
