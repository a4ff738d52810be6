import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { EXTRA_ARTIFACT_TYPE, NOTARY_ARTIFACT_TYPE } from "@sealwright/formats/oci-notary"
import { afterAll, beforeAll, expect, test } from "vitest"
import { type Outcome, runOffline, withClients } from "../support/clients.ts"
import { profileArguments, REPOSITORY, startDeployment, type TestDeployment, writeImage } from "./deployment.ts"

const REVOKED = "is revoked"

withClients("R19, R32: notation, beside a signature of ML-DSA-65", ["notation"], (notation) => {
  let deployment: TestDeployment
  let before: string
  let after: string
  const images = new Map<string, { readonly path: string; readonly digest: string; readonly id: string }>()

  beforeAll(async () => {
    deployment = await startDeployment()
    const { must } = deployment
    await deployment.setUp()
    await must("admin", "issuer", "create", "ci")
    await must("admin", "root", "create", "--algorithm", "ml-dsa-65")
    await must("admin", "issuer", "create", "pq", "--algorithm", "ml-dsa-65")
    await must("admin", ...profileArguments("release", "ci", REPOSITORY, "--extra-issuer", "pq"))
    for (const name of ["good", "withdrawn"]) {
      const { path, digest } = writeImage(join(deployment.folder, name), name)
      const { signature } = await must(
        "pipeline",
        "sign",
        path,
        "--profile",
        "release",
        "--reference",
        `${REPOSITORY}:v1`,
      )
      images.set(name, { path, digest, id: signature.id })
    }
    before = await deployment.publishAndExport("before")
    await must("revoker", "revoke", "--signature", images.get("withdrawn")?.id ?? "", "--reason", "keyCompromise")
    after = await deployment.publishAndExport("after")
  }, 300_000)

  afterAll(() => deployment?.close())

  function verify(bundle: string, name: string): Promise<Outcome> {
    const { path, digest } = images.get(name) ?? { path: "", digest: "" }
    return runOffline(notation, ["verify", "--debug", "--oci-layout", "--scope", REPOSITORY, `${path}@${digest}`], {
      HOME: deployment.folder,
      NOTATION_EXPERIMENTAL: "1",
      XDG_CONFIG_HOME: join(bundle, "notation/config"),
      XDG_CACHE_HOME: join(bundle, "notation/cache"),
    })
  }

  test("the layout holds both, the extra one under a type that notation does not look for", () => {
    const { path } = images.get("good") ?? { path: "" }
    const { manifests } = JSON.parse(readFileSync(join(path, "index.json"), "utf8"))
    const types = manifests.map(({ digest }: { digest: string }) => {
      const manifest = JSON.parse(readFileSync(join(path, "blobs/sha256", digest.slice(7)), "utf8"))
      return manifest.config.mediaType
    })
    expect(types).toEqual(expect.arrayContaining([NOTARY_ARTIFACT_TYPE, EXTRA_ARTIFACT_TYPE]))
  })

  test("its trust store has the one root that it can read", () => {
    const store = join(before, "notation/config/notation/truststore/x509/signingAuthority/sealwright")
    expect(readdirSync(store)).toHaveLength(1)
  })

  test("strict, it accepts the artifact, and refuses it once revoked", async () => {
    for (const name of ["good", "withdrawn"]) expect((await verify(before, name)).status, name).toBe(0)
    expect((await verify(after, "good")).status).toBe(0)
    const { status, stderr, stdout } = await verify(after, "withdrawn")
    expect(status).not.toBe(0)
    expect(stderr + stdout).toContain(REVOKED)
  })
})
