import type { TrustBundle } from "@sealwright/formats/trust-bundle"
import { ServiceError } from "../errors.ts"
import { type Actor, auditWrite } from "../ledger/audit.ts"
import { firstLogHead } from "../ledger/log.ts"
import { readDeployment, replaceDeployment } from "../ledger/trust.ts"
import { emptyRoot } from "../log/origin.ts"
import { type Deployment, LOG_KINDS, type LogKind, type LogOrigin, type TransparencyLogs } from "../model.ts"
import type { Digest, KeyMaker, Write } from "../ports.ts"
import { noteChangeNow } from "../publish/changes.ts"
import { bundleLogs } from "../publish/lists.ts"
import { wholeSeconds } from "../sign/rules.ts"
import { bundleWrites } from "../tuf/change.ts"
import type { AdminPorts, CeremonyRequest } from "./ceremony.ts"

const ATTEMPTS = 4
/** First label of each log's origin: one log per host name, as Sigstore's clients want it. */
const LABELS = { signatures: "sig", events: "events" } as const satisfies Record<LogKind, string>

/** Default: the identity host. */
export function logHostOf({ logHost, identityHost }: Pick<CeremonyRequest, "logHost" | "identityHost">): string {
  return logHost ?? identityHost
}

/** Keys and names of both logs; keys that stand under their names are found again. @throws ServiceError as `KeyMaker.create` */
export async function makeLogs(
  { maker }: { readonly maker: KeyMaker },
  host: string,
  cosigned: boolean,
): Promise<TransparencyLogs> {
  const make = async (kind: LogKind): Promise<LogOrigin> => ({
    origin: `${LABELS[kind]}.${host}`,
    key: await maker.create(`log/${kind}`, "log", "ed25519"),
    cosigner: cosigned ? await maker.create(`log/${kind}/cosigner`, "log", "ml-dsa-44") : undefined,
  })
  return { signatures: await make("signatures"), events: await make("events") }
}

/** Both logs as they begin: empty. */
export function firstLogHeads({ digest }: { readonly digest: Digest }): Write[] {
  return LOG_KINDS.map((kind) => ({ put: firstLogHead(kind, emptyRoot(digest)), if: { absent: true } }))
}

/**
 * Gives a deployment that was set up without logs its logs, and logs their cosigners when they are asked for. Origins never change.
 * @throws ServiceError ALREADY_EXISTS for another host, CONTENTION, and as `bundleWrites`
 */
export async function addLogs(
  ports: AdminPorts,
  standing: Deployment,
  request: CeremonyRequest,
  actor: Actor,
): Promise<Deployment> {
  let deployment = standing
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const { log, witnesses } = deployment
    const host = request.logHost ?? log?.signatures.origin.slice(LABELS.signatures.length + 1) ?? logHostOf(request)
    if (log !== undefined && log.signatures.origin !== `${LABELS.signatures}.${host}`)
      throw new ServiceError("ALREADY_EXISTS", `the logs have the host of ${log.signatures.origin}`)
    const cosigned = request.logCosigner === true || log?.signatures.cosigner !== undefined
    if (log !== undefined && cosigned === (log.signatures.cosigner !== undefined)) return deployment
    const made = await makeLogs(ports, host, cosigned)
    const trusting = (bundle: TrustBundle): TrustBundle => ({
      ...bundle,
      log: bundleLogs(ports.digest, made, witnesses),
    })
    const targets = await bundleWrites(ports, trusting, wholeSeconds(ports.clock()), "ceremony, logs", actor)
    const result = await noteChangeNow(ports.table, [
      replaceDeployment({ ...deployment, log: made }),
      ...targets,
      ...(log === undefined ? firstLogHeads(ports) : []),
      auditWrite(ports, actor, "ceremony.log", made.signatures.origin),
    ])
    deployment = await readDeployment(ports.table)
    if (result.committed) return deployment
  }
  throw new ServiceError("CONTENTION", "others kept changing the deployment or its trust data")
}
