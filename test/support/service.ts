import { makeEphemeralKey } from "@sealwright/adapters/ephemeral-key"
import { createMemoryKeys } from "@sealwright/adapters/memory-keys"
import { createMemoryObjects } from "@sealwright/adapters/memory-objects"
import { createMemoryTable } from "@sealwright/adapters/memory-table"
import { digest, randomBytes } from "@sealwright/adapters/platform"
import { createIssuer, holdCeremony } from "@sealwright/core/admin/ceremony"
import { createProfile, type ProfileSettings } from "@sealwright/core/admin/profiles"
import type { Cosign } from "@sealwright/core/log/witness"
import type {
  KeyMaker,
  MakeEphemeralKey,
  Objects,
  OutsideTimestampers,
  SigningKeys,
  Table,
} from "@sealwright/core/ports"
import { makeCrl } from "@sealwright/core/publish/crl"
import { publish } from "@sealwright/core/publish/flow"
import { revoke } from "@sealwright/core/revoke/flow"
import type { RevocationRequestTarget } from "@sealwright/core/revoke/rules"
import { createSigner, type SignRequest } from "@sealwright/core/sign/flow"
import { createTimestampAuthority } from "@sealwright/core/timestamp/flow"
import { DEFAULT_TIMESTAMP_POLICY } from "@sealwright/core/timestamp/rules"
import { runSync } from "@sealwright/verifier/node-crypto"

export const PIPELINE = "arn:aws:iam::111122223333:role/pipeline"
export const ADMIN = { principal: "arn:aws:iam::111122223333:role/admin", requestId: "test" }
export const NAMES = {
  country: "US",
  state: "Washington",
  organisation: "Wabbit Networks",
  identityHost: "trust.wabbit-networks.io",
  crlHost: "crl.wabbit-networks.io",
  tufUrl: "https://trust.wabbit-networks.io/tuf",
} as const

export const PROFILE: ProfileSettings = {
  issuer: "ci",
  keyMode: "ephemeral",
  algorithm: "ecdsa-p256-sha256",
  principals: [PIPELINE],
  repositories: ["registry.wabbit-networks.io/net-monitor"],
  expirySec: undefined,
  leafLifetimeSec: 600,
  allowList: false,
  timestamp: "none",
}

function nobodyOutside(): never {
  throw new Error("no outside authority was given")
}

/** A whole service over memory, with a clock that the test moves. `wrap` puts something between the flows and a store. @param memory what stands already */
export function createService(
  wrap: {
    table?: (table: Table) => Table
    objects?: (objects: Objects) => Objects
    keys?: (keys: SigningKeys) => SigningKeys
    maker?: (maker: KeyMaker) => KeyMaker
    makeEphemeralKey?: (make: MakeEphemeralKey) => MakeEphemeralKey
    outsideTimestampers?: OutsideTimestampers
    cosign?: Cosign
  } = {},
  memory = { table: createMemoryTable(), objects: createMemoryObjects(), keys: createMemoryKeys() },
) {
  const table = wrap.table?.(memory.table) ?? memory.table
  const objects = wrap.objects?.(memory.objects) ?? memory.objects
  const keys = wrap.keys?.(memory.keys) ?? memory.keys
  const time = { now: new Date("2026-11-21T09:00:00Z") }
  const clock = () => new Date(time.now)
  const authority = createTimestampAuthority(
    { table, keys, clock, random: randomBytes, digest, run: runSync },
    DEFAULT_TIMESTAMP_POLICY,
  )
  const ports = {
    table,
    objects,
    keys,
    maker: wrap.maker?.(memory.keys) ?? memory.keys,
    wrapper: memory.keys,
    clock,
    random: randomBytes,
    digest,
    run: runSync,
    makeEphemeralKey: wrap.makeEphemeralKey?.(makeEphemeralKey) ?? makeEphemeralKey,
    timestamper: {
      timestamp: async (query: Uint8Array) => (await authority(query)).response,
    },
    outsideTimestampers: wrap.outsideTimestampers ?? nobodyOutside,
    cosign: wrap.cosign ?? nobodyOutside,
    requestCrl: async (epoch: number, issuerKeyId: string) => {
      await makeCrl({ table, objects, keys, digest }, epoch, issuerKeyId)
    },
  }
  return {
    memory,
    ports,
    pass: (seconds: number) => {
      time.now = new Date(time.now.getTime() + seconds * 1000)
    },
    setUp: async (algorithm: ProfileSettings["algorithm"] = "ecdsa-p256-sha256") => {
      await holdCeremony(ports, { ...NAMES, algorithm, rootYears: 10 }, ADMIN)
      await createIssuer(ports, { name: "ci", algorithm, days: 1000 }, ADMIN)
    },
    profile: (name: string, settings: Partial<ProfileSettings> = {}) =>
      createProfile(ports, name, { ...PROFILE, ...settings }, ADMIN),
    signer: () => createSigner(ports),
    revoke: (
      target: RevocationRequestTarget,
      reason: "keyCompromise" | "certificateHold" | "superseded" = "keyCompromise",
    ) => revoke(ports, { target, reason, comment: "", effectiveAt: undefined, ...ADMIN }),
    publish: (force = false) => publish(ports, force),
  }
}

export const digestOf = (seed: string) =>
  `sha256:${Buffer.from(digest("sha256", new TextEncoder().encode(seed))).toString("hex")}`

export function signRequest(seeds: readonly string[], more: Partial<SignRequest> = {}): SignRequest {
  return {
    profile: "release",
    principal: PIPELINE,
    requestId: "test",
    subjects: seeds.map((seed) => ({
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      digest: digestOf(seed),
      size: 528,
      reference: "registry.wabbit-networks.io/net-monitor:v1",
    })),
    expiresAt: undefined,
    idempotencyKey: undefined,
    requestDigest: digestOf(seeds.join()).slice(7),
    ...more,
  }
}
