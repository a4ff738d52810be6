import type { Item } from "@sealwright/core/ports"
import type { SignRequest } from "@sealwright/core/sign/flow"
import type { CryptoScheme } from "../support/fakes-crypto.ts"
import { randomFrom, runSchedule } from "../support/fakes-schedule.ts"
import { signRequest } from "../support/service.ts"
import { admin, publisher, type RevocationKind, revoker, signer } from "./actors.ts"
import { World } from "./world.ts"

const MAX_STEPS = 1200

export interface Outcome {
  readonly violations: readonly string[]
  readonly steps: number
  readonly released: number
  readonly editions: number
}

/**
 * Actors on one deployment, in an order and with faults that the seed decides: two signers, who share one request as a retry
 * shares it with the first try, an admin, a revoker and two publishers; or, denser, a revoker and two publishers alone.
 */
export async function runSeed(
  seed: number,
  prepared: readonly Item[],
  { mutant, crypto }: { readonly mutant?: Mutant; readonly crypto?: CryptoScheme } = {},
): Promise<Outcome> {
  const random = randomFrom(seed)
  const world = new World(random, prepared, crypto)
  if (mutant?.ports !== undefined) world.mutate = mutant.ports(world)
  const shared = request("shared", ["shared-1"])
  const requests = (name: string): SignRequest[] => {
    const mine = [
      request(`${name}-one`, [`${name}-1`]),
      shared,
      request(`${name}-batch`, [`${name}-2`, "both", `${name}-3`]),
      { ...request(`${name}-held`, [`${name}-4`]), profile: "held" },
    ]
    return mutant?.withoutKeys ? mine.map((one) => ({ ...one, idempotencyKey: undefined })) : mine
  }
  const publishing = random() < 0.3 || mutant?.publishing === true
  const { errors, steps } = await runSchedule({
    random,
    faultShare: 0.04,
    crashShare: 0.01,
    maxSteps: MAX_STEPS,
    actors: publishing
      ? [
          revoker(world, ["artifact", "artifact", "artifact"]),
          publisher(world, "publisher-1", 2),
          publisher(world, "publisher-2", 1),
        ]
      : [
          signer(world, "signer-1", requests("a")),
          signer(world, "signer-2", requests("b")),
          admin(world, 1),
          revoker(world, [...(["signature", "artifact", "hold"] as const), ...rarely(random)]),
          publisher(world, "publisher-1", 1),
          publisher(world, "publisher-2", 1),
        ],
    onStep: () => {
      if (random() < 0.01) world.pass(Math.floor(random() * 50))
    },
  })
  for (const error of errors) world.fail(`an actor ended with ${String(error)}`)
  await world.settle()
  return { violations: world.violations, steps, released: world.released.length, editions: world.editions.length }
}

/** What ends a profile or an issuer, so that it comes last and not always. */
function rarely(random: () => number): RevocationKind[] {
  const draw = random()
  if (draw < 0.2) return ["profile"]
  if (draw < 0.3) return ["certificate"]
  return draw < 0.4 ? ["issuer"] : []
}

function request(name: string, seeds: readonly string[]): SignRequest {
  return signRequest(seeds, { idempotencyKey: name })
}

/** A wrong order or a missing check, switched on: the harness must notice it. */
export interface Mutant {
  readonly withoutKeys?: true
  /** seen among publishers alone: only the denser schedules are worth their time */
  readonly publishing?: true
  /** where the seeds begin that it must be noticed in; default: 1 */
  readonly firstSeed?: number
  readonly ports?: (world: World) => World["mutate"]
}
