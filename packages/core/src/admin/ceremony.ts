import { encodeTrustBundle, trustBundleJson } from "@sealwright/formats/trust-bundle"
import { ServiceError } from "../errors.ts"
import { type Actor, auditWrite } from "../ledger/audit.ts"
import { eventWrites } from "../ledger/events.ts"
import { keys } from "../ledger/keys.ts"
import { firstPublicationHead } from "../ledger/publication.ts"
import {
  deploymentItem,
  findDeployment,
  findIssuer,
  findPendingIssuer,
  newIssuerWrites,
  readDeployment,
  readIssuer,
  rootFor,
} from "../ledger/trust.ts"
import { targetsDocumentItem, tufDocumentItem } from "../ledger/tuf-documents.ts"
import { type Deployment, EXTRA_ALGORITHM, type Issuer, type IssuerAlgorithm, type ProfileAlgorithm } from "../model.ts"
import { ROOT_NAME } from "../names.ts"
import {
  type Clock,
  isWrapped,
  type KeyMaker,
  type KeyReference,
  type KeyWrapper,
  type RunStep,
  type Table,
  type Write,
} from "../ports.ts"
import { noteChangeNow } from "../publish/changes.ts"
import { trustBundleOf } from "../publish/lists.ts"
import { type FirstKeys, firstRoot, firstTargets, tufExpiry } from "../publish/tuf.ts"
import { wholeSeconds } from "../sign/rules.ts"
import { nextRoot, nextTargets, readStanding, type TrustChange, trustWrites } from "../tuf/change.ts"
import { type CertifyPorts, certifyIssuer, certifyRoot, issuerKeyId, type Names } from "./certificates.ts"
import { addLogs, firstLogHeads, logHostOf, makeLogs } from "./logs.ts"
import { signFirst } from "./tuf-documents.ts"
import { wrappedKey } from "./wrapped.ts"

export interface AdminPorts extends CertifyPorts {
  readonly table: Table
  readonly maker: KeyMaker
  readonly wrapper: KeyWrapper
  readonly clock: Clock
  readonly run: RunStep
}

export interface CeremonyRequest extends Names {
  readonly tufUrl: string
  readonly algorithm: ProfileAlgorithm
  /** years of the root certificate */
  readonly rootYears: number
  /** the logs' origins are `sig.{logHost}` and `events.{logHost}`. Default: the identity host, or what stands */
  readonly logHost?: string | undefined
  /** adds ML-DSA-44 cosignatures to the logs' checkpoints. Default: false, or what stands */
  readonly logCosigner?: boolean | undefined
}

export const YEAR_MS = 366 * 86_400_000

/**
 * Sets a deployment up, once: root key and certificate, TUF keys, public host names. Safe to repeat: keys are found again by name, and a
 * repeat with the same names answers what stands, adds logs or their cosigners where they are missing, and renews TUF root and targets when that is due;
 * with other names it is refused, because the names are in certificates already.
 * @throws ServiceError ALREADY_EXISTS, SIGNER_UNAVAILABLE; TUF_SIGNATURES_PENDING when logs or the renewal need signatures of people
 */
export async function holdCeremony(ports: AdminPorts, request: CeremonyRequest, actor: Actor): Promise<Deployment> {
  const standing = await findDeployment(ports.table)
  if (standing !== undefined)
    return await renewTufDocuments(ports, await addLogs(ports, sameNames(standing, request), request, actor), actor)
  const now = wholeSeconds(ports.clock())
  const make = (name: string, purpose: Parameters<KeyMaker["create"]>[1]) =>
    ports.maker.create(name, purpose, "ecdsa-p256-sha256")
  const tuf: FirstKeys = {
    root: await make("tuf/root", "tuf-root"),
    targets: await make("tuf/targets", "tuf-targets"),
    lists: await make("tuf/lists", "tuf-lists"),
    registry: await make("tuf/registry", "tuf-registry"),
    snapshot: await make("tuf/snapshot", "tuf-snapshot"),
    timestamp: await make("tuf/timestamp", "tuf-timestamp"),
  }
  const rootKey = await ports.maker.create(ROOT_NAME, "root", request.algorithm)
  const certificate = await certifyRoot(
    ports,
    rootKey,
    request,
    now,
    new Date(now.getTime() + request.rootYears * YEAR_MS),
  )
  const deployment: Deployment = {
    country: request.country,
    state: request.state,
    organisation: request.organisation,
    identityHost: request.identityHost,
    crlHost: request.crlHost,
    tufUrl: request.tufUrl,
    createdAt: now,
    formerRoots: [],
    extraRoots: [],
    version: 1,
    log: await makeLogs(ports, logHostOf(request), request.logCosigner ?? false),
    root: newIssuer(
      ports,
      ROOT_NAME,
      rootKey,
      certificate,
      [],
      now,
      new Date(now.getTime() + request.rootYears * YEAR_MS),
    ),
    tuf: {
      root: [tuf.root],
      targets: [tuf.targets],
      lists: [tuf.lists],
      registry: [tuf.registry],
      snapshot: [tuf.snapshot],
      timestamp: [tuf.timestamp],
    },
  }
  const documents = await signTufDocuments(ports, deployment, tuf, now)
  const writes: Write[] = [
    { put: deploymentItem(deployment), if: { absent: true } },
    { put: firstPublicationHead(), if: { absent: true } },
    { put: tufDocumentItem("root", documents.root), if: { absent: true } },
    { put: targetsDocumentItem(documents.targets), if: { absent: true } },
    ...firstLogHeads(ports),
    auditWrite(ports, actor, "ceremony", "deployment"),
  ]
  const result = await ports.table.transact([...writes, ...eventWrites(writes)])
  return result.committed ? deployment : sameNames(await readDeployment(ports.table), request)
}

/** The first root and targets, signed by their own keys here and nowhere else: the publisher holds neither (D13). */
async function signTufDocuments(ports: AdminPorts, deployment: Deployment, tuf: FirstKeys, now: Date) {
  const trustBundle = encodeTrustBundle(trustBundleJson(trustBundleOf(ports.digest, deployment)))
  return {
    root: await signFirst(ports, tuf.root, firstRoot(ports.digest, tuf, now)),
    targets: {
      ...(await signFirst(ports, tuf.targets, firstTargets(ports.digest, tuf, trustBundle, now))),
      trustBundle,
    },
  }
}

/**
 * A repeated ceremony signs root and targets anew, one version up, once less than half of their life remains (R18). Both together, where both are due, so
 * that people are asked for their signatures once.
 */
async function renewTufDocuments(ports: AdminPorts, deployment: Deployment, actor: Actor): Promise<Deployment> {
  const now = wholeSeconds(ports.clock())
  const standing = await readStanding(ports.table)
  const due = (role: "root" | "targets") =>
    standing[role].expires.getTime() - now.getTime() <= (tufExpiry(role, now).getTime() - now.getTime()) / 2
  const change: TrustChange = {
    ...(due("root") && { root: nextRoot(standing, now) }),
    ...(due("targets") && { targets: nextTargets(ports.digest, standing, standing.targets.trustBundle, now) }),
  }
  const renewed = [change.root, change.targets?.signed].flatMap((signed) => (signed ? [signed] : []))
  if (renewed.length === 0) return deployment
  const writes = await trustWrites(ports, standing, change, "ceremony, renewal of TUF root or targets", actor)
  const audits = renewed.map(({ type, version }) =>
    auditWrite(ports, actor, `ceremony.renew.${type}`, `tuf/${version}.${type}.json`),
  )
  await noteChangeNow(ports.table, [...writes, ...audits])
  return deployment
}

function sameNames(standing: Deployment, request: CeremonyRequest): Deployment {
  const same = (["country", "state", "organisation", "identityHost", "crlHost", "tufUrl"] as const).every(
    (name) => standing[name] === request[name],
  )
  if (!same) throw new ServiceError("ALREADY_EXISTS", "the ceremony was held with other names")
  return standing
}

export interface IssuerRequest {
  readonly name: string
  readonly algorithm: IssuerAlgorithm
  /** days of the issuer's certificate, cut to the root's end */
  readonly days: number
  /** its key signs in the functions' memory, and profiles below it stamp. Default: false */
  readonly wrapped?: boolean
}

/**
 * Creates an issuing CA below the root of its algorithm. Safe to repeat.
 * @throws ServiceError ROOT_ALGORITHM_MISSING; ALREADY_EXISTS if one of that name has another algorithm, authority or kind of key, REQUEST_MALFORMED for the
 * root's name, WRAPPING_NOT_ENABLED, ISSUER_ALGORITHM_WRONG for a wrapped one of the extra algorithm
 */
export async function createIssuer(ports: AdminPorts, request: IssuerRequest, actor: Actor): Promise<Issuer> {
  refuseRootName(request.name)
  const deployment = await readDeployment(ports.table)
  const now = wholeSeconds(ports.clock())
  const existing = await findIssuer(ports.table, request.name)
  if (existing !== undefined) return sameIssuer(existing, request)
  const root = rootFor(deployment, request.algorithm)
  const end = new Date(Math.min(now.getTime() + request.days * 86_400_000, root.notAfter.getTime()))
  if ((await findPendingIssuer(ports.table, request.name)) !== undefined) throw otherAuthority(request.name)
  const key = await issuerKey(ports, `issuer/${request.name}`, request.algorithm, request.wrapped ?? false)
  const certificate = await certifyIssuer(ports, root, key, deployment, request.name, now, end)
  const issuer = newIssuer(ports, request.name, key, certificate, [root.certificate], now, end)
  const result = await noteChangeNow(ports.table, [
    ...newIssuerWrites(issuer),
    { check: keys.pendingIssuer(request.name), if: { absent: true } },
    auditWrite(ports, actor, "issuer.create", `issuer/${request.name}`),
  ])
  return result.committed ? issuer : sameIssuer(await readIssuer(ports.table, request.name), request)
}

/** The key of one generation of an issuer, made when there is none of this name. @throws ServiceError as `KeyMaker.create` and `wrappedKey` */
export function issuerKey(
  ports: Pick<AdminPorts, "table" | "maker" | "wrapper">,
  name: string,
  algorithm: IssuerAlgorithm,
  wrapped: boolean,
): Promise<KeyReference> {
  if (!wrapped) return ports.maker.create(name, "issuer", algorithm)
  if (algorithm === EXTRA_ALGORITHM)
    throw new ServiceError("ISSUER_ALGORITHM_WRONG", `the key of an issuer of ${algorithm} can't be wrapped`)
  return wrappedKey(ports, name, "issuer", algorithm)
}

function sameIssuer(issuer: Issuer, request: IssuerRequest): Issuer {
  if (issuer.key.scheme !== request.algorithm)
    throw new ServiceError("ALREADY_EXISTS", `issuer ${issuer.name} has another algorithm`)
  if (isWrapped(issuer.key) !== (request.wrapped ?? false))
    throw new ServiceError("ALREADY_EXISTS", `issuer ${issuer.name} is ${request.wrapped ? "not " : ""}wrapped`)
  if (issuer.external) throw otherAuthority(issuer.name)
  return issuer
}

/** @throws ServiceError REQUEST_MALFORMED */
export function refuseRootName(issuer: string): void {
  if (issuer === ROOT_NAME) throw new ServiceError("REQUEST_MALFORMED", "`root` is the name of the deployment's root")
}

function otherAuthority(name: string): ServiceError {
  return new ServiceError("ALREADY_EXISTS", `issuer ${name} is certified by an outside authority`)
}

/** A CA that has its certificate, with the start of its numbering drawn. */
export function newIssuer(
  ports: Pick<AdminPorts, "digest" | "random">,
  name: string,
  key: KeyReference,
  certificate: Uint8Array,
  chain: readonly Uint8Array[],
  createdAt: Date,
  notAfter: Date,
): Issuer {
  return {
    name,
    generation: 1,
    issuerKeyId: issuerKeyId(ports.digest, key.spki),
    key,
    certificate,
    chain,
    external: false,
    notAfter,
    state: "active",
    firstEpoch: undefined,
    firstNumber: randomStart(ports),
    createdAt,
  }
}

/** Between 2^32 and 2^47: far from 0 and from the end of the six bytes that a serial has for it (D3). */
function randomStart(ports: Pick<AdminPorts, "random">): number {
  const [a, b, c, d, e] = ports.random(5) as unknown as readonly [number, number, number, number, number]
  return 2 ** 32 + (((a & 0x3f) * 256 + b) * 256 + c) * 65_536 + d * 256 + e
}
