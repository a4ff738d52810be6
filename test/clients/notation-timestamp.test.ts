import { cpSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { utf8 } from "@sealwright/formats/bytes"
import { pemEncode } from "@sealwright/formats/pem"
import { attachSignature } from "sealwright/layout"
import { afterAll, beforeAll, expect, test } from "vitest"
import { makeIssuer, makeSigner } from "../support/chains.ts"
import { type Outcome, run, runOffline, withClients } from "../support/clients.ts"
import { makeAuthority, makeToken } from "../support/timestamps.ts"
import {
  type Envelope,
  type Image,
  profileArguments,
  REPOSITORY,
  readEnvelope,
  startAuthority,
  type TestDeployment,
  writeImage,
} from "./deployment.ts"

const TOKEN = "io.cncf.notary.timestampSignature"
const MEDIA_TYPE = "application/vnd.oci.image.manifest.v1+json"
const STORE = "notation/truststore/x509/tsa/sealwright/root-1.crt"
const DAY_MS = 86_400_000

type Header = { [name: string]: unknown }

withClients(
  "R8, R32: what this service signs and stamps, notation as the judge",
  ["openssl", "notation"],
  (...paths) => {
    const [openssl = "", notation = ""] = paths
    let deployment: TestDeployment
    let bundle: string
    let envelope: Envelope
    let image: Image
    let leafEndMs: number

    beforeAll(async () => {
      deployment = await startAuthority("ecdsa-p256-sha256")
      const { must, folder } = deployment
      await must("admin", "issuer", "create", "ci")
      const stamped = ["--timestamp", "own", "--leaf-lifetime", "1m"]
      await must("admin", ...profileArguments("release", "ci", REPOSITORY, ...stamped))
      await sleep(1_500)
      image = writeImage(join(folder, "stamped"), "stamped")
      const sign = ["sign", image.path, "--profile", "release", "--reference", `${REPOSITORY}:v1`]
      const { signature } = await must("pipeline", ...sign, "--output", join(folder, "stamped.jws"))
      leafEndMs = Date.parse(signature.certificateNotAfter)
      envelope = readEnvelope(join(folder, "stamped.jws"))
      bundle = await deployment.publishAndExport("bundle")
    }, 120_000)

    afterAll(() => deployment?.close())

    function judge(path: string, config = join(bundle, "notation/config")): Promise<Outcome> {
      const args = ["verify", "--debug", "--oci-layout", "--scope", REPOSITORY, `${path}@${image.digest}`]
      return runOffline(notation, args, {
        HOME: deployment.folder,
        NOTATION_EXPERIMENTAL: "1",
        XDG_CONFIG_HOME: config,
        XDG_CACHE_HOME: join(bundle, "notation/cache"),
      })
    }

    function ours(path: string, policy = join(bundle, "policy")) {
      const files = ["--policy", join(policy, "trustpolicy.json"), "--bundle", bundle, "--root", "tuf-root.json"]
      const what = ["verify", path, "--reference", `${REPOSITORY}:v1`, "--no-state"]
      return deployment.sealwright("operator", ...what, ...files)
    }

    /** The image with an envelope whose unsigned header is another. */
    function withHeader(name: string, change: (header: Header) => void): string {
      const { path } = writeImage(join(deployment.folder, name), "stamped")
      const changed = structuredClone(envelope)
      change(changed.header as unknown as Header)
      const { size } = JSON.parse(Buffer.from(envelope.payload, "base64url").toString("utf8")).targetArtifact
      attachSignature(path, { mediaType: MEDIA_TYPE, digest: image.digest, size }, utf8(JSON.stringify(changed)))
      return path
    }
    const withToken = (name: string, token: Uint8Array) =>
      withHeader(name, (header) => {
        header[TOKEN] = Buffer.from(token).toString("base64")
      })
    const tokenOf = () => Buffer.from(String((envelope.header as unknown as Header)[TOKEN]), "base64")

    /** Policy and notation's configuration with another timestamp root. */
    function trusting(name: string, root: string): { readonly config: string; readonly policy: string } {
      const config = join(deployment.folder, name, "config")
      const policy = join(deployment.folder, name, "policy")
      cpSync(join(bundle, "notation/config"), config, { recursive: true })
      cpSync(join(bundle, "policy"), policy, { recursive: true })
      writeFileSync(join(config, STORE), root)
      writeFileSync(join(policy, "timestamp-root-1.pem"), root)
      return { config, policy }
    }

    const accepted = { status: 0, stdout: expect.stringContaining("Successfully verified signature") }
    const refused = (reason: RegExp) => ({ status: 1, stderr: expect.stringMatching(reason) })

    test("both accept it, also after the certificate's end", async () => {
      expect(await judge(image.path)).toMatchObject(accepted)
      expect(await ours(image.path)).toMatchObject({ status: 0, answer: { verdict: "accepted" } })
      await sleep(Math.max(0, leafEndMs + 2_000 - Date.now()))
      expect(await judge(image.path)).toMatchObject(accepted)
      expect(await ours(image.path)).toMatchObject({ status: 0, answer: { verdict: "accepted" } })
    }, 120_000)

    test("both refuse it without its token", async () => {
      const path = withHeader("bare", (header) => void delete header[TOKEN])
      expect(await judge(path)).toMatchObject(refused(/no timestamp countersignature/))
      expect(await ours(path)).toMatchObject({ status: 1, answer: { code: "CHAIN_EXPIRED" } })
    })

    test("both refuse a token that was tampered with", async () => {
      const token = tokenOf()
      token[token.length - 5] = (token[token.length - 5] as number) ^ 1
      const path = withToken("tampered", token)
      expect(await judge(path)).toMatchObject(refused(/failed to verify the timestamp countersignature/))
      expect(await ours(path)).toMatchObject({ status: 1, answer: { code: "TIMESTAMP_SIGNATURE_INVALID" } })
    })

    test("both refuse a token for other bytes", async () => {
      writeFileSync(join(deployment.folder, "data"), "other bytes")
      await deployment.must("pipeline", "timestamp", "data", "--out", "data.tsr")
      await run(openssl, ["ts", "-reply", "-in", "data.tsr", "-token_out", "-out", "data.tst"], {}, deployment.folder)
      const path = withToken("moved", readFileSync(join(deployment.folder, "data.tst")))
      expect(await judge(path)).toMatchObject(refused(/mismatched message/))
      expect(await ours(path)).toMatchObject({ status: 1, answer: { code: "TIMESTAMP_IMPRINT_MISMATCH" } })
    })

    test("both refuse an authority that they do not trust", async () => {
      const { config, policy } = trusting("strange", pemEncode("CERTIFICATE", makeIssuer("ecdsa-p256-sha256").root))
      expect(await judge(image.path, config)).toMatchObject(refused(/unknown authority/))
      expect(await ours(image.path, policy)).toMatchObject({ status: 1, answer: { code: "TIMESTAMP_NOT_TRUSTED" } })
    })

    test("both refuse an authority with another purpose, one that had ended, and one that an issuer's key made", async () => {
      const raw = Buffer.from(envelope.signature, "base64url")
      const issuer = makeIssuer("ecdsa-p256-sha256")
      const genTime = new Date(leafEndMs - 60_000)
      const around = { notBefore: new Date(leafEndMs - DAY_MS), notAfter: new Date(leafEndMs + DAY_MS) }
      const ended = { notAfter: new Date(genTime.getTime() - 60_000) }
      const below = makeAuthority(issuer, "ecdsa-p256-sha256", { below: "issuer" })
      const expired = makeAuthority(issuer, "ecdsa-p256-sha256", ended)
      const signer = makeSigner("ecdsa-p256-sha256")
      const leaf = issuer.leaf({ signer, number: 1, ...around })
      const above = [issuer.issuing, issuer.root]
      const stranger = { signer, certificate: leaf, root: issuer.root }
      const tokens = {
        below: makeToken(below, raw, { genTime, certificates: [below.certificate, ...above] }),
        expired: makeToken(expired, raw, { genTime }),
        purpose: makeToken(stranger, raw, { genTime, certificates: [leaf, ...above] }),
      }
      const { config, policy } = trusting("own", pemEncode("CERTIFICATE", issuer.root))
      for (const [name, token] of Object.entries(tokens)) {
        const path = withToken(name, token)
        const { status, stderr } = await judge(path, config)
        expect([name, status]).toEqual([name, 1])
        expect(stderr).toMatch(/failed to verify the timestamp countersignature|timestamping certificate/)
        expect((await ours(path, policy)).answer).toMatchObject({ code: "TIMESTAMP_CHAIN_INVALID" })
      }
      // Form and path of the good one are fine: what stands against it is that nobody knows whether its authority was revoked.
      const good = withToken("good", makeToken(makeAuthority(issuer, "ecdsa-p256-sha256"), raw, { genTime }))
      expect(await judge(good, config)).toMatchObject(refused(/revocation/))
      expect(await ours(good, policy)).toMatchObject({ status: 3, answer: { code: "REVOCATION_UNKNOWN" } })
    })

    test("both refuse every token of an authority that was revoked", async () => {
      const { must, folder } = deployment
      const { timestampAuthority } = await must("auditor", "timestamp", "authority", "--show")
      writeFileSync(join(folder, "authority.pem"), timestampAuthority.certificate)
      const hash = ["x509", "-in", "authority.pem", "-noout", "-fingerprint", "-sha256"]
      const { stdout } = await run(openssl, hash, {}, folder)
      const thumbprint = stdout.trim().split("=")[1]?.replaceAll(":", "").toLowerCase() ?? ""
      await must("revoker", "revoke", "--certificate", thumbprint, "--reason", "keyCompromise")
      bundle = await deployment.publishAndExport("after")
      expect(await judge(image.path)).toMatchObject(refused(/revoked/))
      expect(await ours(image.path)).toMatchObject({ status: 1, answer: { code: "TIMESTAMP_AUTHORITY_REVOKED" } })
    })
  },
)
