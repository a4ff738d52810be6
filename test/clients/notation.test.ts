import { createHash } from "node:crypto"
import { cpSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { utf8 } from "@sealwright/formats/bytes"
import { attachSignature } from "sealwright/layout"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { type Outcome, runOffline, withClients } from "../support/clients.ts"
import {
  type Envelope,
  profileArguments,
  REPOSITORY,
  readEnvelope,
  startDeployment,
  type TestDeployment,
  writeImage,
} from "./deployment.ts"

const ALGORITHMS = ["ecdsa-p256-sha256", "ecdsa-p384-sha384", "rsa-pss-sha384"] as const
const MODES = ["ephemeral", "held"] as const
const MEDIA_TYPE = "application/vnd.oci.image.manifest.v1+json"
const MATRIX = ALGORITHMS.flatMap((algorithm) =>
  MODES.map((mode) => ({ algorithm, mode, name: `${algorithm}-${mode}` })),
)
const EXPIRY_MS = 20_000
const LEAF = 'error: signing certificate with subject "CN=release,O=Wabbit Networks,ST=Washington,C=US"'
const REVOKED = `${LEAF} is revoked`
const INVALID = "error: signature is invalid"

interface SignedImage {
  readonly path: string
  readonly digest: string
  readonly id: string
  readonly envelope: Envelope
}

withClients("R26, R32: notation, offline and strict, as the judge", ["notation"], (notation) => {
  let deployment: TestDeployment
  let before: string
  let after: string
  const images = new Map<string, SignedImage>()
  let expiresAt = 0

  beforeAll(async () => {
    deployment = await startDeployment()
    const { must } = deployment
    await deployment.setUp()
    for (const algorithm of ALGORITHMS) {
      await must("admin", "issuer", "create", `ci-${algorithm}`, "--algorithm", algorithm)
      for (const mode of MODES)
        await must(
          "admin",
          ...profileArguments(
            `${algorithm}-${mode}`,
            `ci-${algorithm}`,
            repositoryOf(`${algorithm}-${mode}`),
            ...["--algorithm", algorithm, "--key-mode", mode],
          ),
        )
    }
    const issuer = "ci-ecdsa-p256-sha256"
    await must("admin", ...profileArguments("release", issuer, REPOSITORY))
    await must("admin", ...profileArguments("other", issuer, `${REPOSITORY}-other`))
    await must("admin", ...profileArguments("shared", issuer, `${REPOSITORY}-shared`, "--key-mode", "held"))

    for (const { name } of MATRIX) await sign(name, name, repositoryOf(name))
    for (const name of ["withdrawn", "sibling"]) await sign(name, "release", REPOSITORY)
    await sign("foreign", "other", `${REPOSITORY}-other`)
    await sign("shared", "shared", `${REPOSITORY}-shared`)
    expiresAt = Math.ceil((Date.now() + EXPIRY_MS) / 1000) * 1000
    await sign("expiring", "release", REPOSITORY, "--expires", `${new Date(expiresAt).toISOString().slice(0, 19)}Z`)

    before = await deployment.publishAndExport("before")
    await must("revoker", "revoke", "--signature", image("withdrawn").id, "--reason", "keyCompromise")
    const [leaf = ""] = image("shared").envelope.header.x5c
    const certificate = createHash("sha256").update(Buffer.from(leaf, "base64")).digest("hex")
    await must("revoker", "revoke", "--certificate", certificate, "--reason", "keyCompromise")
    after = await deployment.publishAndExport("after")
  }, 300_000)

  afterAll(() => deployment?.close())

  async function sign(name: string, profile: string, repository: string, ...more: readonly string[]): Promise<void> {
    const { path, digest } = writeImage(join(deployment.folder, name), name)
    const output = join(deployment.folder, `${name}.jws`)
    const reference = ["--profile", profile, "--reference", `${repository}:v1`, "--output", output]
    const { signature } = await deployment.must("pipeline", "sign", path, ...reference, ...more)
    images.set(name, { path, digest, id: signature.id, envelope: readEnvelope(output) })
  }

  function image(name: string): SignedImage {
    const found = images.get(name)
    if (found === undefined) throw new Error(`no image ${name}`)
    return found
  }

  /** @param lists the bundle whose CRLs the cache is seeded with */
  function verify(bundle: string, path: string, digest: string, scope: string, lists = bundle): Promise<Outcome> {
    return runOffline(notation, ["verify", "--debug", "--oci-layout", "--scope", scope, `${path}@${digest}`], {
      HOME: deployment.folder,
      NOTATION_EXPERIMENTAL: "1",
      XDG_CONFIG_HOME: join(bundle, "notation/config"),
      XDG_CACHE_HOME: join(lists, "notation/cache"),
    })
  }

  /** A layout that holds the image of `name` and an envelope made by hand. */
  function layoutWith(copy: string, name: string, envelope: Envelope): string {
    const { digest } = image(name)
    const { path } = writeImage(join(deployment.folder, copy), name)
    const subject = { mediaType: MEDIA_TYPE, digest, size: sizeOf(name) }
    attachSignature(path, subject, utf8(JSON.stringify(envelope)))
    return path
  }

  function sizeOf(name: string): number {
    const { payload } = image(name).envelope
    return JSON.parse(Buffer.from(payload, "base64url").toString("utf8")).targetArtifact.size
  }

  const accepted = { status: 0, stdout: expect.stringContaining("Successfully verified signature") }
  /** notation gives the reason of a refused signature in its debug log alone. */
  const refusedFor = (reason: string) => ({ status: 1, stderr: expect.stringContaining(reason) })

  describe("accepts what was signed", () => {
    test.each(MATRIX)("$algorithm, $mode", async ({ name }) => {
      const { path, digest } = image(name)
      expect(await verify(before, path, digest, repositoryOf(name))).toMatchObject(accepted)
      expect(await verify(after, path, digest, repositoryOf(name))).toMatchObject(accepted)
    })
  })

  test("R24: after revoke and export, refuses exactly that signature", async () => {
    for (const name of ["withdrawn", "sibling"])
      expect(await verify(before, image(name).path, image(name).digest, REPOSITORY)).toMatchObject(accepted)
    const { path, digest } = image("withdrawn")
    expect(await verify(after, path, digest, REPOSITORY)).toMatchObject(refusedFor(REVOKED))
    expect(await verify(after, image("sibling").path, image("sibling").digest, REPOSITORY)).toMatchObject(accepted)
  })

  test("refuses what a revoked shared certificate signed", async () => {
    const { path, digest } = image("shared")
    const scope = `${REPOSITORY}-shared`
    expect(await verify(before, path, digest, scope)).toMatchObject(accepted)
    expect(await verify(before, path, digest, scope, after)).toMatchObject(
      refusedFor(REVOKED.replace("CN=release", "CN=shared")),
    )
    expect(await verify(after, path, digest, scope)).toMatchObject(
      refusedFor("has no applicable trust policy statement"),
    )
  })

  test("refuses the revoked envelope under its sibling's certificates", async () => {
    const swapped = { ...image("withdrawn").envelope, header: image("sibling").envelope.header }
    const path = layoutWith("swapped", "withdrawn", swapped)
    expect(await verify(after, path, image("withdrawn").digest, REPOSITORY)).toMatchObject(refusedFor(INVALID))
  })

  test("refuses an envelope with another payload", async () => {
    const { envelope } = image("withdrawn")
    const forged = { ...image("sibling").envelope, payload: envelope.payload }
    const path = layoutWith("tampered-payload", "withdrawn", forged)
    expect(await verify(before, path, image("withdrawn").digest, REPOSITORY)).toMatchObject(refusedFor(INVALID))
  })

  test("refuses a signature that is moved to another image", async () => {
    const path = layoutWith("moved", "withdrawn", image("sibling").envelope)
    expect(await verify(before, path, image("withdrawn").digest, REPOSITORY)).toMatchObject(
      refusedFor("error: content descriptor mismatch"),
    )
  })

  test("finds no signature for a changed image", async () => {
    const path = join(deployment.folder, "changed")
    cpSync(image("sibling").path, path, { recursive: true })
    const index = JSON.parse(readFileSync(join(path, "index.json"), "utf8"))
    const { digest } = writeImage(path, "changed")
    const { manifests } = JSON.parse(readFileSync(join(path, "index.json"), "utf8"))
    writeFileSync(
      join(path, "index.json"),
      JSON.stringify({ ...index, manifests: [...index.manifests.slice(1), ...manifests] }),
    )
    expect(await verify(before, path, digest, REPOSITORY)).toMatchObject(refusedFor("no signature is associated with"))
  })

  test("R23: refuses another profile's signature in this repository", async () => {
    const { path, digest } = image("foreign")
    expect(await verify(before, path, digest, `${REPOSITORY}-other`)).toMatchObject(accepted)
    expect(await verify(before, path, digest, REPOSITORY)).toMatchObject(
      refusedFor("does not match the X.509 trusted identities"),
    )
  })

  test("R7: refuses an expired signature", async () => {
    await sleep(Math.max(0, expiresAt + 1000 - Date.now()))
    const { path, digest } = image("expiring")
    expect(await verify(before, path, digest, REPOSITORY)).toMatchObject(
      refusedFor("error: digital signature has expired on"),
    )
  })

  test("refuses when a CRL is missing from the bundle", async () => {
    const bare = join(deployment.folder, "bare")
    cpSync(join(before, "notation/config"), join(bare, "notation/config"), { recursive: true })
    const { path, digest } = image("sibling")
    expect(await verify(bare, path, digest, REPOSITORY)).toMatchObject(
      refusedFor(`${LEAF} revocation status is unknown`),
    )
  })
})

function repositoryOf(name: string): string {
  return `registry.wabbit-networks.io/matrix/${name}`
}
