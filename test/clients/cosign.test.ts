import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { EphemeralKey } from "@sealwright/core/ports"
import { makeTimestampAuthority } from "@sealwright/core/timestamp/authority"
import { base64Encode, utf8 } from "@sealwright/formats/bytes"
import { parseNotaryJws } from "@sealwright/formats/notary-jws"
import { pemDecodeAll } from "@sealwright/formats/pem"
import { timestampRequest } from "@sealwright/formats/timestamp"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { run, runOffline, withClients } from "../support/clients.ts"
import { ADMIN, createService, NAMES, signRequest } from "../support/service.ts"
import { hashOf } from "../support/timestamps.ts"
import { startAuthority, type TestDeployment } from "./deployment.ts"

/** Authorities as sigstore's trusted root names them, leaf first, certificates in base64 of their DER. */
interface Trusted {
  readonly timestamps: readonly string[]
  readonly certificates?: readonly string[]
}

function trustedRoot({ timestamps, certificates }: Trusted): string {
  const authority = (chain: readonly string[]) => ({
    subject: { organization: NAMES.organisation, commonName: "test" },
    uri: "http://127.0.0.1",
    certChain: { certificates: chain.map((rawBytes) => ({ rawBytes })) },
    validFor: { start: "2020-01-01T00:00:00Z" },
  })
  return JSON.stringify({
    mediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
    certificateAuthorities: certificates === undefined ? [] : [authority(certificates)],
    timestampAuthorities: [authority(timestamps)],
  })
}

const AUTHORITY = { algorithm: "ecdsa-p256-sha256", days: 365 } as const
const WITHOUT_LOG = ["--insecure-ignore-tlog", "--use-signed-timestamps"]

withClients("R8, R32: cosign asks for timestamps and judges them", ["cosign"], (...paths) => {
  const [cosign = ""] = paths

  describe.each(["ecdsa-p256-sha256", "ecdsa-p384-sha384", "rsa-pkcs1-sha384"])("%s", (algorithm) => {
    let deployment: TestDeployment
    let chain: string[]
    const at = (name: string) => join(deployment.folder, name)
    const environment = () => ({ HOME: deployment.folder, COSIGN_PASSWORD: "" })
    const verify = (bundle: string, root: string, blob = "blob") =>
      runOffline(
        cosign,
        [
          "verify-blob",
          "--key",
          at("cosign.pub"),
          "--bundle",
          at(bundle),
          "--trusted-root",
          at(root),
          ...WITHOUT_LOG,
          at(blob),
        ],
        environment(),
      )

    beforeAll(async () => {
      deployment = await startAuthority(algorithm)
      const { timestampAuthority } = await deployment.must("auditor", "timestamp", "authority", "--show")
      chain = [timestampAuthority.certificate, ...timestampAuthority.chain]
        .flatMap((pem: string) => pemDecodeAll("CERTIFICATE", pem))
        .map(base64Encode)
      writeFileSync(at("blob"), "what was there")
      writeFileSync(at("other"), "something else")
      writeFileSync(at("trusted.json"), trustedRoot({ timestamps: chain }))
      await run(cosign, ["generate-key-pair"], environment(), deployment.folder)
      const local = ["--yes", "--key", at("cosign.key"), "--use-signing-config=false", "--tlog-upload=false"]
      const stamped = [
        "--timestamp-server-url",
        deployment.service.timestampUrl,
        "--bundle",
        at("bundle.json"),
        at("blob"),
      ]
      expect(await run(cosign, ["sign-blob", ...local, ...stamped], environment())).toMatchObject({ status: 0 })
    }, 120_000)

    afterAll(() => deployment?.close())

    test("accepts the signature with our token, offline", async () => {
      const bundle = JSON.parse(readFileSync(at("bundle.json"), "utf8"))
      expect(bundle.verificationMaterial.timestampVerificationData.rfc3161Timestamps).toHaveLength(1)
      expect(await verify("bundle.json", "trusted.json")).toMatchObject({ status: 0 })
    })

    test("refuses it for another file, with a changed token, and below a root that it does not trust", async () => {
      expect(await verify("bundle.json", "trusted.json", "other")).toMatchObject({ status: 1 })
      const bundle = JSON.parse(readFileSync(at("bundle.json"), "utf8"))
      const [token] = bundle.verificationMaterial.timestampVerificationData.rfc3161Timestamps
      const bytes = Buffer.from(token.signedTimestamp, "base64")
      bytes[bytes.length - 20] = (bytes[bytes.length - 20] as number) ^ 1
      token.signedTimestamp = bytes.toString("base64")
      writeFileSync(at("tampered.json"), JSON.stringify(bundle))
      expect(await verify("tampered.json", "trusted.json")).toMatchObject({
        status: 1,
        stderr: expect.stringContaining("timestamp"),
      })
      const strange = createService()
      await strange.setUp()
      const authority = await makeTimestampAuthority(strange.ports, AUTHORITY, ADMIN)
      const strangers = [authority.certificate, ...authority.chain].map(base64Encode)
      writeFileSync(at("strange.json"), trustedRoot({ timestamps: strangers }))
      expect(await verify("bundle.json", "strange.json")).toMatchObject({
        status: 1,
        stderr: expect.stringContaining("timestamp"),
      })
    })
  })
})

withClients("D2, R2: the leaf of a signature satisfies cosign", ["cosign"], (...paths) => {
  const [cosign = ""] = paths
  const folder = mkdtempSync(join(tmpdir(), "sealwright-cosign-"))
  const at = (name: string) => join(folder, name)
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  /** Signs an image through the service, and with the same key a blob, so that cosign has something of its own to check the leaf by. */
  async function signed(algorithm: "ecdsa-p256-sha256" | "ecdsa-p384-sha384") {
    let key: EphemeralKey | undefined
    const service = createService({
      makeEphemeralKey: (make) => async (scheme) => {
        key = await make(scheme)
        return key
      },
    })
    await service.setUp()
    service.pass(5)
    const authority = await makeTimestampAuthority(service.ports, AUTHORITY, ADMIN)
    await service.profile("release", { algorithm, timestamp: "own" })
    service.pass(5)
    const [outcome] = await service.signer()(signRequest(["a"]))
    const envelope = outcome && "signed" in outcome ? outcome.signed.envelopes[0]?.bytes : undefined
    if (key === undefined || envelope === undefined) throw new Error("not signed")
    const [leaf = "", ...above] = parseNotaryJws(envelope).x5c
    const blob = utf8("a blob")
    const signature = await key.sign(blob)
    const query = timestampRequest({ hash: "sha256", digest: hashOf("sha256", signature), certReq: true })
    const token = await service.ports.timestamper.timestamp(query)
    const digest = hashOf(algorithm === "ecdsa-p256-sha256" ? "sha256" : "sha384", blob)
    writeFileSync(at("blob"), blob)
    writeFileSync(
      at("bundle.json"),
      JSON.stringify({
        mediaType: "application/vnd.dev.sigstore.bundle.v0.3+json",
        verificationMaterial: {
          certificate: { rawBytes: leaf },
          timestampVerificationData: { rfc3161Timestamps: [{ signedTimestamp: base64Encode(token) }] },
        },
        messageSignature: {
          messageDigest: {
            algorithm: algorithm === "ecdsa-p256-sha256" ? "SHA2_256" : "SHA2_384",
            digest: base64Encode(digest),
          },
          signature: base64Encode(signature),
        },
      }),
    )
    const timestamps = [authority.certificate, ...authority.chain].map(base64Encode)
    writeFileSync(at("trusted.json"), trustedRoot({ timestamps, certificates: above }))
    writeFileSync(at("untrusted.json"), trustedRoot({ timestamps, certificates: timestamps.slice(1) }))
  }

  const verify = (identity: string, issuer: string, root = "trusted.json") => {
    const who = ["--certificate-identity", identity, "--certificate-oidc-issuer", issuer, "--insecure-ignore-sct"]
    const what = ["--bundle", at("bundle.json"), "--trusted-root", at(root), ...WITHOUT_LOG, at("blob")]
    return runOffline(cosign, ["verify-blob", ...who, ...what], { HOME: folder })
  }
  const IDENTITY = `release@${NAMES.identityHost}`
  const ISSUER = `https://${NAMES.identityHost}`

  test.each(["ecdsa-p256-sha256", "ecdsa-p384-sha384"] as const)(
    "%s: by its identity, issuer and time",
    async (algorithm) => {
      await signed(algorithm)
      expect(await verify(IDENTITY, ISSUER)).toMatchObject({ status: 0 })
      expect(await verify(`other@${NAMES.identityHost}`, ISSUER)).toMatchObject({ status: 1 })
      expect(await verify(IDENTITY, "https://elsewhere.example")).toMatchObject({ status: 1 })
      expect(await verify(IDENTITY, ISSUER, "untrusted.json")).toMatchObject({ status: 1 })
    },
  )
})
