import type { RoleKeys } from "@sealwright/formats/tuf"
import { readDeployment } from "../ledger/trust.ts"
import { listPersonKeys } from "../ledger/tuf-proposals.ts"
import { TUF_ROLES, type TufPersonKey, type TufRole } from "../model.ts"
import { namedKey } from "../publish/tuf.ts"
import { type ChangePorts, readStanding } from "./change.ts"
import { type WaitingProposal, waitingProposal } from "./flow.ts"
import { keyNames, nextGeneration, SERVICE_KEY } from "./keys.ts"

/** One role as root and targets have it now. */
export interface TufRoleStatus {
  readonly role: TufRole
  readonly threshold: number
  readonly keys: readonly { readonly keyid: string; readonly name: string; readonly home: "service" | "person" }[]
  /** that its next key of the service would have */
  readonly nextGeneration: number
}

export interface TufStatus {
  readonly root: { readonly version: number; readonly expires: Date }
  readonly targets: { readonly version: number; readonly expires: Date }
  readonly roles: readonly TufRoleStatus[]
  readonly people: readonly (TufPersonKey & { readonly keyid: string })[]
  readonly waiting: WaitingProposal | undefined
  /** what people should know of how the root is kept; not an error */
  readonly warnings: readonly string[]
}

/** @throws ServiceError PRECONDITION_REQUIRED before the ceremony */
export async function readTuf(ports: Pick<ChangePorts, "table" | "digest">): Promise<TufStatus> {
  const { tuf } = await readDeployment(ports.table)
  const standing = await readStanding(ports.table)
  const names = await keyNames(ports, tuf)
  const own = new Set(TUF_ROLES.flatMap((role) => tuf[role]).map((key) => namedKey(ports.digest, key).keyid))
  const roles: TufRoleStatus[] = []
  for (const role of TUF_ROLES) {
    const { keyids, threshold }: RoleKeys =
      role === "lists" || role === "registry"
        ? (standing.signedTargets.delegations?.roles.find(({ name }) => name === role) ?? { keyids: [], threshold: 0 })
        : standing.signedRoot.roles[role]
    const keys = keyids.map((keyid) => {
      return { keyid, name: names.get(keyid) ?? "", home: own.has(keyid) ? ("service" as const) : ("person" as const) }
    })
    roles.push({ role, threshold, keys, nextGeneration: await nextGeneration(ports, tuf, role) })
  }
  const people = (await listPersonKeys(ports.table)).map((one) => {
    return { ...one, keyid: namedKey(ports.digest, one.key).keyid }
  })
  const { root, targets } = standing
  return { root, targets, roles, people, waiting: await waitingProposal(ports), warnings: warningsOf(roles) }
}

function warningsOf(roles: readonly TufRoleStatus[]): string[] {
  const root = roles.find(({ role }) => role === "root")
  if (root === undefined) return []
  const { keys, threshold } = root
  const warnings: string[] = []
  if (keys.every(({ home }) => home === "service"))
    warnings.push(`All keys of the root are ${SERVICE_KEY} keys: who controls this account controls the root.`)
  if (threshold === 1) warnings.push("One key alone can sign a root.")
  if (threshold > 1 && threshold === keys.length)
    warnings.push("The root needs every one of its keys: the loss of one is final.")
  return warnings
}
