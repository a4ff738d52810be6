import { parseTrustBundle } from "@sealwright/formats/trust-bundle"
import type { DelegatedRole, RoleKeys, Root, TufKey } from "@sealwright/formats/tuf"
import type { TufSigningDocument, TufSigningRequest } from "@sealwright/formats/tuf-signing"
import { ServiceError } from "../errors.ts"
import { type Actor, auditWrite } from "../ledger/audit.ts"
import { readDeployment } from "../ledger/trust.ts"
import { dropProposal, findProposal, listPersonKeys, putProposal, readProposal } from "../ledger/tuf-proposals.ts"
import type { Deployment, TufProposal, TufRole } from "../model.ts"
import type { KeyMaker, Write } from "../ports.ts"
import { noteChangeNow } from "../publish/changes.ts"
import { type NamedKey, namedKey } from "../publish/tuf.ts"
import { wholeSeconds } from "../sign/rules.ts"
import {
  type ChangePorts,
  documentWrites,
  fileBytes,
  isComplete,
  isOvertaken,
  nextRoot,
  nextTargets,
  readStanding,
  type Standing,
  type TrustChange,
  trustWrites,
} from "./change.ts"
import { keyNames, nextGeneration, SERVICE_KEY, spareKey } from "./keys.ts"
import {
  distinctKeys,
  electoratesOf,
  readRoot,
  readTargetsFile,
  rootChanges,
  tallyOf,
  targetsChanges,
} from "./rules.ts"

export type TufPorts = ChangePorts & { readonly maker: KeyMaker }

/** The next version of root or targets, as people ask for it; what is left out stays as it is. */
export interface TufWish {
  readonly role: "root" | "targets"
  /** names of people's keys, and `service` for the service's own */
  readonly keys: readonly string[] | undefined
  readonly threshold: number | undefined
  /** until the new version ends */
  readonly days: number | undefined
}

const DAY_MS = 86_400_000
const ATTEMPTS = 4

/**
 * Makes the next root or targets with other keys, another threshold or another end. New keys of targets take a new root too, and both join the same
 * publication. Stored at once where the service's keys suffice under the old and the new root.
 * @throws ServiceError TUF_SIGNATURES_PENDING when signatures of people are missing, TUF_KEY_UNKNOWN, TUF_THRESHOLD_UNREACHABLE, and as `trustWrites`
 */
export async function propose(ports: TufPorts, wish: TufWish, actor: Actor): Promise<void> {
  const act = `tuf propose ${wish.role}`
  await commit(ports, act, actor, "tuf.change", `tuf/${wish.role}`, async (standing) => {
    const now = wholeSeconds(ports.clock())
    const expires = wish.days === undefined ? {} : { expires: new Date(now.getTime() + wish.days * DAY_MS) }
    const rekeyed =
      wish.keys === undefined && wish.threshold === undefined ? undefined : await rekey(ports, standing, wish)
    if (wish.role === "root") return { root: nextRoot(standing, now, { ...rekeyed, ...expires }) }
    const targets = nextTargets(ports.digest, standing, standing.targets.trustBundle, now, expires)
    return rekeyed === undefined ? { targets } : { root: nextRoot(standing, now, rekeyed), targets }
  })
}

/** Keys and roles of a root in which one role has these keys and this threshold. */
async function rekey(ports: TufPorts, { signedRoot }: Standing, wish: TufWish): Promise<Pick<Root, "keys" | "roles">> {
  const before = signedRoot.roles[wish.role]
  const named = wish.keys === undefined ? standingKeys(signedRoot, before) : await keysNamed(ports, signedRoot, wish)
  const role = { keyids: named.map(({ keyid }) => keyid), threshold: wish.threshold ?? before.threshold }
  const next = withRole(signedRoot, wish.role, role, named)
  if (role.threshold > distinctKeys(role, next.keys))
    throw new ServiceError(
      "TUF_THRESHOLD_UNREACHABLE",
      `${named.length} keys can't reach a threshold of ${role.threshold}`,
    )
  return next
}

function standingKeys(root: Root, { keyids }: RoleKeys): NamedKey[] {
  return keyids.flatMap((keyid) => {
    const key = root.keys.get(keyid)
    return key === undefined ? [] : [{ keyid, key }]
  })
}

async function keysNamed(ports: TufPorts, root: Root, { role, keys = [] }: TufWish): Promise<NamedKey[]> {
  if (new Set(keys).size !== keys.length) throw new ServiceError("REQUEST_MALFORMED", "a key is named twice")
  const people = await listPersonKeys(ports.table)
  const found: NamedKey[] = []
  for (const name of keys) {
    const person = people.find((one) => one.name === name)
    if (person !== undefined) found.push(namedKey(ports.digest, person.key))
    else if (name === SERVICE_KEY) found.push(...(await serviceKeys(ports, root, role)))
    else throw new ServiceError("TUF_KEY_UNKNOWN", `no key is registered as ${name}`)
  }
  return found
}

/** Those of the service's keys that count now; where none does, a new one: what was taken away once does not come back. */
async function serviceKeys(ports: TufPorts, root: Root, role: "root" | "targets"): Promise<NamedKey[]> {
  const { tuf } = await readDeployment(ports.table)
  const own = tuf[role].map((key) => namedKey(ports.digest, key))
  const counting = own.filter(({ keyid }) => root.roles[role].keyids.includes(keyid))
  return counting.length > 0 ? counting : [namedKey(ports.digest, (await spareKey(ports, role)).key)]
}

/** A root with these keys of one role; keys that no role names any more are left out. */
function withRole(
  root: Root,
  name: keyof Root["roles"],
  role: RoleKeys,
  named: readonly NamedKey[],
): Pick<Root, "keys" | "roles"> {
  const roles = { ...root.roles, [name]: role }
  const used = new Set(Object.values(roles).flatMap(({ keyids }) => keyids))
  const all = new Map([...root.keys, ...named.map(({ keyid, key }) => [keyid, key] as const)])
  return { roles, keys: new Map([...all].filter(([keyid]) => used.has(keyid))) }
}

/**
 * Gives a role a new key of the service in the place of those it has: root, targets, snapshot and timestamp by a new root, lists and registry by new targets. What
 * was published before stays good; each epoch is signed by the keys that its own root and targets name. Safe to repeat with the same generation.
 * @param generation the one that the role's new key has; naming it makes a repeat the same act
 * @throws ServiceError TUF_KEY_GENERATION_WRONG, TUF_SIGNATURES_PENDING when signatures of people are missing, and as `trustWrites`
 */
export async function rotateTufKey(ports: TufPorts, role: TufRole, generation: number, actor: Actor): Promise<void> {
  const { tuf } = await readDeployment(ports.table)
  const next = await nextGeneration(ports, tuf, role)
  if (generation < next && generation > 1) return
  if (generation !== next)
    throw new ServiceError("TUF_KEY_GENERATION_WRONG", `the next key of ${role} has generation ${next}`)
  const act = `tuf rotate ${role}`
  await commit(ports, act, actor, "tuf.rotate", `tuf/${role}@${generation}`, (standing) =>
    rotated(ports, standing, role, wholeSeconds(ports.clock())),
  )
}

/**
 * The writes that give the TUF root a new key of the service, for an act that renews the deployment's own root as well; none where people sign the TUF root too, which
 * they do in a ceremony of its own.
 */
export async function serviceRootWrites(
  ports: TufPorts,
  now: Date,
  actor: Actor,
): Promise<{ readonly writes: readonly Write[]; readonly deployment: Deployment }> {
  const standing = await readStanding(ports.table)
  const deployment = await readDeployment(ports.table)
  const own = new Set(deployment.tuf.root.map((key) => namedKey(ports.digest, key).keyid))
  const { keyids, threshold } = standing.signedRoot.roles.root
  if (threshold !== 1 || !keyids.every((keyid) => own.has(keyid))) return { writes: [], deployment }
  const { root } = await rotated(ports, standing, "root", now)
  const writes = root === undefined ? [] : await trustWrites(ports, standing, { root }, "root rotate", actor)
  return { writes, deployment: await readDeployment(ports.table) }
}

async function rotated(ports: TufPorts, standing: Standing, role: TufRole, now: Date): Promise<TrustChange> {
  const { key, deployment } = await spareKey(ports, role)
  const fresh = namedKey(ports.digest, key)
  const own = new Set(deployment.tuf[role].map((one) => namedKey(ports.digest, one).keyid))
  const replaced = ({ keyids, threshold }: RoleKeys): RoleKeys => {
    const others = keyids.filter((keyid) => !own.has(keyid))
    return { keyids: [fresh.keyid, ...others], threshold: Math.min(threshold, others.length + 1) }
  }
  const targets = (change = {}) => nextTargets(ports.digest, standing, standing.targets.trustBundle, now, change)
  if (role === "lists" || role === "registry")
    return { targets: targets({ delegations: redelegated(standing, role, replaced, fresh) }) }
  const { signedRoot } = standing
  const root = nextRoot(standing, now, withRole(signedRoot, role, replaced(signedRoot.roles[role]), [fresh]))
  return role === "targets" ? { root, targets: targets() } : { root }
}

function redelegated(
  { signedTargets: { delegations } }: Standing,
  name: string,
  replaced: (role: RoleKeys) => RoleKeys,
  fresh: NamedKey,
) {
  const roles = (delegations?.roles ?? []).map(
    (role): DelegatedRole => (role.name === name ? { ...role, ...replaced(role) } : role),
  )
  const used = new Set(roles.flatMap(({ keyids }) => keyids))
  const all: [string, TufKey][] = [...(delegations?.keys ?? []), [fresh.keyid, fresh.key]]
  return { roles, keys: new Map(all.filter(([keyid]) => used.has(keyid))) }
}

async function commit(
  ports: TufPorts,
  act: string,
  actor: Actor,
  action: string,
  target: string,
  build: (standing: Standing) => Promise<TrustChange>,
): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const standing = await readStanding(ports.table)
    const writes = await trustWrites(ports, standing, await build(standing), act, actor)
    const result = await noteChangeNow(ports.table, [...writes, auditWrite(ports, actor, action, target)])
    if (result.committed) return
  }
  throw new ServiceError("CONTENTION", "others kept changing TUF root or targets")
}

/** One signature of a person. */
export interface SubmittedSignature {
  readonly role: "root" | "targets"
  readonly keyid: string
  readonly signature: Uint8Array
}

/**
 * Takes signatures of people over what was proposed. When all thresholds are met, of the root in force and of the new one, the documents are stored and join the next
 * publication; until then they wait. Safe to repeat until the proposal is complete.
 * @returns whether it is complete
 * @throws ServiceError TUF_PROPOSAL_UNKNOWN, TUF_PROPOSAL_OVERTAKEN, TUF_KEY_NOT_COUNTED, TUF_SIGNATURE_INVALID: then none of them is taken; TUF_TOO_LARGE, CONTENTION
 */
export async function submitSignatures(
  ports: ChangePorts,
  id: string,
  submitted: readonly SubmittedSignature[],
  actor: Actor,
): Promise<boolean> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const proposal = await readProposal(ports.table, id)
    const standing = await readStanding(ports.table)
    if (isOvertaken(proposal, standing))
      throw new ServiceError("TUF_PROPOSAL_OVERTAKEN", `${proposal.act}: a later version stands`)
    const next = withSignatures(ports, proposal, standing, submitted)
    const [root, targets] = readProposed(next)
    const audit = auditWrite(ports, actor, "tuf.sign", `tuf-proposal/${id}`)
    const complete = isComplete(ports, standing, root, targets)
    requireAlive(ports, root?.signed.expires, targets?.signed.expires)
    const result = complete
      ? await noteChangeNow(ports.table, [
          ...documentWrites(root, targets, next.targets?.trustBundle),
          dropProposal(proposal),
          audit,
        ])
      : await ports.table.transact([putProposal({ ...next, revision: proposal.revision + 1 }, proposal), audit])
    if (result.committed) return complete
  }
  throw new ServiceError("CONTENTION", "others kept changing TUF root or targets")
}

function requireAlive({ clock }: ChangePorts, ...ends: readonly (Date | undefined)[]): void {
  if (ends.some((end) => end !== undefined && end.getTime() <= clock().getTime()))
    throw new ServiceError("TUF_PROPOSAL_OVERTAKEN", "it waited until its own end: propose it again")
}

function readProposed({ root, targets }: TufProposal) {
  return [root && readRoot(root), targets && readTargetsFile(targets.bytes)] as const
}

function withSignatures(
  ports: ChangePorts,
  proposal: TufProposal,
  standing: Standing,
  submitted: readonly SubmittedSignature[],
): TufProposal {
  const [root, targets] = readProposed(proposal)
  const added = { root: root && new Map(root.signatures), targets: targets && new Map(targets.signatures) }
  for (const { role, keyid, signature } of submitted) {
    const metadata = role === "root" ? root : targets
    const electorates = electoratesOf(role, standing.signedRoot, root?.signed)
    const electorate = electorates.find((one) => one.role.keyids.includes(keyid))
    if (metadata === undefined || electorate === undefined)
      throw new ServiceError("TUF_KEY_NOT_COUNTED", `key ${keyid} does not sign ${role}`)
    const alone = { ...electorate, role: { keyids: [keyid], threshold: 1 } }
    if (!ports.run(tallyOf({ ...metadata, signatures: new Map([[keyid, signature]]) }, alone)).met)
      throw new ServiceError("TUF_SIGNATURE_INVALID", `the signature of ${keyid} over ${role}`)
    added[role]?.set(keyid, signature)
  }
  return {
    ...proposal,
    root: root && fileBytes({ ...root, signatures: added.root ?? root.signatures }),
    targets: targets &&
      proposal.targets && {
        ...proposal.targets,
        bytes: fileBytes({ ...targets, signatures: added.targets ?? targets.signatures }),
      },
  }
}

/** Gives a proposal up. Its documents may have been signed by enough people all the same: their files must go too. @throws ServiceError TUF_PROPOSAL_UNKNOWN, CONTENTION */
export async function withdrawProposal(ports: ChangePorts, id: string, actor: Actor): Promise<void> {
  const proposal = await readProposal(ports.table, id)
  const audit = auditWrite(ports, actor, "tuf.withdraw", `tuf-proposal/${id}`)
  const result = await ports.table.transact([dropProposal(proposal), audit])
  if (!result.committed) throw new ServiceError("CONTENTION", "a signature came in meanwhile")
}

export interface WaitingProposal {
  readonly proposal: TufProposal
  readonly overtaken: boolean
  /** undefined when it is overtaken */
  readonly request: TufSigningRequest | undefined
}

/** What waits, as the file that people sign. */
export async function waitingProposal(
  ports: Pick<ChangePorts, "table" | "digest">,
): Promise<WaitingProposal | undefined> {
  const proposal = await findProposal(ports.table)
  if (proposal === undefined) return undefined
  const standing = await readStanding(ports.table)
  if (isOvertaken(proposal, standing)) return { proposal, overtaken: true, request: undefined }
  const { tuf } = await readDeployment(ports.table)
  const names = await keyNames(ports, tuf)
  const [root, targets] = readProposed(proposal)
  const documents: TufSigningDocument[] = []
  const changes: string[] = []
  if (root && proposal.root) {
    changes.push(...rootChanges(standing.signedRoot, root.signed, names))
    documents.push({ role: "root", previous: standing.root.bytes, metadata: proposal.root })
  }
  if (targets && proposal.targets) {
    const bundles = { previous: standing.targets.trustBundle, next: proposal.targets.trustBundle }
    const [before, after] = [parseTrustBundle(bundles.previous), parseTrustBundle(bundles.next)]
    changes.push(...targetsChanges(standing.signedTargets, targets.signed, before, after, names, ports.digest))
    documents.push({ role: "targets", previous: standing.targets.bytes, metadata: proposal.targets.bytes, bundles })
  }
  const { id, createdAt } = proposal
  const request = { proposal: id, createdAt, changes, names, root: standing.root.bytes, documents }
  return { proposal, overtaken: false, request }
}
