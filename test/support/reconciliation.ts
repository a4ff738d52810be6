import { createIssuer, holdCeremony } from "@sealwright/core/admin/ceremony"
import { createProfile, type ProfileSettings } from "@sealwright/core/admin/profiles"
import { watchUses } from "@sealwright/core/key-uses"
import type { KeyUse } from "@sealwright/core/ledger/key-uses"
import type { KeyPurpose, KeyReference, SigningKeys, Table } from "@sealwright/core/ports"
import { makeCrl } from "@sealwright/core/publish/crl"
import { publish } from "@sealwright/core/publish/flow"
import { createReceiver, type ReconcilePorts } from "@sealwright/core/reconcile/receive"
import { settleUses } from "@sealwright/core/reconcile/settle"
import { ADMIN, createService, NAMES, PROFILE } from "./service.ts"

const role = (name: string) => `arn:aws:iam::111122223333:role/${name}`

export const USERS: ReadonlyMap<string, ReadonlySet<KeyPurpose>> = new Map(
  (
    [
      ["sign", ["issuer", "held"]],
      ["admin", ["root", "issuer", "tuf-root", "tuf-targets"]],
      ["crl", ["root", "issuer"]],
      ["publish", ["tuf-lists", "tuf-registry", "tuf-snapshot", "tuf-timestamp"]],
      ["timestamp", ["timestamp"]],
    ] as const
  ).map(([name, purposes]) => [role(name), new Set<KeyPurpose>(purposes)]),
)

export const roleOf = role
export const DELAY_SEC = 1800
const HOUR_SEC = 3600

/** A service over memory whose every use of a key leaves what CloudTrail would tell, undelivered. */
export function createWatchedService(
  wrap: { readonly keys?: (keys: SigningKeys) => SigningKeys; readonly table?: (table: Table) => Table } = {},
) {
  const events: KeyUse[] = []
  let acting = "sign"
  const service = createService({
    ...(wrap.table && { table: wrap.table }),
    keys: (inner) => {
      const told: SigningKeys = {
        sign: (key, message, note) =>
          inner.sign(key, message, (requestId) => {
            const eventId = `event-${requestId}`
            const at = service.ports.clock()
            events.push({ requestId, eventId, at, keyId: key.keyId, principal: role(acting), sourceIp: "192.0.2.1" })
            note?.(requestId)
          }),
      }
      return wrap.keys?.(told) ?? told
    },
  })
  const reconcilePorts: ReconcilePorts = { ...service.ports, users: USERS }
  const admin = watchUses(service.ports, "admin")
  const crl = watchUses(service.ports, "crl")
  const publisher = watchUses(service.ports, "publish")

  async function as<T>(name: string, act: () => Promise<T>): Promise<T> {
    const before = acting
    acting = name
    try {
      return await act()
    } finally {
      acting = before
    }
  }

  const adminPorts = { ...service.ports, ...admin.ports }
  const publishPorts = {
    ...service.ports,
    ...publisher.ports,
    requestCrl: (epoch: number, issuerKeyId: string) =>
      as("crl", async () => {
        await makeCrl({ ...service.ports, ...crl.ports }, epoch, issuerKeyId)
        await crl.end()
      }),
  }

  return {
    ...service,
    events,
    reconcilePorts,
    adminPorts,
    as,
    /** ceremony, issuer `ci`, profile `release` */
    prepare: () =>
      as("admin", async () => {
        await holdCeremony(adminPorts, { ...NAMES, algorithm: PROFILE.algorithm, rootYears: 10 }, ADMIN)
        await createIssuer(adminPorts, { name: "ci", algorithm: PROFILE.algorithm, days: 1000 }, ADMIN)
        await createProfile(adminPorts, "release", PROFILE, ADMIN)
        await admin.end()
      }),
    addProfile: (name: string, settings: Partial<ProfileSettings>) =>
      as("admin", async () => {
        await createProfile(adminPorts, name, { ...PROFILE, ...settings }, ADMIN)
        await admin.end()
      }),
    endAdmin: () => admin.end(),
    publishNow: () =>
      as("publish", async () => {
        await publish(publishPorts, true)
        await publisher.end()
      }),
    /** A signature that the service does not make: `name` has stolen credentials. */
    steal: (name: string, key: KeyReference) =>
      as(name, async () => {
        await service.ports.keys.sign(key, new TextEncoder().encode("a certificate of the thief's own"))
        return events.at(-1) as KeyUse
      }),
    deliver: async (uses: readonly KeyUse[] = events) => {
      const receive = createReceiver(reconcilePorts)
      for (const use of uses) await receive(use)
    },
    /** as the schedule does; time passes first, so that everything is old enough */
    settle: async (afterSec = HOUR_SEC) => {
      service.pass(afterSec)
      const until = new Date(service.ports.clock().getTime() + 60_000)
      return await settleUses(reconcilePorts, { delaySec: DELAY_SEC, until })
    },
  }
}
