import { readFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { DynamoDBClient } from "@aws-sdk/client-dynamodb"
import { KMSClient } from "@aws-sdk/client-kms"
import { createDynamoTable } from "@sealwright/adapters/dynamodb"
import { makeEphemeralKey } from "@sealwright/adapters/ephemeral-key"
import { createKmsKeys } from "@sealwright/adapters/kms"
import { digest } from "@sealwright/adapters/platform"
import { clientOptions } from "@sealwright/adapters/sdk"
import { createWrappedKeys } from "@sealwright/adapters/wrapped-keys"
import { leafCertifier } from "@sealwright/core/admin/certificates"
import { findIssuer, readDeployment } from "@sealwright/core/ledger/trust"
import { hexDecode } from "@sealwright/formats/bytes"
import { leafSerial } from "@sealwright/formats/leaf-serial"
import { assembleEnvelope, unsignedEnvelope } from "@sealwright/formats/notary-jws"
import { attachSignature } from "sealwright/layout"
import { afterAll, beforeAll, expect, test } from "vitest"
import { type Outcome, runOffline, withClients } from "../support/clients.ts"
import {
  type Image,
  profileArguments,
  REGION,
  REPOSITORY,
  startAuthority,
  type TestDeployment,
  writeImage,
} from "./deployment.ts"

const P256 = "ecdsa-p256-sha256"
const MEDIA_TYPE = "application/vnd.oci.image.manifest.v1+json"
const PLAIN = `${REPOSITORY}-plain`

withClients("D13, R8, R32: a wrapped issuer, notation as the judge", ["notation"], (notation) => {
  let deployment: TestDeployment
  let bundle: string
  let kept: Image & { readonly id: string }
  let withdrawn: Image & { readonly id: string }
  let plain: Image & { readonly id: string }

  beforeAll(async () => {
    deployment = await startAuthority(P256)
    const { must } = deployment
    await must("admin", "timestamp", "authority", "--wrapped")
    await must("admin", "issuer", "create", "bulk", "--wrapped")
    await must("admin", "issuer", "create", "ci")
    await must("admin", ...profileArguments("release", "bulk", REPOSITORY, "--timestamp", "own"))
    await must("admin", ...profileArguments("plain", "ci", PLAIN))
    await sleep(1_500)
    kept = await sign("kept", "release", REPOSITORY)
    withdrawn = await sign("withdrawn", "release", REPOSITORY)
    plain = await sign("plain", "plain", PLAIN)
    bundle = await deployment.publishAndExport("bundle")
  }, 120_000)

  afterAll(() => deployment?.close())

  async function sign(name: string, profile: string, repository: string) {
    const image = writeImage(join(deployment.folder, name), name)
    const args = ["sign", image.path, "--profile", profile, "--reference", `${repository}:v1`]
    const { signature } = await deployment.must("pipeline", ...args)
    expect(signature.wrapped).toBe(profile === "release")
    return { ...image, id: String(signature.id) }
  }

  function judge({ path, digest: name }: Image, repository = REPOSITORY): Promise<Outcome> {
    const args = ["verify", "--debug", "--oci-layout", "--scope", repository, `${path}@${name}`]
    return runOffline(notation, args, {
      HOME: deployment.folder,
      NOTATION_EXPERIMENTAL: "1",
      XDG_CONFIG_HOME: join(bundle, "notation/config"),
      XDG_CACHE_HOME: join(bundle, "notation/cache"),
    })
  }

  function ours({ path }: Image, repository = REPOSITORY) {
    const files = ["--policy", join(bundle, "policy/trustpolicy.json"), "--bundle", bundle, "--root", "tuf-root.json"]
    const what = ["verify", path, "--reference", `${repository}:v1`, "--no-state"]
    return deployment.sealwright("operator", ...what, ...files)
  }

  /** What a thief makes who has an issuer's key: an envelope without timestamp, for a profile that has none. */
  async function forge(name: string, issuerName: string): Promise<Image> {
    const { service } = deployment
    const credentials = service.keys["function-sign"] ?? { accessKeyId: "", secretAccessKey: "" }
    const client = { ...clientOptions({ region: REGION }), credentials }
    const dynamodb = new DynamoDBClient({ ...client, endpoint: service.endpoints.dynamodb })
    const kms = new KMSClient({ ...client, endpoint: service.endpoints.kms })
    try {
      const table = createDynamoTable(dynamodb, service.table)
      const issuer = await findIssuer(table, issuerName)
      if (issuer === undefined) throw new Error("no such issuer")
      const keys = issuerName === "bulk" ? createWrappedKeys(kms, "sealwright") : createKmsKeys(kms)
      const key = makeEphemeralKey(P256)
      const at = new Date(Math.floor(Date.now() / 1000) * 1000)
      const { signature: known } = await deployment.must("auditor", "show", issuerName === "bulk" ? kept.id : plain.id)
      const number = Number(known.number)
      const serial = leafSerial(digest("sha256", new Uint8Array(16)), number)
      const span = { notBefore: at, notAfter: new Date(at.getTime() + 600_000) }
      const certify = leafCertifier({ keys, digest }, issuer, await readDeployment(table), "plain")
      const leaf = await certify({ serial, spki: key.spki, ...span })
      const image = writeImage(join(deployment.folder, name), name)
      const { size } = JSON.parse(readFileSync(join(image.path, "index.json"), "utf8")).manifests[0]
      const target = { mediaType: MEDIA_TYPE, digest: image.digest, size }
      const unsigned = unsignedEnvelope({
        scheme: P256,
        authenticSigningTime: at,
        target,
        sealwright: { issuerKeyId: hexDecode(issuer.issuerKeyId), serial, number },
      })
      const chain = [leaf, issuer.certificate, ...issuer.chain]
      const envelope = assembleEnvelope(unsigned, await key.sign(unsigned.signingInput), chain, "thief/1")
      attachSignature(image.path, target, envelope)
      return image
    } finally {
      dynamodb.destroy()
      kms.destroy()
    }
  }

  const accepted = { status: 0, stdout: expect.stringContaining("Successfully verified signature") }
  const refused = (reason: RegExp) => ({ status: 1, stderr: expect.stringMatching(reason) })

  test("both accept what it stamped, and what another issuer signed without", async () => {
    for (const image of [kept, withdrawn]) {
      expect(await judge(image)).toMatchObject(accepted)
      expect(await ours(image)).toMatchObject({ status: 0, answer: { verdict: "accepted" } })
    }
    expect(await judge(plain, PLAIN)).toMatchObject(accepted)
    expect(await ours(plain, PLAIN)).toMatchObject({ status: 0, answer: { verdict: "accepted" } })
  })

  test("M4: both refuse what a thief of its key makes without a timestamp, under whatever profile", async () => {
    const stolen = await forge("stolen", "bulk")
    for (const repository of [PLAIN, REPOSITORY]) {
      expect(await judge(stolen, repository)).toMatchObject(refused(/authenticity validation failed/))
      expect(await ours(stolen, repository)).toMatchObject({ status: 1, answer: { code: "TIMESTAMP_DEMANDED" } })
    }
    // The same of the other issuer is what it looks like: so form and path of the forgery are fine.
    const misused = await forge("misused", "ci")
    expect(await judge(misused, PLAIN)).toMatchObject(accepted)
  })

  test("R24: both refuse a revoked one, and go on accepting its sibling", async () => {
    await deployment.must("revoker", "revoke", "--signature", withdrawn.id, "--reason", "keyCompromise")
    bundle = await deployment.publishAndExport("after")
    expect(await judge(withdrawn)).toMatchObject(refused(/is revoked/))
    expect(await ours(withdrawn)).toMatchObject({ status: 1, answer: { code: "SIGNATURE_REVOKED" } })
    expect(await judge(kept)).toMatchObject(accepted)
    expect(await ours(kept)).toMatchObject({ status: 0, answer: { verdict: "accepted" } })
  })
})
