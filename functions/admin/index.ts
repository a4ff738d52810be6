import middy from "@middy/core"
import { openDynamoTable } from "@sealwright/adapters/dynamodb"
import { openKmsKeyMaker, openKmsKeys } from "@sealwright/adapters/kms"
import { openInvoke } from "@sealwright/adapters/lambda"
import { clock, digest, randomBytes } from "@sealwright/adapters/platform"
import { serviceKeys } from "@sealwright/adapters/service-keys"
import { openKeyWrapper } from "@sealwright/adapters/wrapped-keys"
import { createIssuer, holdCeremony } from "@sealwright/core/admin/ceremony"
import { activateIssuer, requestIssuer } from "@sealwright/core/admin/external"
import { importOutsideCrl } from "@sealwright/core/admin/outside-crls"
import { rotateProfile } from "@sealwright/core/admin/profile-rotation"
import {
  allowDigests,
  changeProfile,
  createProfile,
  type ProfileChange,
  resumeProfile,
  suspendProfile,
} from "@sealwright/core/admin/profiles"
import { addRoot, retireRoot, rotateRoot } from "@sealwright/core/admin/roots"
import { activateSuccessor, rotateIssuer } from "@sealwright/core/admin/rotation"
import { setWitnesses } from "@sealwright/core/admin/witnesses"
import { isServiceError, ServiceError } from "@sealwright/core/errors"
import { watchUses } from "@sealwright/core/key-uses"
import { tufDocuments } from "@sealwright/core/ledger/tuf-documents"
import { readLogsStatus } from "@sealwright/core/log/status"
import type { Deployment } from "@sealwright/core/model"
import { ROOT_NAME } from "@sealwright/core/names"
import { makeOcspResponders, renewOcspResponders } from "@sealwright/core/ocsp/responder"
import { makeTimestampAuthority } from "@sealwright/core/timestamp/authority"
import { setOutsideAuthority } from "@sealwright/core/timestamp/outside"
import { propose, rotateTufKey, submitSignatures, withdrawProposal } from "@sealwright/core/tuf/flow"
import { registerKey } from "@sealwright/core/tuf/keys"
import { readTuf } from "@sealwright/core/tuf/status"
import { hexDecode } from "@sealwright/formats/bytes"
import { runSync } from "@sealwright/verifier/node-crypto"
import {
  activationSchema,
  allowancesSchema,
  ceremonySchema,
  certificatesOf,
  crlOf,
  extraRootSchema,
  issuerRotationSchema,
  issuerSchema,
  logWitnessesSchema,
  ocspResponderSchema,
  outsideAuthoritySchema,
  outsideCrlSchema,
  profileChangeSchema,
  profileRotationSchema,
  profileSchema,
  publicKeyOf,
  rootRetirementSchema,
  rootRotationSchema,
  takeoverSchema,
  timestampAuthoritySchema,
  tufKeySchema,
  tufProposalSchema,
  tufRotationSchema,
  tufSignaturesSchema,
  tufWithdrawalSchema,
} from "../http/admin-schemas.ts"
import { type ApiEvent, bodyOf, callerOf, pathParameter } from "../http/event.ts"
import { log } from "../http/log.ts"
import { problemResponses } from "../http/problem-responses.ts"
import { type Reply, reply } from "../http/reply.ts"
import { check, slug } from "../http/schemas.ts"
import { isLocalRun, readSettings, readTokenSettings, readWrapping } from "../http/settings.ts"
import {
  deploymentView,
  issuerView,
  logsView,
  ocspResponderView,
  outsideAuthorityView,
  outsideCrlView,
  profileView,
  timestampAuthorityView,
  tufView,
} from "../http/views.ts"
import { wake } from "../http/wake.ts"

const settings = readSettings(process.env, "table", "stack", "keyPolicy", "publishFunction")
const store = openDynamoTable(settings.table)
const invoke = openInvoke()
const homes = serviceKeys(openKmsKeys(), readTokenSettings(process.env))
const keySettings = { stack: settings.stack, policy: settings.keyPolicy }
const watch = watchUses(
  {
    table: store,
    clock,
    random: randomBytes,
    digest,
    keys: homes.keys,
    run: runSync,
    maker: homes.withMaker(openKmsKeyMaker(keySettings)),
    wrapper: openKeyWrapper({ ...keySettings, purposes: readWrapping(process.env) }),
  },
  "admin",
)
const { ports } = watch
const { table } = ports

const BELOW_ROOT =
  "This profile signs right below the root: its signatures can be revoked one by one, but a thief of the key can only be answered by a new root."

type Route = (event: ApiEvent, actor: ReturnType<typeof callerOf>) => Promise<Reply>

const routes: { readonly [routeKey: string]: Route } = {
  "POST /v1/ceremony": async (event, actor) => {
    return await deploymentReply(await holdCeremony(ports, check(ceremonySchema, bodyOf(event)), actor))
  },
  "POST /v1/root/rotation": async (event, actor) => {
    const rotation = { algorithm: undefined, ...check(rootRotationSchema, bodyOf(event)) }
    return await deploymentReply(await rotateRoot(ports, rotation, actor))
  },
  "POST /v1/root/extra": async (event, actor) =>
    await deploymentReply(await addRoot(ports, check(extraRootSchema, bodyOf(event)), actor)),
  "POST /v1/root/retirement": async (event, actor) => {
    const { thumbprint } = check(rootRetirementSchema, bodyOf(event))
    return await deploymentReply(await retireRoot(ports, thumbprint, actor))
  },
  "POST /v1/tuf/keys": async (event, actor) => {
    const { name, publicKey } = check(tufKeySchema, bodyOf(event))
    await registerKey(ports, name, publicKeyOf(publicKey), actor)
    return await tufReply()
  },
  "POST /v1/tuf/proposals": async (event, actor) => {
    const { role, keys, threshold, days } = check(tufProposalSchema, bodyOf(event))
    return await unlessPending(() => propose(ports, { role, keys, threshold, days }, actor))
  },
  "POST /v1/tuf/signatures": async (event, actor) => {
    const { proposal, signatures } = check(tufSignaturesSchema, bodyOf(event))
    const submitted = signatures.map(({ role, keyid, sig }) => ({ role, keyid, signature: hexDecode(sig) }))
    await submitSignatures(ports, proposal, submitted, actor)
    return await tufReply()
  },
  "POST /v1/tuf/withdrawal": async (event, actor) => {
    await withdrawProposal(ports, check(tufWithdrawalSchema, bodyOf(event)).proposal, actor)
    return await tufReply()
  },
  "POST /v1/tuf/rotation": async (event, actor) => {
    const { role, generation } = check(tufRotationSchema, bodyOf(event))
    return await unlessPending(() => rotateTufKey(ports, role, generation, actor))
  },
  "POST /v1/issuers": async (event, actor) => {
    const request = check(issuerSchema, bodyOf(event))
    const issuer = await (request.external ? requestIssuer(ports, request, actor) : createIssuer(ports, request, actor))
    return reply(200, { issuer: issuerView(issuer) })
  },
  "POST /v1/issuers/{issuer}/activation": async (event, actor) => {
    const chain = certificatesOf(check(activationSchema, bodyOf(event)).chain)
    return reply(200, { issuer: issuerView(await activateIssuer(ports, pathParameter(event, "issuer"), chain, actor)) })
  },
  "POST /v1/timestamp-authority": async (event, actor) => {
    const request = check(timestampAuthoritySchema, bodyOf(event))
    return reply(200, {
      timestampAuthority: timestampAuthorityView(await makeTimestampAuthority(ports, request, actor)),
    })
  },
  "POST /v1/issuers/{issuer}/ocsp-responder": async (event, actor) => {
    const wanted = { algorithm: undefined, generation: undefined, ...check(ocspResponderSchema, bodyOf(event)) }
    const made = await makeOcspResponders(ports, { issuer: pathParameter(event, "issuer"), ...wanted }, actor)
    return reply(200, { ocspResponders: made.map(ocspResponderView) })
  },
  "PUT /v1/outside-authorities/{authority}": async (event, actor) => {
    const { url, roots } = check(outsideAuthoritySchema, bodyOf(event))
    const wanted = {
      name: check(slug, pathParameter(event, "authority")),
      url,
      roots: certificatesOf(roots, "OUTSIDE_AUTHORITY_MALFORMED"),
    }
    return reply(200, { outsideAuthority: outsideAuthorityView(await setOutsideAuthority(ports, wanted, actor)) })
  },
  "POST /v1/issuers/{issuer}/rotation": async (event, actor) => {
    const rotation = { name: pathParameter(event, "issuer"), ...check(issuerRotationSchema, bodyOf(event)) }
    return reply(200, { issuer: issuerView(await rotateIssuer(ports, { algorithm: undefined, ...rotation }, actor)) })
  },
  "POST /v1/issuers/{issuer}/takeover": async (event, actor) => {
    const { generation } = check(takeoverSchema, bodyOf(event))
    const issuer = await activateSuccessor(ports, pathParameter(event, "issuer"), generation, actor)
    return reply(200, { issuer: issuerView(issuer) })
  },
  "POST /v1/profiles": async (event, actor) => {
    const { name, allowRootIssuer, ...settings } = check(profileSchema, bodyOf(event))
    const wanted = { ...settings, expirySec: settings.expirySec }
    const profile = await createProfile(ports, name, wanted, actor, allowRootIssuer)
    return reply(200, {
      profile: profileView(profile),
      ...(profile.issuer === ROOT_NAME && { warnings: [BELOW_ROOT] }),
    })
  },
  "PATCH /v1/profiles/{profile}": async (event, actor) => {
    const change: ProfileChange = definedMembers(check(profileChangeSchema, bodyOf(event)))
    return reply(200, {
      profile: profileView(await changeProfile(ports, pathParameter(event, "profile"), change, actor)),
    })
  },
  "POST /v1/profiles/{profile}/suspend": async (event, actor) =>
    reply(200, { profile: profileView(await suspendProfile(ports, pathParameter(event, "profile"), actor)) }),
  "POST /v1/profiles/{profile}/resume": async (event, actor) =>
    reply(200, { profile: profileView(await resumeProfile(ports, pathParameter(event, "profile"), actor)) }),
  "POST /v1/profiles/{profile}/rotation": async (event, actor) => {
    const { generation, issuer } = check(profileRotationSchema, bodyOf(event))
    const profile = await rotateProfile(ports, pathParameter(event, "profile"), generation, issuer, actor)
    return reply(200, { profile: profileView(profile) })
  },
  "PUT /v1/log/witnesses": async (event, actor) => {
    const { policy } = check(logWitnessesSchema, bodyOf(event))
    const deployment = await setWitnesses(ports, policy, actor, isLocalRun(process.env))
    return reply(200, logsView(await readLogsStatus(table, digest, deployment)))
  },
  "PUT /v1/outside-crls": async (event, actor) => {
    const { outsideCrl, revokedIssuers } = await importOutsideCrl(
      ports,
      crlOf(check(outsideCrlSchema, bodyOf(event)).crl),
      actor,
    )
    return reply(200, { outsideCrl: outsideCrlView(outsideCrl), revokedIssuers })
  },
  "PUT /v1/profiles/{profile}/allowances": async (event, actor) => {
    const { repository, digests } = check(allowancesSchema, bodyOf(event))
    return reply(200, await allowDigests(ports, pathParameter(event, "profile"), repository, digests, actor))
  },
}

async function deploymentReply(deployment: Deployment): Promise<Reply> {
  const roots = await tufDocuments(table, "root")
  return reply(200, { deployment: deploymentView(deployment, roots) })
}

async function tufReply(status = 200): Promise<Reply> {
  return reply(status, { tuf: tufView(await readTuf(ports)) })
}

/** Who asks for a change of TUF root or targets has what was asked for when it waits for people: 202, with the file that they sign. */
async function unlessPending(act: () => Promise<void>): Promise<Reply> {
  try {
    await act()
    return await tufReply()
  } catch (error) {
    if (!isServiceError(error, "TUF_SIGNATURES_PENDING")) throw error
    return await tufReply(202)
  }
}

const viaApi = middy<ApiEvent, Reply>()
  .use(problemResponses(ports))
  .handler(async (event) => {
    const actor = callerOf(event)
    const route = routes[event.routeKey]
    if (route === undefined) throw new ServiceError("REQUEST_MALFORMED", `no route ${event.routeKey}`)
    const answer = await route(event, actor)
    await wake(invoke, settings.publishFunction)
    return answer
  })

/** A schedule renews what lives for weeks, without a person and with no other right than that. */
export const handler = async (event: unknown, context: Parameters<typeof viaApi>[1]): Promise<unknown> => {
  watch.begin(context.awsRequestId)
  try {
    return await run(event, context)
  } finally {
    await watch.end()
  }
}

async function run(event: unknown, context: Parameters<typeof viaApi>[1]): Promise<unknown> {
  if (!isRenewal(event)) return await viaApi(event as ApiEvent, context)
  const renewed = await renewOcspResponders(ports, { principal: "schedule", requestId: context.awsRequestId })
  log({ renewed })
  return { renewed }
}

function isRenewal(event: unknown): boolean {
  return typeof event === "object" && event !== null && "renew" in event && event.renew === "ocsp-responders"
}

type Defined<T> = { [Name in keyof T]: Exclude<T[Name], undefined> }

function definedMembers<T extends object>(value: T): Partial<Defined<T>> {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as Partial<Defined<T>>
}
