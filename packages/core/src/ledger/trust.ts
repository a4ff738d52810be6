import type { SignatureScheme } from "@sealwright/formats/algorithms"
import { ServiceError } from "../errors.ts"
import {
  type Deployment,
  EXTRA_ALGORITHM,
  type Issuer,
  LOG_KINDS,
  type LogOrigin,
  type PendingIssuer,
  type Profile,
  type TransparencyLogs,
} from "../model.ts"
import type { Item, Table, Write } from "../ports.ts"
import { Attributes, keyAttributes, keyFrom, present } from "./attributes.ts"
import { keys, queryAll } from "./keys.ts"
import { tufAttributes, tufFrom } from "./tuf-keys.ts"

export function deploymentItem(deployment: Deployment): Item {
  return {
    ...keys.deployment,
    country: deployment.country,
    state: deployment.state,
    organisation: deployment.organisation,
    identityHost: deployment.identityHost,
    crlHost: deployment.crlHost,
    tufUrl: deployment.tufUrl,
    createdAt: deployment.createdAt.toISOString(),
    root: issuerAttributes(deployment.root),
    formerRoots: deployment.formerRoots.map(issuerAttributes),
    ...(deployment.extraRoots.length > 0 && { extraRoots: deployment.extraRoots.map(issuerAttributes) }),
    version: deployment.version,
    ...(deployment.log && { log: logAttributes(deployment.log) }),
    ...(deployment.witnesses !== undefined && { witnesses: deployment.witnesses }),
    ...tufAttributes(deployment.tuf),
  }
}

/** Replaces the deployment that was read unless it changed meanwhile. */
export function replaceDeployment(next: Deployment): Write {
  const { version } = next
  return { put: deploymentItem({ ...next, version: version + 1 }), if: { equals: { version } } }
}

/** Every root that the deployment ever had. */
export function rootsOf({ root, formerRoots, extraRoots }: Deployment): readonly Issuer[] {
  return [...formerRoots, ...extraRoots, root]
}

/** The root that certifies issuers of an algorithm now: an extra algorithm's chain has no other algorithm in it. @throws ServiceError ROOT_ALGORITHM_MISSING */
export function rootFor({ root, extraRoots }: Deployment, algorithm: SignatureScheme): Issuer {
  if (algorithm !== EXTRA_ALGORITHM) return root
  const extra = extraRoots.findLast(({ key, state }) => key.scheme === algorithm && state === "active")
  if (extra === undefined)
    throw new ServiceError("ROOT_ALGORITHM_MISSING", `this deployment has no root of ${algorithm}`)
  return extra
}

/** @throws ServiceError PRECONDITION_REQUIRED before the ceremony */
export async function readDeployment(table: Table): Promise<Deployment> {
  const deployment = await findDeployment(table)
  if (deployment === undefined) throw new ServiceError("PRECONDITION_REQUIRED", "this deployment has no root yet")
  return deployment
}

export async function findDeployment(table: Table): Promise<Deployment | undefined> {
  const item = await table.get(keys.deployment)
  if (item === undefined) return undefined
  const attributes = Attributes.of(item)
  return {
    country: attributes.text("country"),
    state: attributes.text("state"),
    organisation: attributes.text("organisation"),
    identityHost: attributes.text("identityHost"),
    crlHost: attributes.text("crlHost"),
    tufUrl: attributes.text("tufUrl"),
    createdAt: attributes.date("createdAt"),
    root: issuerFrom(attributes.map("root")),
    formerRoots: attributes.maps("formerRoots").map(issuerFrom),
    extraRoots: attributes.has("extraRoots") ? attributes.maps("extraRoots").map(issuerFrom) : [],
    version: attributes.number("version"),
    log: attributes.has("log") ? logsFrom(attributes.map("log")) : undefined,
    witnesses: attributes.optionalText("witnesses"),
    tuf: tufFrom(attributes),
  }
}

function logAttributes(logs: TransparencyLogs): Item[string] {
  return Object.fromEntries(
    LOG_KINDS.map((kind) => {
      const { origin, key, cosigner } = logs[kind]
      return [kind, present({ origin, key: keyAttributes(key), cosigner: cosigner && keyAttributes(cosigner) })]
    }),
  )
}

function logsFrom(attributes: Attributes): TransparencyLogs {
  const originFrom = (one: Attributes): LogOrigin => ({
    origin: one.text("origin"),
    key: keyFrom(one.map("key")),
    cosigner: one.has("cosigner") ? keyFrom(one.map("cosigner")) : undefined,
  })
  return { signatures: originFrom(attributes.map("signatures")), events: originFrom(attributes.map("events")) }
}

function issuerAttributes(issuer: Issuer): { readonly [name: string]: Item[string] } {
  return {
    name: issuer.name,
    generation: issuer.generation,
    issuerKeyId: issuer.issuerKeyId,
    key: keyAttributes(issuer.key),
    certificate: issuer.certificate,
    chain: [...issuer.chain],
    notAfter: issuer.notAfter.toISOString(),
    ...(issuer.external && { external: true }),
    state: issuer.state,
    ...(issuer.firstEpoch !== undefined && { firstEpoch: issuer.firstEpoch }),
    firstNumber: issuer.firstNumber,
    createdAt: issuer.createdAt.toISOString(),
  }
}

function issuerFrom(attributes: Attributes): Issuer {
  return {
    name: attributes.text("name"),
    generation: attributes.number("generation"),
    issuerKeyId: attributes.text("issuerKeyId"),
    key: keyFrom(attributes.map("key")),
    certificate: attributes.bytes("certificate"),
    chain: attributes.list("chain") as readonly Uint8Array[],
    notAfter: attributes.date("notAfter"),
    external: attributes.has("external") && attributes.flag("external"),
    state: attributes.text("state") as Issuer["state"],
    firstEpoch: attributes.optionalNumber("firstEpoch"),
    firstNumber: attributes.number("firstNumber"),
    createdAt: attributes.date("createdAt"),
  }
}

/** A new issuer and the start of its numbering, for one transaction. */
export function newIssuerWrites(issuer: Issuer): Write[] {
  return [
    { put: { ...keys.issuer(issuer.name, issuer.generation), ...issuerAttributes(issuer) }, if: { absent: true } },
    { put: { ...keys.numbers(issuer.issuerKeyId), next: issuer.firstNumber }, if: { absent: true } },
  ]
}

/** The generation that signs now. */
export async function findIssuer(table: Table, name: string): Promise<Issuer | undefined> {
  const item = await table.get(keys.issuer(name, 1))
  if (item === undefined) return undefined
  const first = Attributes.of(item)
  const current = first.optionalNumber("current")
  return current === undefined ? issuerFrom(first) : await findGeneration(table, name, current)
}

export async function findGeneration(table: Table, name: string, generation: number): Promise<Issuer | undefined> {
  const item = await table.get(keys.issuer(name, generation))
  return item && issuerFrom(Attributes.of(item))
}

/** The issuer that a profile signs under: of a held key the one that certified it, else the one that signs now. @throws ServiceError as `readIssuer` */
export async function readIssuerOf(table: Table, { issuer, held }: Profile): Promise<Issuer> {
  if (held === undefined) return await readIssuer(table, issuer)
  const found = await findGeneration(table, issuer, held.issuerGeneration)
  if (found === undefined)
    throw new ServiceError("ISSUER_UNKNOWN", `no generation ${held.issuerGeneration} of ${issuer}`)
  return found
}

/**
 * Lets a successor take over: one transaction's writes. They hold only while the successor stands by and the one before is in the state that was read.
 * @param current the generation that signs until now
 */
export function takeOverWrites(current: Issuer, successor: Issuer): Write[] {
  const { name } = current
  const pointer = {
    set: { current: successor.generation },
    if: current.generation === 1 ? { lacks: ["current"] } : { equals: { current: current.generation } },
  }
  const retire = current.state === "active" ? { state: "retired" } : {}
  const first = keys.issuer(name, 1)
  return [
    {
      update: keys.issuer(name, successor.generation),
      set: { state: "active" },
      if: { equals: { state: "standby", issuerKeyId: successor.issuerKeyId } },
    },
    ...(current.generation === 1
      ? [
          {
            update: first,
            set: { ...pointer.set, ...retire },
            if: { ...pointer.if, equals: { state: current.state } },
          },
        ]
      : [
          { update: first, ...pointer },
          {
            update: keys.issuer(name, current.generation),
            set: { state: current.state, ...retire },
            if: { equals: { state: current.state } },
          },
        ]),
  ]
}

/** @throws ServiceError ISSUER_UNKNOWN; ISSUER_PENDING for one that no authority has certified yet */
export async function readIssuer(table: Table, name: string): Promise<Issuer> {
  const issuer = await findIssuer(table, name)
  if (issuer !== undefined) return issuer
  if ((await findPendingIssuer(table, name)) !== undefined)
    throw new ServiceError("ISSUER_PENDING", `issuer ${name} has no certificate yet`)
  throw new ServiceError("ISSUER_UNKNOWN", `no issuer is named ${name}`)
}

export function pendingIssuerItem(pending: PendingIssuer): Item {
  return {
    ...keys.pendingIssuer(pending.name),
    name: pending.name,
    generation: pending.generation,
    issuerKeyId: pending.issuerKeyId,
    key: keyAttributes(pending.key),
    request: pending.request,
    createdAt: pending.createdAt.toISOString(),
  }
}

function pendingFrom(item: Item): PendingIssuer {
  const attributes = Attributes.of(item)
  return {
    name: attributes.text("name"),
    generation: attributes.number("generation"),
    issuerKeyId: attributes.text("issuerKeyId"),
    key: keyFrom(attributes.map("key")),
    request: attributes.bytes("request"),
    createdAt: attributes.date("createdAt"),
  }
}

export async function findPendingIssuer(table: Table, name: string): Promise<PendingIssuer | undefined> {
  const item = await table.get(keys.pendingIssuer(name))
  return item && pendingFrom(item)
}

export async function listPendingIssuers(table: Table): Promise<PendingIssuer[]> {
  return (await queryAll(table, "pending-issuers")).map(pendingFrom)
}

export async function listIssuers(table: Table): Promise<Issuer[]> {
  return (await queryAll(table, "issuers")).map((item) => issuerFrom(Attributes.of(item)))
}

export function profileItem(profile: Profile): Item {
  const { held } = profile
  return {
    ...keys.profile(profile.name),
    ...present({
      name: profile.name,
      issuer: profile.issuer,
      keyMode: profile.keyMode,
      algorithm: profile.algorithm,
      extraIssuer: profile.extraIssuer,
      principals: [...profile.principals],
      repositories: [...profile.repositories],
      expirySec: profile.expirySec,
      leafLifetimeSec: profile.leafLifetimeSec,
      allowList: profile.allowList,
      timestamp: profile.timestamp,
      state: profile.state,
      generation: profile.generation,
      held: held && {
        ...keyAttributes(held.key),
        certificate: held.certificate,
        issuerGeneration: held.issuerGeneration,
      },
      formerIssuers: [...profile.former.issuers],
      formerCertificates: profile.former.certificates.map((one) => ({ ...one })),
      rotatedFrom: profile.rotatedFrom,
      createdAt: profile.createdAt.toISOString(),
      updatedAt: profile.updatedAt.toISOString(),
    }),
  }
}

function profileFrom(item: Item): Profile {
  const attributes = Attributes.of(item)
  const held = attributes.has("held") ? attributes.map("held") : undefined
  return {
    name: attributes.text("name"),
    issuer: attributes.text("issuer"),
    keyMode: attributes.text("keyMode") as Profile["keyMode"],
    algorithm: attributes.text("algorithm") as Profile["algorithm"],
    extraIssuer: attributes.optionalText("extraIssuer"),
    principals: attributes.texts("principals"),
    repositories: attributes.texts("repositories"),
    expirySec: attributes.optionalNumber("expirySec"),
    leafLifetimeSec: attributes.number("leafLifetimeSec"),
    allowList: attributes.flag("allowList"),
    timestamp: (attributes.optionalText("timestamp") ?? "none") as Profile["timestamp"],
    state: attributes.text("state") as Profile["state"],
    generation: attributes.number("generation"),
    held: held && {
      key: keyFrom(held),
      certificate: held.bytes("certificate"),
      issuerGeneration: held.number("issuerGeneration"),
    },
    former: {
      issuers: attributes.texts("formerIssuers"),
      certificates: attributes.maps("formerCertificates").map((one) => ({
        certificate: one.bytes("certificate"),
        issuerKeyId: one.text("issuerKeyId"),
      })),
    },
    rotatedFrom: attributes.optionalNumber("rotatedFrom"),
    createdAt: attributes.date("createdAt"),
    updatedAt: attributes.date("updatedAt"),
  }
}

export async function findProfile(table: Table, name: string): Promise<Profile | undefined> {
  const item = await table.get(keys.profile(name))
  return item && profileFrom(item)
}

/** @throws ServiceError PROFILE_UNKNOWN */
export async function readProfile(table: Table, name: string): Promise<Profile> {
  const profile = await findProfile(table, name)
  if (profile === undefined) throw new ServiceError("PROFILE_UNKNOWN", `no profile is named ${name}`)
  return profile
}

export async function listProfiles(table: Table): Promise<Profile[]> {
  return (await queryAll(table, "profiles")).map(profileFrom)
}

/** Replaces a profile unless it changed meanwhile: holds only while the stored generation is the one given. */
export function replaceProfile(next: Profile, generation: number): Write {
  return { put: profileItem(next), if: { equals: { generation } } }
}
