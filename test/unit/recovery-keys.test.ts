/** Each key lost or stolen, and what people do then, by the flows behind the commands of docs/recovery.md. */

import { rotateProfile } from "@sealwright/core/admin/profile-rotation"
import { retireRoot, rotateRoot } from "@sealwright/core/admin/roots"
import { activateSuccessor, rotateIssuer } from "@sealwright/core/admin/rotation"
import { readDeployment, readIssuer, readProfile } from "@sealwright/core/ledger/trust"
import { sequence } from "@sealwright/core/log/flow"
import { TUF_ROLES, type TufRole } from "@sealwright/core/model"
import { makeTimestampAuthority } from "@sealwright/core/timestamp/authority"
import { propose, rotateTufKey } from "@sealwright/core/tuf/flow"
import { hexEncode } from "@sealwright/formats/bytes"
import { describe, expect, test } from "vitest"
import { sha256 } from "../support/chains.ts"
import { deployer, inService, type Service, signNow, stateOf } from "../support/recovery.ts"
import { ADMIN, createService, digestOf, signRequest } from "../support/service.ts"
import { newPerson, signAll } from "../support/tuf-people.ts"
import { verdictOf } from "../support/verdicts.ts"
import { expectSound, published, withCode } from "./core-published.ts"

const ACCEPTED = { verdict: "accepted" }
const REVOKED = { verdict: "rejected", code: "CERTIFICATE_REVOKED" }

async function disableNewest(service: Service, role: TufRole): Promise<void> {
  const { tuf } = await readDeployment(service.ports.table)
  service.memory.keys.disable(tuf[role].at(-1)?.keyId ?? "")
}

/** @returns what a deployer decides of a signature made now */
async function signs(service: Service, seed: string, profile = "release") {
  const [outcome] = await service.signer()(signRequest([seed], { profile }))
  if (outcome === undefined || !("signed" in outcome)) throw new Error("not signed")
  const [envelope] = outcome.signed.envelopes
  return () => verdictOf(service, envelope?.bytes ?? new Uint8Array(0), digestOf(seed), profile)
}

describe("a TUF key of the service is lost (R29)", () => {
  test.each(["timestamp", "snapshot", "lists", "registry"] as const)(
    "%s: publishing stops, signing goes on; a new key, and the next run leaves out what it can't sign",
    async (role) => {
      const service = await inService()
      const state = stateOf(service)
      await disableNewest(service, role)
      await expect(service.publish(true)).rejects.toThrow(withCode("KEY_NOT_USABLE"))
      const [id] = await signNow(service, "meanwhile")
      await service.revoke({ kind: "signature", signature: id as string })
      await expect(service.publish()).rejects.toThrow(withCode("KEY_NOT_USABLE"))
      await rotateTufKey(service.ports, role, 2, ADMIN)
      expect(await service.publish()).toMatchObject({ epoch: 3, published: true })
      for (const floors of [undefined, state]) expect(deployer(service, floors)).toMatchObject({ ok: true })
      expectSound(service)
    },
  )

  test("targets: publishing goes on; the root's next version names another key", async () => {
    const service = await inService()
    const state = stateOf(service)
    await disableNewest(service, "targets")
    expect(await service.publish(true)).toMatchObject({ published: true })
    await rotateTufKey(service.ports, "targets", 2, ADMIN)
    await service.publish()
    for (const floors of [undefined, state]) expect(deployer(service, floors)).toMatchObject({ ok: true })
    expectSound(service)
  })

  test("the only key of the root: publishing goes on until the root ends, and no key can be changed any more", async () => {
    const service = await inService()
    const decide = await signs(service, "a")
    await service.publish(true)
    service.pass(5)
    expect(decide()).toMatchObject(ACCEPTED)
    const state = stateOf(service)
    await disableNewest(service, "root")
    await expect(rotateTufKey(service.ports, "root", 2, ADMIN)).rejects.toThrow(withCode("KEY_NOT_USABLE"))
    await expect(rotateTufKey(service.ports, "timestamp", 2, ADMIN)).rejects.toThrow(withCode("KEY_NOT_USABLE"))
    service.pass(60)
    expect(await service.publish(true)).toMatchObject({ published: true })
    expect(deployer(service, state)).toMatchObject({ ok: true })
    service.pass(367 * 86_400)
    expect(decide()).toMatchObject({ verdict: "inconclusive" })
    await expect(service.publish(true)).rejects.toThrow(withCode("PUBLICATION_UNVERIFIED"))
  })
})

/** 2 of 3: the service, ann and bob. */
async function shared() {
  const service = await inService()
  const [ann, bob] = [await newPerson(service, "ann"), await newPerson(service, "bob")]
  const wish = { role: "root", threshold: 2, days: undefined } as const
  await expect(propose(service.ports, { ...wish, keys: ["service", "ann", "bob"] }, ADMIN)).rejects.toThrow(
    withCode("TUF_SIGNATURES_PENDING"),
  )
  expect(await signAll(service, ann, bob)).toBe(true)
  await service.publish()
  return { service, ann, bob, state: stateOf(service), wish }
}

describe("keys of a root that people share, 2 of 3 (R29)", () => {
  test("a person's key is lost or stolen: the two others put another in its place", async () => {
    const { service, ann, state, wish } = await shared()
    const carol = await newPerson(service, "carol")
    await expect(propose(service.ports, { ...wish, keys: ["service", "ann", "carol"] }, ADMIN)).rejects.toThrow(
      withCode("TUF_SIGNATURES_PENDING"),
    )
    expect(await signAll(service, ann, carol)).toBe(true)
    await service.publish()
    for (const floors of [undefined, state]) expect(deployer(service, floors)).toMatchObject({ ok: true })
  })

  test("the service's key is stolen: one signature is not enough for a root, and new keys take it away", async () => {
    const { service, ann, state } = await shared()
    await expect(rotateTufKey(service.ports, "root", 2, ADMIN)).rejects.toThrow(withCode("TUF_SIGNATURES_PENDING"))
    expect(await signAll(service, ann)).toBe(true)
    await service.publish()
    for (const floors of [undefined, state]) expect(deployer(service, floors)).toMatchObject({ ok: true })
  })

  test("two of three are lost: the third can't make a root, whatever it signs", async () => {
    const { service, ann, wish } = await shared()
    await disableNewest(service, "root")
    const carol = await newPerson(service, "carol")
    await expect(propose(service.ports, { ...wish, keys: ["ann", "carol"] }, ADMIN)).rejects.toThrow()
    await expect(signAll(service, ann, carol)).rejects.toThrow("no request waits")
  })
})

describe("a TUF key of the service is stolen (R29)", () => {
  test.each(TUF_ROLES)(
    "%s: a new key, at once or once people have signed; deployers follow by themselves",
    async (role) => {
      const service = await inService()
      const state = stateOf(service)
      await rotateTufKey(service.ports, role, 2, ADMIN)
      await service.publish()
      for (const floors of [undefined, state]) expect(deployer(service, floors)).toMatchObject({ ok: true })
      await disableNewestBut(service, role)
      service.pass(60)
      expect(await service.publish(true)).toMatchObject({ published: true })
      expectSound(service)
    },
  )

  async function disableNewestBut(service: Service, role: TufRole): Promise<void> {
    const { tuf } = await readDeployment(service.ports.table)
    for (const { keyId } of tuf[role].slice(0, -1)) service.memory.keys.disable(keyId)
  }
})

describe("a log's key is lost (R29, R30)", () => {
  test("nothing is logged any more; signing, revoking and publishing go on, and what waits is kept", async () => {
    const service = await inService()
    await sequence(service.ports, "signatures")
    const { log } = await readDeployment(service.ports.table)
    service.memory.keys.disable(log?.signatures.key.keyId ?? "")
    const [id] = await signNow(service, "after")
    await expect(sequence(service.ports, "signatures")).rejects.toThrow(withCode("KEY_NOT_USABLE"))
    await service.revoke({ kind: "signature", signature: id as string })
    expect(await service.publish()).toMatchObject({ published: true })
    service.memory.keys.enable(log?.signatures.key.keyId ?? "")
    expect(await sequence(service.ports, "signatures")).toMatchObject({ size: 3n })
    expectSound(service)
  })
})

describe("a key below the X.509 root is stolen at some time (R29)", () => {
  const next = { name: "ci", generation: 2, algorithm: undefined, days: 900 }

  test("an issuer's: the next generation signs, the old one is revoked, and what the authority stamped before is spared", async () => {
    const service = createService()
    await service.setUp()
    await makeTimestampAuthority(service.ports, { algorithm: "ecdsa-p256-sha256", days: 365 }, ADMIN)
    await service.profile("stamped", { timestamp: "own" })
    await service.profile("release")
    const old = await readIssuer(service.ports.table, "ci")
    service.pass(5)
    const [stamped, plain] = [await signs(service, "a", "stamped"), await signs(service, "b")]
    service.pass(3600)
    const stolenAt = service.ports.clock()
    const state = await (async () => {
      await service.publish()
      service.pass(5)
      return stateOf(service)
    })()
    await service.revoke({ kind: "issuer", issuer: "ci", from: stolenAt })
    await expect(signNow(service, "stopped")).rejects.toMatchObject({
      code: expect.stringMatching(/^ISSUER_|^PROFILE_/),
    })
    await rotateIssuer(service.ports, next, ADMIN)
    await service.publish()
    await activateSuccessor(service.ports, "ci", 2, ADMIN)
    const fresh = await signs(service, "c")
    await service.publish()
    service.pass(5)
    expect([stamped(), plain(), fresh()]).toMatchObject([ACCEPTED, REVOKED, ACCEPTED])
    expect(deployer(service, state)).toMatchObject({ ok: true })
    const { root } = await readDeployment(service.ports.table)
    expect(published(service).crl(root.issuerKeyId).entries.size).toBe(1)
    expect((await readIssuer(service.ports.table, "ci")).issuerKeyId).not.toBe(old.issuerKeyId)
    expectSound(service)
  })

  test("a held profile's: a new key and certificate, the old certificate is revoked with all that it signed", async () => {
    const service = createService()
    await service.setUp()
    await service.profile("held", { keyMode: "held" })
    const earlier = await signs(service, "a", "held")
    const { generation, held } = await readProfile(service.ports.table, "held")
    await rotateProfile(service.ports, "held", generation, undefined, ADMIN)
    const thumbprint = hexEncode(sha256(held?.certificate as Uint8Array))
    await service.revoke({ kind: "certificate", thumbprint })
    const fresh = await signs(service, "b", "held")
    await service.publish()
    service.pass(5)
    expect([earlier(), fresh()]).toMatchObject([REVOKED, ACCEPTED])
    expectSound(service)
  })

  test("the timestamp authority's: the next one stamps, and every token of the old one falls", async () => {
    const service = createService()
    await service.setUp()
    const wish = { algorithm: "ecdsa-p256-sha256", days: 365 } as const
    const old = await makeTimestampAuthority(service.ports, wish, ADMIN)
    await service.profile("stamped", { timestamp: "own" })
    service.pass(5)
    const earlier = await signs(service, "a", "stamped")
    await service.revoke({ kind: "certificate", thumbprint: hexEncode(sha256(old.certificate)) })
    expect((await makeTimestampAuthority(service.ports, wish, ADMIN)).generation).toBe(2)
    // A warm authority remembers the old one for a minute; what it stamps until then falls with it.
    service.pass(61)
    const fresh = await signs(service, "b", "stamped")
    await service.publish()
    service.pass(5)
    expect(fresh()).toMatchObject(ACCEPTED)
    expect(earlier().verdict).not.toBe("accepted")
    expectSound(service)
  })

  test("the root's: a new root, issuers below it, the old one retired: what it certified counts no more", async () => {
    const service = await inService()
    const earlier = await signs(service, "a")
    const { root: old } = await readDeployment(service.ports.table)
    await rotateRoot(service.ports, { generation: 2, algorithm: undefined, rootYears: 10 }, ADMIN)
    await rotateIssuer(service.ports, next, ADMIN)
    await service.publish()
    await activateSuccessor(service.ports, "ci", 2, ADMIN)
    await retireRoot(service.ports, hexEncode(sha256(old.certificate)), ADMIN)
    const fresh = await signs(service, "b")
    await service.publish()
    service.pass(5)
    expect(fresh()).toMatchObject(ACCEPTED)
    expect(earlier()).toMatchObject({ verdict: "rejected" })
    expectSound(service)
  })
})
