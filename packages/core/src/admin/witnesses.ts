import type { TrustBundle } from "@sealwright/formats/trust-bundle"
import { ServiceError } from "../errors.ts"
import { type Actor, auditWrite } from "../ledger/audit.ts"
import { readDeployment, replaceDeployment } from "../ledger/trust.ts"
import { logLines } from "../log/origin.ts"
import { witnessText } from "../log/witness-text.ts"
import type { Deployment } from "../model.ts"
import { noteChangeNow } from "../publish/changes.ts"
import { bundleLogs } from "../publish/lists.ts"
import { wholeSeconds } from "../sign/rules.ts"
import { bundleWrites } from "../tuf/change.ts"
import type { AdminPorts } from "./ceremony.ts"

const ATTEMPTS = 4

/**
 * Says who cosigns checkpoints from the next one on, and how many of them deployers want. Their keys and the quorum join the trust bundle by new TUF
 * targets, in the transaction that has the sequencer ask them; addresses are kept and not published. Safe to repeat.
 * @param given C2SP tlog-policy text; without a witness nobody cosigns any more
 * @param local a run on one machine: witnesses may be this machine itself over plain http
 * @throws ServiceError LOG_WITNESSES_MALFORMED, LOG_NOT_SET_UP, PRECONDITION_REQUIRED, CONTENTION, and as `bundleWrites`
 */
export async function setWitnesses(
  ports: AdminPorts,
  given: string,
  actor: Actor,
  local: boolean,
): Promise<Deployment> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const deployment = await readDeployment(ports.table)
    const { log } = deployment
    if (log === undefined) throw new ServiceError("LOG_NOT_SET_UP", "this deployment has no log")
    const witnesses = witnessText(given, logLines(ports.digest, log), ports.run, local)
    const trusting = (bundle: TrustBundle): TrustBundle => ({
      ...bundle,
      log: bundleLogs(ports.digest, log, witnesses),
    })
    const targets = await bundleWrites(ports, trusting, wholeSeconds(ports.clock()), "log witnesses", actor)
    if (witnesses === deployment.witnesses && targets.length === 0) return deployment
    const next = { ...deployment, witnesses }
    const result = await noteChangeNow(ports.table, [
      replaceDeployment(next),
      ...targets,
      auditWrite(ports, actor, "log.witnesses", log.signatures.origin),
    ])
    if (result.committed) return next
  }
  throw new ServiceError("CONTENTION", "others kept changing the deployment or its trust data")
}
