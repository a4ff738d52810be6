import { utf8 } from "@sealwright/formats/bytes"
import { pemEncode } from "@sealwright/formats/pem"
import {
  BUNDLE_MARKER,
  BUNDLE_TYPE,
  type BundleInput,
  type OpenedBundle,
  openBundle,
} from "@sealwright/verifier/bundle"
import { runSync } from "@sealwright/verifier/node-crypto"
import { loadTrustPolicy } from "@sealwright/verifier/trust-policy"
import type { Verdict } from "@sealwright/verifier/verdict"
import { verify } from "@sealwright/verifier/verify"
import { type createService, NAMES } from "./service.ts"

/** What a deployer opens who took the first TUF root over. */
export function openShown(
  service: ReturnType<typeof createService>,
  remembered: Pick<BundleInput, "floors" | "acceptRoots"> = {},
): OpenedBundle {
  const objects = service.memory.objects.dump()
  const marker = utf8(JSON.stringify({ mediaType: BUNDLE_TYPE }))
  const opened = runSync(
    openBundle({
      read: (path) => (path === BUNDLE_MARKER ? marker : objects.get(path)?.bytes),
      pinnedRoot: objects.get("tuf/1.root.json")?.bytes ?? new Uint8Array(0),
      now: service.ports.clock(),
      ...remembered,
    }),
  )
  if (!opened.ok) throw new Error(`${opened.code} ${opened.subject}: ${opened.detail}`)
  return opened
}

/** What a deployer decides of an image of net-monitor who trusts whatever roots the trust bundle has, also for timestamps. */
export function verdictOf(
  service: ReturnType<typeof createService>,
  envelope: Uint8Array,
  digest: string,
  profile = "release",
  trusted = openShown(service),
): Verdict {
  const { roots, timestampRoots = [] } = trusted.trustBundle
  const stamping = [...roots, ...timestampRoots]
  const policy = {
    trustPolicy: {
      trustStore: [{ trustedRoots: [{ root: NAMES.tufUrl }] }],
      timestampRoots: stamping.map((root) => pemEncode("CERTIFICATE", root)),
      trustedIdentities: [`${profile}@${NAMES.identityHost}`],
    },
  }
  const loaded = loadTrustPolicy(utf8(JSON.stringify(policy)), () => undefined)
  if (!loaded.ok) throw new Error("no policy")
  const now = service.ports.clock()
  const reference = "registry.wabbit-networks.io/net-monitor:v1"
  return runSync(
    verify({ artifact: { digest }, envelopes: [envelope], policy: loaded.policy, trusted, now, reference }),
  )
}
