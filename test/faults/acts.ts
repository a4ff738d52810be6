import { digest } from "@sealwright/adapters/platform"
import { createIssuer, holdCeremony } from "@sealwright/core/admin/ceremony"
import { activateIssuer, requestIssuer } from "@sealwright/core/admin/external"
import { importOutsideCrl } from "@sealwright/core/admin/outside-crls"
import { rotateProfile } from "@sealwright/core/admin/profile-rotation"
import { createProfile, suspendProfile } from "@sealwright/core/admin/profiles"
import { addRoot, retireRoot, rotateRoot } from "@sealwright/core/admin/roots"
import { activateSuccessor, rotateIssuer } from "@sealwright/core/admin/rotation"
import { setWitnesses } from "@sealwright/core/admin/witnesses"
import { isServiceError } from "@sealwright/core/errors"
import { acceptJob, cancelJob } from "@sealwright/core/jobs/accept"
import { jobResults, readJob } from "@sealwright/core/jobs/read"
import { SLOT_SEC } from "@sealwright/core/jobs/slot"
import { workJobs } from "@sealwright/core/jobs/work"
import { openJobs } from "@sealwright/core/ledger/jobs"
import { readLogCommit, readLogHead } from "@sealwright/core/ledger/log"
import { listOcspResponders } from "@sealwright/core/ledger/ocsp-responders"
import { readTufDocuments } from "@sealwright/core/ledger/tuf-documents"
import { askWitnessesAgain, sequence } from "@sealwright/core/log/flow"
import { LOG_KINDS, TUF_ROLES } from "@sealwright/core/model"
import { makeOcspResponders } from "@sealwright/core/ocsp/responder"
import { publish } from "@sealwright/core/publish/flow"
import { namedKey } from "@sealwright/core/publish/tuf"
import { revoke } from "@sealwright/core/revoke/flow"
import { type RevocationRequestTarget, targetName } from "@sealwright/core/revoke/rules"
import { createSigner, type SignRequest } from "@sealwright/core/sign/flow"
import { makeTimestampAuthority } from "@sealwright/core/timestamp/authority"
import { propose, rotateTufKey, submitSignatures, waitingProposal } from "@sealwright/core/tuf/flow"
import { registerKey } from "@sealwright/core/tuf/keys"
import { readRoot, reviewRequest } from "@sealwright/core/tuf/rules"
import { bytesEqual, hexEncode } from "@sealwright/formats/bytes"
import { parseNote } from "@sealwright/formats/signed-note"
import { certifyOutside, outsideCrl } from "../support/authority.ts"
import { cheapSigner } from "../support/fakes-crypto.ts"
import { unavailable } from "../support/fakes-faults.ts"
import { ADMIN, digestOf, NAMES, PIPELINE, PROFILE, signRequest } from "../support/service.ts"
import { type Ports, WITNESS, type World } from "./world.ts"

/** One act, written so that a new process can do it again from its start. */
export type Act = (ports: Ports, world: World) => Promise<void>

export const signing =
  (request: SignRequest): Act =>
  async (ports, world) => {
    for (const one of await createSigner(ports)(request)) {
      if (!("signed" in one)) throw one.refused
      const bytes = one.signed.envelopes[0]?.bytes as Uint8Array
      await world.release(request.requestDigest, one.digest, one.signed.id, bytes)
    }
  }

const revoking =
  (target: RevocationRequestTarget): Act =>
  async (ports, world) => {
    const request = { target, reason: "keyCompromise", comment: "", effectiveAt: undefined, ...ADMIN } as const
    const { revocation } = await revoke(ports, request)
    if (target.kind !== "principal")
      world.promised.push({ name: targetName(revocation.target), epoch: revocation.epoch })
  }

/** The whole of a job: asked for, worked on, and again until it is done. Whoever was claimed by a dead worker comes free in time. */
const batching =
  (seeds: readonly string[], refused: readonly string[], cancelled = false): Act =>
  async (ports, world) => {
    const request = { ...signRequest(seeds), idempotencyKey: "job", requestDigest: digestOf("job").slice(7) }
    const { job } = await acceptJob(ports, request)
    if (cancelled) await cancelJob(ports, { profile: "release", id: job.id, principal: PIPELINE, requestId: "cancel" })
    const working = { ...ports, pause: async () => undefined }
    for (let run = 0; run < 3 && (await openJobs(ports.table)).length > 0; run++) {
      world.pass(SLOT_SEC)
      const { unexpected } = await workJobs(working, { lanes: 2, until: new Date(world.now.getTime() + 60_000) })
      for (const error of unexpected) world.fail(`worker: ${error.stack}`)
    }
    const done = await readJob(ports.table, "release", job.id)
    if (done.finishedAt === undefined) throw unavailable({ port: "table", name: "unfinished job", writes: true })
    const { results } = await jobResults(ports.table, done, 0, 1000)
    for (const result of results) {
      const expected = cancelled || refused.some((seed) => digestOf(seed) === result.digest)
      if ("signature" in result === expected) world.fail(`${result.digest} ended as ${JSON.stringify(result)}`)
    }
  }

const many = Array.from({ length: 23 }, (_, i) => `many-${i}`)
/** Everything that writes, from its start to its end. */
export const ACTS: Readonly<Record<string, Act>> = {
  "set up": async (ports) => {
    await holdCeremony(ports, { ...NAMES, algorithm: PROFILE.algorithm, rootYears: 10 }, ADMIN)
    await createIssuer(ports, { name: "ci", algorithm: PROFILE.algorithm, days: 1000 }, ADMIN)
    await createProfile(ports, "release", PROFILE, ADMIN)
    await createProfile(ports, "held", { ...PROFILE, keyMode: "held" }, ADMIN)
    await addRoot(ports, { algorithm: "ml-dsa-65", generation: 1, rootYears: 10 }, ADMIN)
    await createIssuer(ports, { name: "pq", algorithm: "ml-dsa-65", days: 1000 }, ADMIN)
    await createProfile(ports, "paired", { ...PROFILE, extraIssuer: "pq" }, ADMIN)
  },
  sign: signing(signRequest(["one"], { idempotencyKey: "one" })),
  "sign with a held key": signing({ ...signRequest(["one"], { idempotencyKey: "held" }), profile: "held" }),
  "sign a batch of two transactions": signing(signRequest(many, { idempotencyKey: "many" })),
  "sign a job of two chunks": batching(
    Array.from({ length: 85 }, (_, i) => `job-${i}`),
    [],
  ),
  "sign a job of one subject": batching(["alone"], []),
  "sign a job with a denied artifact": async (ports, world) => {
    await revoke(ports, {
      target: { kind: "artifact", digest: digestOf("denied") },
      reason: "keyCompromise",
      comment: "",
      effectiveAt: undefined,
      ...ADMIN,
    })
    await batching(["allowed", "denied"], ["denied"])(ports, world)
  },
  "cancel a job": batching(["c1", "c2"], [], true),
  "sign twice in one act": signing({ ...signRequest(["one"], { idempotencyKey: "twice" }), profile: "paired" }),
  "sign a batch of two transactions, each act twice": signing({
    ...signRequest(many, { idempotencyKey: "many-twice" }),
    profile: "paired",
  }),
  "set up extra signatures": async (ports) => {
    await addRoot(ports, { algorithm: "ml-dsa-65", generation: 2, rootYears: 10 }, ADMIN)
    await createIssuer(ports, { name: "pq-next", algorithm: "ml-dsa-65", days: 500 }, ADMIN)
    await createProfile(ports, "paired-next", { ...PROFILE, extraIssuer: "pq-next" }, ADMIN)
  },
  "revoke the profile of acts that signed twice": async (ports, world) => {
    await signing({ ...signRequest(["pair"], { idempotencyKey: "pair" }), profile: "paired" })(ports, world).catch(
      (error: unknown) => {
        // By a new process the profile may be revoked already.
        if (!isServiceError(error, "PROFILE_REVOKED")) throw error
      },
    )
    await revoking({ kind: "profile", profile: "paired", from: new Date("2026-11-21T09:00:00Z") })(ports, world)
  },
  suspend: async (ports, world) => {
    await suspendProfile(ports, "release", ADMIN)
    world.suspended.add("release")
  },
  "revoke an artifact": revoking({ kind: "artifact", digest: digestOf("before") }),
  "revoke a profile": revoking({ kind: "profile", profile: "held", from: new Date("2026-11-21T09:00:00Z") }),
  "revoke a principal": revoking({
    kind: "principal",
    principal: PIPELINE.replace("pipeline", "other"),
    from: new Date("2026-11-21T09:00:00Z"),
    until: undefined,
  }),
  "have an issuer certified outside": async (ports) => {
    const { key } = await requestIssuer(ports, { name: "corp", algorithm: PROFILE.algorithm }, ADMIN)
    const chain = certifyOutside(key.spki, {
      root: { signer: cheapSigner("root") },
      policy: { signer: cheapSigner("policy") },
    })
    await activateIssuer(ports, "corp", chain, ADMIN)
    await createProfile(ports, "corp", { ...PROFILE, issuer: "corp" }, ADMIN)
  },
  "take in an outside root's CRLs": async (ports) => {
    const { key } = await requestIssuer(ports, { name: "corp", algorithm: PROFILE.algorithm }, ADMIN)
    const root = { signer: cheapSigner("root") }
    await activateIssuer(
      ports,
      "corp",
      certifyOutside(key.spki, { root, policy: { signer: cheapSigner("policy") } }),
      ADMIN,
    )
    const by = { ...root, commonName: "Corporate Root" }
    const [first, second] = [1n, 2n].map((crlNumber) => outsideCrl({ by, crlNumber })) as [Uint8Array, Uint8Array]
    // A process that starts again brings the list that it was bringing.
    await importOutsideCrl(ports, first, ADMIN).catch((error: unknown) => {
      if (!isServiceError(error, "OUTSIDE_CRL_OLDER")) throw error
    })
    await importOutsideCrl(ports, second, ADMIN)
    await publish(ports, false)
  },
  "rotate an issuer": async (ports) => {
    await rotateIssuer(ports, { name: "ci", generation: 2, algorithm: undefined, days: 500 }, ADMIN)
    await publish(ports, false)
    await activateSuccessor(ports, "ci", 2, ADMIN)
  },
  "make a wrapped issuer, its successor, and a wrapped timestamp authority": async (ports) => {
    const { algorithm } = PROFILE
    await createIssuer(ports, { name: "bulk", algorithm, days: 500, wrapped: true }, ADMIN)
    await rotateIssuer(ports, { name: "bulk", generation: 2, algorithm: undefined, days: 500 }, ADMIN)
    await publish(ports, false)
    await activateSuccessor(ports, "bulk", 2, ADMIN)
    await makeTimestampAuthority(ports, { algorithm: "ecdsa-p256-sha256", days: 100, wrapped: true }, ADMIN)
  },
  "rotate a held key": async (ports) => {
    await rotateProfile(ports, "held", 1, undefined, ADMIN)
  },
  "rotate the root": async (ports) => {
    await rotateRoot(ports, { generation: 2, algorithm: undefined, rootYears: 10 }, ADMIN)
  },
  "retire a root": async (ports) => {
    const { formerRoots } = await rotateRoot(ports, { generation: 2, algorithm: undefined, rootYears: 10 }, ADMIN)
    await rotateIssuer(ports, { name: "ci", generation: 2, algorithm: undefined, days: 500 }, ADMIN)
    await publish(ports, false)
    await activateSuccessor(ports, "ci", 2, ADMIN)
    await retireRoot(ports, hexEncode(digest("sha256", formerRoots[0]?.certificate ?? new Uint8Array(0))), ADMIN)
  },
  "make an OCSP responder, and give it a new key": async (ports, world) => {
    const request = { issuer: "ci", algorithm: undefined, days: 30 }
    await makeOcspResponders(ports, { ...request, generation: 1 }, ADMIN)
    const [made] = await makeOcspResponders(ports, { ...request, generation: 2 }, ADMIN)
    const standing = await listOcspResponders(world.table)
    if (standing.length !== 1 || standing[0]?.key.keyId !== made?.key.keyId) world.fail("another responder stands")
  },
  "give every TUF role a new key": async (ports) => {
    for (const role of TUF_ROLES) await rotateTufKey(ports, role, 2, ADMIN)
  },
  "have a person sign TUF root and targets": async (ports) => {
    const ann = cheapSigner("ann")
    await registerKey(ports, "ann", ann.spki, ADMIN)
    const standing = async () => readRoot((await readTufDocuments(ports.table)).root.bytes).signed.roles.targets
    const wish = { role: "targets", keys: ["service", "ann"], threshold: 2, days: undefined } as const
    if ((await standing()).threshold === 1)
      await propose(ports, wish, ADMIN).catch((error: unknown) => {
        if (!isServiceError(error, "TUF_SIGNATURES_PENDING")) throw error
      })
    const { proposal, request } = (await waitingProposal(ports)) ?? {}
    if (proposal === undefined || request === undefined) return
    const { documents } = ports.run(reviewRequest(request, digest, ports.clock()))
    const { keyid } = namedKey(digest, ann)
    const signatures = documents
      .filter(({ role }) => role === "targets")
      .map(({ role, metadata }) => ({ role, keyid, signature: ann.sign(metadata.signedBytes) }))
    await submitSignatures(ports, proposal.id, signatures, ADMIN)
  },
  "take signatures and events into the logs (R30)": async (ports) => {
    for (const kind of LOG_KINDS) await sequence(ports, kind, { entries: 100, bytes: 2 ** 20 })
  },
  "log between acts (R30)": async (ports, world) => {
    for (const kind of LOG_KINDS) await sequence(ports, kind)
    await signing({ ...signRequest(["pair"], { idempotencyKey: "pair" }), profile: "paired" })(ports, world)
    for (const kind of LOG_KINDS) await sequence(ports, kind)
  },
  "name witnesses, and log with what they cosign (R30)": async (ports, world) => {
    await setWitnesses(ports, `witness w ${WITNESS.vkey} https://w.example/\nquorum w\n`, ADMIN, false)
    for (const kind of LOG_KINDS) await sequence(ports, kind)
    for (const kind of LOG_KINDS) {
      const { epoch } = await readLogHead(world.table, kind)
      const shown = (await readLogCommit(world.table, kind, epoch))?.shown?.bytes
      const object = (await world.objects.get(`log/${kind}/checkpoint`, 65_536))?.bytes
      if (shown === undefined || object === undefined || !bytesEqual(shown, object)) world.fail("another note is shown")
    }
  },
  "have the standing checkpoints cosigned later (R30)": async (ports, world) => {
    const late = { ...ports, cosign: async () => ({ signatures: [], seen: new Map(), failures: [] }) }
    await setWitnesses(ports, `witness w ${WITNESS.vkey} https://w.example/\nquorum w\n`, ADMIN, false)
    for (const kind of LOG_KINDS) await sequence(late, kind)
    for (const kind of LOG_KINDS) {
      await askWitnessesAgain(ports, kind)
      const note = (await world.objects.get(`log/${kind}/checkpoint`, 65_536))?.bytes ?? new Uint8Array(0)
      if (parseNote(note).signatures.length !== 2) world.fail("the standing checkpoint has no cosignature")
    }
  },
  publish: async (ports) => {
    await publish(ports, true)
  },
  "publish with the plan of the epoch before, and without": async (ports, world) => {
    await publish(ports, true)
    await signing(signRequest(["between"], { idempotencyKey: "between" }))(ports, world)
    await publish(ports, true)
    world.lose((key) => key.startsWith("staging/plan/"))
    await publish(ports, true)
  },
}
