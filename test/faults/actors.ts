import { changeProfile, resumeProfile, suspendProfile } from "@sealwright/core/admin/profiles"
import { isServiceError } from "@sealwright/core/errors"
import { listProfiles } from "@sealwright/core/ledger/trust"
import { publish } from "@sealwright/core/publish/flow"
import { release, revoke } from "@sealwright/core/revoke/flow"
import { type RevocationRequestTarget, targetName } from "@sealwright/core/revoke/rules"
import { createSigner, type SignRequest } from "@sealwright/core/sign/flow"
import { hexEncode } from "@sealwright/formats/bytes"
import type { Around } from "../support/fakes-faults.ts"
import { ADMIN, digestOf } from "../support/service.ts"
import type { Ports, World } from "./world.ts"

export interface ActorLife {
  readonly name: string
  readonly life: (around: Around) => Promise<void>
}

/** A failure that the flows announce for bad weather; anything else that an actor meets is a violation. */
const WEATHER = [
  "STORE_UNAVAILABLE",
  "SIGNER_UNAVAILABLE",
  "CONTENTION",
  "EPOCH_CONFLICT",
  "LEASE_UNAVAILABLE",
  "PROFILE_CHANGED",
  "PROFILE_SUSPENDED",
] as const
const REFUSALS = ["PROFILE_REVOKED", "DIGEST_DENIED", "REVOCATION_FINAL", "ISSUER_NOT_ACTIVE"] as const
const TRIES = 5

/** Tries an act as a client does: again after bad weather, a few times. @returns undefined when it gave up or was refused */
async function tried<T>(world: World, who: string, ports: Ports, act: () => Promise<T>): Promise<T | undefined> {
  for (let attempt = 0; attempt < TRIES; attempt++) {
    if (attempt > 0) await wait(ports, 4)
    try {
      return await act()
    } catch (error) {
      if (isServiceError(error, ...REFUSALS)) return undefined
      if (!isServiceError(error, ...WEATHER)) {
        world.fail(`${who}: ${error instanceof Error ? `${error.message} ${error.stack}` : String(error)}`)
        return undefined
      }
    }
  }
  return undefined
}

/** Lets others go first: a call that changes nothing is a turn given away. */
async function wait(ports: Ports, turns: number): Promise<void> {
  for (let i = 0; i < turns; i++) await ports.table.get({ pk: "publication", sk: "head" }).catch(() => undefined)
}

/** What a process has still to do, kept outside of it: after a crash the next one goes on with the act that was under way. */
function worker<T>(
  world: World,
  name: string,
  acts: readonly T[],
  act: (ports: Ports, one: T, state: object) => Promise<void>,
): ActorLife {
  const pending = [...acts]
  return {
    name,
    async life(around) {
      const ports = world.portsOf(around, name)
      const state = {}
      for (let next = pending[0]; next !== undefined; next = pending[0]) {
        await act(ports, next, state)
        pending.shift()
      }
    },
  }
}

/** A function that signs; its lease pool lives as long as the process. */
export function signer(world: World, name: string, requests: readonly SignRequest[]): ActorLife {
  const signers = new WeakMap<object, ReturnType<typeof createSigner>>()
  return worker(world, name, requests, async (ports, request, state) => {
    const sign = signers.get(state) ?? createSigner(ports)
    signers.set(state, sign)
    const settled = await tried(world, name, ports, () => sign(request))
    for (const one of settled ?? [])
      if ("signed" in one)
        await world.release(
          request.requestDigest,
          one.digest,
          one.signed.id,
          one.signed.envelopes[0]?.bytes as Uint8Array,
        )
  })
}

/** Suspends, resumes and changes a profile, again and again. */
export function admin(world: World, rounds: number): ActorLife {
  return worker(
    world,
    "admin",
    Array.from({ length: rounds }, (_, i) => i),
    async (ports, round) => {
      world.suspended.delete("release")
      const done = await tried(world, "admin", ports, () => suspendProfile(ports, "release", ADMIN))
      if (done !== undefined) world.suspended.add("release")
      await wait(ports, 4)
      world.suspended.delete("release")
      await tried(world, "admin", ports, () => resumeProfile(ports, "release", ADMIN))
      await tried(world, "admin", ports, () => changeProfile(ports, "release", { leafLifetimeSec: 300 + round }, ADMIN))
    },
  )
}

export type RevocationKind = "signature" | "artifact" | "hold" | "profile" | "certificate" | "issuer"

/** Revokes something of what was released so far; a hold is let go again. */
export function revoker(world: World, kinds: readonly RevocationKind[]): ActorLife {
  return worker(world, "revoker", kinds, async (ports, kind) => {
    for (let i = 0; i < 20 && world.released.length === 0; i++) await wait(ports, 1)
    const target = await pickTarget(world, ports, kind)
    if (target === undefined) return
    const reason = kind === "hold" ? "certificateHold" : "keyCompromise"
    const request = { target, reason, comment: "", effectiveAt: undefined, ...ADMIN } as const
    const acknowledged = await tried(world, "revoker", ports, () => revoke(ports, request))
    if (acknowledged === undefined) return
    const { revocation } = acknowledged
    world.promised.push({ name: targetName(revocation.target), epoch: revocation.epoch })
    if (kind !== "hold") return
    await wait(ports, 4)
    await tried(world, "revoker", ports, () => release(ports, revocation.id, ADMIN))
  })
}

async function pickTarget(
  world: World,
  ports: Ports,
  kind: RevocationKind,
): Promise<RevocationRequestTarget | undefined> {
  const picked = world.released[Math.floor(((ports.random(1)[0] as number) / 256) * world.released.length)]
  switch (kind) {
    case "signature":
    case "hold":
      if (picked !== undefined) return { kind: "signature", signature: picked.id }
      return { kind: "artifact", digest: digestOf(`unsigned ${ports.random(1)[0]}`) }
    case "artifact":
      return { kind, digest: picked?.digest ?? digestOf(`unsigned ${ports.random(1)[0]}`) }
    case "profile":
      return { kind, profile: "held", from: new Date(world.now) }
    case "issuer":
      return { kind, issuer: "ci", from: ports.random(1)[0] === 0 ? undefined : new Date(world.now) }
    case "certificate": {
      const profiles = await tried(world, "revoker", ports, () => listProfiles(ports.table))
      const held = profiles?.find((profile) => profile.held !== undefined)?.held
      return held && { kind, thumbprint: hexEncode(ports.digest("sha256", held.certificate)) }
    }
  }
}

export function publisher(world: World, name: string, runs: number): ActorLife {
  return worker(
    world,
    name,
    Array.from({ length: runs }, (_, i) => i),
    async (ports) => {
      await tried(world, name, ports, () => publish(ports, (ports.random(1)[0] as number) < 128))
    },
  )
}
