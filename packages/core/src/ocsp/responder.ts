import { parseCertificate } from "@sealwright/formats/x509"
import type { AdminPorts } from "../admin/ceremony.ts"
import { certifyOcspResponder } from "../admin/certificates.ts"
import { ServiceError } from "../errors.ts"
import { type Actor, auditWrite } from "../ledger/audit.ts"
import { keys } from "../ledger/keys.ts"
import { findOcspResponder, listOcspResponders, replaceOcspResponder } from "../ledger/ocsp-responders.ts"
import { listIssuers, readDeployment, readIssuer, rootsOf } from "../ledger/trust.ts"
import {
  type Deployment,
  EXTRA_ALGORITHM,
  type Issuer,
  isWrappedIssuer,
  type OcspAlgorithm,
  type OcspResponder,
} from "../model.ts"
import { ROOT_NAME } from "../names.ts"
import { CLOCK_MARGIN_MS, wholeSeconds } from "../sign/rules.ts"

export interface OcspResponderRequest {
  /** name of an issuer, or `root` */
  readonly issuer: string
  /** of a new key; undefined: as before, P-256 at first */
  readonly algorithm: OcspAlgorithm | undefined
  /** days of its certificate, cut to the issuer's end */
  readonly days: number
  /** of its key: one above the one that answers now, so that a repeat is the same act; undefined: the key stays */
  readonly generation: number | undefined
}

type Wanted = Omit<OcspResponderRequest, "issuer">

const DAY_MS = 86_400_000
const FIRST_ALGORITHM: OcspAlgorithm = "ecdsa-p256-sha256"

/** A certificate is renewed once less than this part of its life remains. */
const RENEW_BELOW = 1 / 2

/**
 * Makes the delegated responders of an issuer, one for each of its keys that stock clients may still ask about, or renews their certificates; one with more
 * than half of its life before it stands. Safe to repeat: a new key is made under its generation's name first. A wrapped key, which nobody here can use,
 * certifies none: its CRL is what there is.
 * @throws ServiceError ISSUER_UNKNOWN, ISSUER_PENDING, ISSUER_ALGORITHM_WRONG, ISSUER_NOT_ACTIVE when none of its keys is in force, OCSP_BELOW_WRAPPED when all of these are wrapped, OCSP_GENERATION_WRONG, CONTENTION,
 * SIGNER_UNAVAILABLE, KEY_NOT_USABLE
 */
export async function makeOcspResponders(
  ports: AdminPorts,
  request: OcspResponderRequest,
  actor: Actor,
): Promise<OcspResponder[]> {
  const deployment = await readDeployment(ports.table)
  const issuers = await authoritiesOf(ports, deployment)
  const named = issuers.filter(({ name }) => name === request.issuer)
  if (named.length === 0) await readIssuer(ports.table, request.issuer)
  if (named.some(({ key }) => key.scheme === EXTRA_ALGORITHM))
    throw new ServiceError(
      "ISSUER_ALGORITHM_WRONG",
      `no client asks about issuer ${request.issuer}, of ${EXTRA_ALGORITHM}`,
    )
  const inForce = named.filter((issuer) => isInForce(issuer, ports.clock()))
  if (inForce.length === 0)
    throw new ServiceError("ISSUER_NOT_ACTIVE", `no key of issuer ${request.issuer} is in force`)
  const certifying = inForce.filter((issuer) => !isWrappedIssuer(issuer))
  if (certifying.length === 0) throw new ServiceError("OCSP_BELOW_WRAPPED", `issuer ${request.issuer} is wrapped`)
  const made: OcspResponder[] = []
  for (const issuer of certifying) made.push(await makeResponder(ports, deployment, issuer, request, actor))
  return made
}

/**
 * Renews what is due, with the keys that stand: what a schedule repeats. One issuer's unusable key does not keep the others waiting.
 * @returns how many were renewed
 * @throws the first failure, after all were tried
 */
export async function renewOcspResponders(ports: AdminPorts, actor: Actor): Promise<number> {
  const standing = await listOcspResponders(ports.table)
  if (standing.length === 0) return 0
  const deployment = await readDeployment(ports.table)
  const issuers = await authoritiesOf(ports, deployment)
  const failures: unknown[] = []
  let renewed = 0
  for (const responder of standing) {
    const issuer = issuers.find(({ issuerKeyId }) => issuerKeyId === responder.issuerKeyId)
    if (issuer === undefined || !isInForce(issuer, ports.clock())) continue
    const { generation, days } = responder
    try {
      const wanted = { generation, days, algorithm: undefined }
      const next = await makeResponder(ports, deployment, issuer, wanted, actor)
      if (next.notAfter > responder.notAfter) renewed++
    } catch (error) {
      failures.push(error)
    }
  }
  if (failures.length > 0) throw failures[0]
  return renewed
}

/** Every CA key of the deployment, each once: a root that signs leaves is an issuer too. */
async function authoritiesOf({ table }: AdminPorts, deployment: Deployment): Promise<Issuer[]> {
  const all = [...rootsOf(deployment), ...(await listIssuers(table))]
  return [...new Map(all.map((issuer) => [issuer.issuerKeyId, issuer])).values()]
}

/** Retired ones too: what they certified stays good. A root that left the trust bundle is no deployer's any more. */
function isInForce({ name, state, notAfter }: Issuer, now: Date): boolean {
  return state !== "revoked" && !(name === ROOT_NAME && state === "retired") && notAfter > now
}

async function makeResponder(
  ports: AdminPorts,
  deployment: Deployment,
  issuer: Issuer,
  wanted: Wanted,
  actor: Actor,
): Promise<OcspResponder> {
  const { issuerKeyId } = issuer
  const now = wholeSeconds(ports.clock())
  const standing = await findOcspResponder(ports.table, issuerKeyId)
  const generation = wanted.generation ?? generationFor(standing, wanted.algorithm)
  if (generation > (standing?.generation ?? 0) + 1)
    throw new ServiceError("OCSP_GENERATION_WRONG", `generation ${standing?.generation ?? 0} answers now`)
  if (standing !== undefined && stands(standing, generation, issuer, now)) return standing
  const keeps = standing?.generation === generation
  const next = await certified(ports, deployment, issuer, now, {
    generation,
    days: wanted.days,
    key: keeps ? standing.key : await newKey(ports, issuer, generation, wanted, standing),
  })
  const act = standing === undefined ? "create" : keeps ? "renew" : "rotate"
  const result = await ports.table.transact([
    replaceOcspResponder(next, standing),
    ...(issuer.name === ROOT_NAME
      ? []
      : [{ check: keys.issuer(issuer.name, issuer.generation), if: { equals: { state: issuer.state } } }]),
    auditWrite(ports, actor, `ocsp-responder.${act}`, `ocsp-responder/${issuer.name}@${issuer.generation}`),
  ])
  if (result.committed) return next
  const first = await findOcspResponder(ports.table, issuerKeyId)
  if (first !== undefined && stands(first, generation, issuer, now)) return first
  throw new ServiceError("CONTENTION", `issuer ${issuer.name} or its OCSP responder changed meanwhile`)
}

function generationFor(standing: OcspResponder | undefined, algorithm: OcspAlgorithm | undefined): number {
  if (standing === undefined) return 1
  return algorithm === undefined || standing.key.scheme === algorithm ? standing.generation : standing.generation + 1
}

function stands(responder: OcspResponder, generation: number, issuer: Issuer, now: Date): boolean {
  if (responder.generation !== generation) return responder.generation > generation
  const life = responder.notAfter.getTime() - responder.notBefore.getTime()
  const remaining = responder.notAfter.getTime() - now.getTime()
  return remaining >= RENEW_BELOW * life || (remaining > 0 && responder.notAfter >= issuer.notAfter)
}

async function newKey(
  ports: AdminPorts,
  issuer: Issuer,
  generation: number,
  wanted: Wanted,
  standing: OcspResponder | undefined,
) {
  const algorithm = wanted.algorithm ?? ((standing?.key.scheme ?? FIRST_ALGORITHM) as OcspAlgorithm)
  const name = `ocsp/${issuer.name}/${issuer.generation}/${generation}-${algorithm}`
  return await ports.maker.create(name, "ocsp", algorithm)
}

async function certified(
  ports: AdminPorts,
  deployment: Deployment,
  issuer: Issuer,
  now: Date,
  { key, generation, days }: Pick<OcspResponder, "key" | "generation" | "days">,
): Promise<OcspResponder> {
  const begin = parseCertificate(issuer.certificate).notBefore.getTime()
  const notBefore = new Date(Math.max(now.getTime() - CLOCK_MARGIN_MS, begin))
  const notAfter = new Date(Math.min(now.getTime() + days * DAY_MS, issuer.notAfter.getTime()))
  return {
    issuer: issuer.name,
    issuerGeneration: issuer.generation,
    issuerKeyId: issuer.issuerKeyId,
    issuerCertificate: issuer.certificate,
    generation,
    key,
    certificate: await certifyOcspResponder(ports, issuer, key, deployment, notBefore, notAfter),
    days,
    notBefore,
    notAfter,
  }
}
