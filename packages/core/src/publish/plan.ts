import { base64Encode, bytesEqual, hexEncode, utf8 } from "@sealwright/formats/bytes"
import { allowListJson, revocationListJson } from "@sealwright/formats/revocation-list"
import { anyJson, array, integer, object, string } from "@sealwright/formats/shape"
import { type JsonObject, parseJson } from "@sealwright/formats/strict-json"
import { formatTime, parseTime } from "@sealwright/formats/time"
import { MAX_TRUST_BUNDLE_BYTES, parseTrustBundle, registryJson } from "@sealwright/formats/trust-bundle"
import { rootsOf } from "../ledger/trust.ts"
import type { Digest } from "../ports.ts"
import { planAllowList, planRegistry, planRevocationList } from "./lists.ts"
import { notationTree } from "./notation-tree.ts"
import type { Snapshot } from "./snapshot.ts"

const PLAN_TYPE = "application/vnd.sealwright.plan.v1+json"
export const MAX_PLAN_BYTES = 256 * 1024 * 1024

/**
 * Everything that an epoch will show, decided once and staged before the commit: whoever ends the work emits the same bytes.
 * The unsigned parts alone; signatures join in the epoch's commit item.
 */
export interface Plan {
  readonly epoch: number
  readonly date: Date
  /** issuer key ids, the root's among them, that get a CRL */
  readonly crlIssuers: readonly string[]
  readonly revocations: JsonObject
  readonly allow: JsonObject
  readonly registry: JsonObject
  /** trust-bundle.json, as the targets role signed it */
  readonly trustBundle: JsonObject
  /** versions of the documents that admins sign, as they were when the plan was made: newer ones wait for the next epoch */
  readonly tuf: { readonly root: number; readonly targets: number }
  readonly notation: JsonObject
  /** CRLs of outside authorities, with the certificate that each is by, base64; absent when there are none */
  readonly outsideCrls?: readonly OutsideCrlPlan[]
}

export interface OutsideCrlPlan {
  readonly issuerKeyId: string
  readonly authority: string
  readonly crl: string
}

export function planOf(snapshot: Snapshot, previousList: string): Plan {
  const { deployment, issuers, targets } = snapshot
  const bundle = parseTrustBundle(targets.trustBundle)
  const roots = rootsOf(deployment).filter(({ certificate }) =>
    bundle.roots.some((der) => bytesEqual(der, certificate)),
  )
  const outsideCrls = snapshot.outsideCrls.map(({ issuerKeyId, authority, crl }) => ({
    issuerKeyId,
    authority: base64Encode(authority),
    crl: base64Encode(crl),
  }))
  return {
    epoch: snapshot.epoch,
    date: snapshot.date,
    crlIssuers: [...new Set([...roots, ...issuers].map((issuer) => issuer.issuerKeyId))],
    revocations: revocationListJson(planRevocationList(snapshot, previousList)),
    allow: allowListJson(planAllowList(snapshot)),
    registry: registryJson(planRegistry(snapshot)),
    trustBundle: parseJson(targets.trustBundle, { maxBytes: MAX_TRUST_BUNDLE_BYTES }) as JsonObject,
    tuf: { root: snapshot.tufRoot, targets: targets.version },
    notation: notationTree(snapshot, bundle, roots),
    ...(outsideCrls.length > 0 && { outsideCrls }),
  }
}

/** @returns the staged bytes and their name: epoch and digest, so that two publishers never meet at one name with other bytes */
export function encodePlan(
  plan: Plan,
  digest: Digest,
): { readonly key: string; readonly digestHex: string; readonly bytes: Uint8Array } {
  const bytes = utf8(JSON.stringify({ mediaType: PLAN_TYPE, ...plan, date: formatTime(plan.date) }))
  const digestHex = hexEncode(digest("sha256", bytes))
  return { key: `staging/plan/${plan.epoch}-${digestHex}.json`, digestHex, bytes }
}

const planShape = object(
  {
    mediaType: string(100, /^application\/vnd\.sealwright\.plan\.v1\+json$/),
    epoch: integer(1),
    date: (value, at) => parseTime(string(20)(value, at)),
    crlIssuers: array(string(64, /^[0-9a-f]{64}$/), 10_001),
    revocations: anyJson,
    allow: anyJson,
    registry: anyJson,
    trustBundle: anyJson,
    tuf: object({ root: integer(1), targets: integer(1) }),
    notation: anyJson,
  },
  {
    outsideCrls: array(
      object({ issuerKeyId: string(64, /^[0-9a-f]{64}$/), authority: string(32_768), crl: string(262_144) }),
      10_000,
    ),
  },
)

/** @throws FormatError for bytes that are no plan */
export function decodePlan(bytes: Uint8Array): Plan {
  const read = planShape(parseJson(bytes, { maxBytes: MAX_PLAN_BYTES }), "plan")
  return read as unknown as Plan
}
