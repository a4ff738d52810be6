import { hexEncode, utf8, utf8Decode } from "@sealwright/formats/bytes"
import {
  MEDIA_TYPE,
  parseDigest,
  parseImageIndex,
  parseImageManifest,
  parseLayoutMarker,
  readDescriptor,
} from "@sealwright/formats/oci"
import { EMPTY_CONFIG, encodeSignatureManifest, parseSignatureManifest } from "@sealwright/formats/oci-notary"
import { formatReference, parseReference, parseRepository } from "@sealwright/formats/oci-reference"
import { describe, expect, test } from "vitest"
import { sha256 } from "../support/chains.ts"

const code = (value: string) => expect.objectContaining({ code: value })
const SHA = `sha256:${"ab".repeat(32)}`
const encode = (value: unknown) => utf8(JSON.stringify(value))

describe("T8: digests", () => {
  test.each([
    [SHA, "sha256", 32],
    [`sha384:${"0f".repeat(48)}`, "sha384", 48],
    [`sha512:${"00".repeat(64)}`, "sha512", 64],
  ])("%s", (text, algorithm, length) => {
    const digest = parseDigest(text)
    expect([digest.algorithm, digest.bytes.length]).toEqual([algorithm, length])
    expect(`${digest.algorithm}:${hexEncode(digest.bytes)}`).toBe(text)
  })

  test.each([
    "",
    "sha256:",
    "sha256",
    `sha256:${"AB".repeat(32)}`,
    `sha256:${"ab".repeat(31)}`,
    `sha256:${"ab".repeat(33)}`,
    `sha256:${"ab".repeat(48)}`,
    `sha512:${"ab".repeat(32)}`,
    `SHA256:${"ab".repeat(32)}`,
    `md5:${"ab".repeat(16)}`,
    `sha256:${"ab".repeat(32)}\n`,
    ` sha256:${"ab".repeat(32)}`,
    "sha256:../../../../etc/passwd",
    `sha256:${"ab".repeat(31)}/x`,
  ])("%j is none", (text) => {
    expect(() => parseDigest(text)).toThrow(code("DIGEST_MALFORMED"))
  })
})

describe("references", () => {
  test.each([
    ["registry.example/app", "registry.example", "app", undefined, undefined],
    ["localhost:5000/team/app:v1.2_3", "localhost:5000", "team/app", "v1.2_3", undefined],
    [`local/app@${SHA}`, "local", "app", undefined, SHA],
    [`r.example/a/b__c/d--e:V@${SHA}`, "r.example", "a/b__c/d--e", "V", SHA],
    ["[::1]:5000/a", "[::1]:5000", "a", undefined, undefined],
    [
      "123456789012.dkr.ecr.eu-central-1.amazonaws.com/x",
      "123456789012.dkr.ecr.eu-central-1.amazonaws.com",
      "x",
      undefined,
      undefined,
    ],
  ])("%s", (text, registry, repository, tag, digest) => {
    expect(parseReference(text)).toEqual({ registry, repository, tag, digest })
    expect(formatReference(parseReference(text))).toBe(text)
  })

  test.each([
    "",
    "app",
    "app:v1",
    "/app",
    "registry.example/",
    "Registry.example/app",
    "registry.example/App",
    "registry.example/a..b",
    "registry.example/a___b",
    "registry.example/-a",
    "registry.example/a-",
    "registry.example/a//b",
    "registry.example/../b",
    "registry.example/a:",
    "registry.example/a:.v",
    "registry.example/a:v:w",
    "registry.example/a:v/w",
    `registry.example/a:${"v".repeat(129)}`,
    `registry.example/${"a".repeat(240)}`,
    "registry.example:0/a",
    "registry.example:65536/a",
    "registry.example:/a",
    "-registry/a",
    "registry-/a",
    "user@registry.example/a",
    "https://registry.example/a",
    "registry.example/a b",
    "registry.example/a\n",
    "registry.example/ä",
    "a".repeat(600),
  ])("%j is none", (text) => {
    expect(() => parseReference(text)).toThrow(
      expect.objectContaining({ code: expect.stringMatching(/^(REFERENCE|DIGEST)_MALFORMED$/) }),
    )
  })

  test("a bad digest is refused as a digest; a repository has neither tag nor digest", () => {
    expect(() => parseReference("r.example/a@sha256:00")).toThrow(code("DIGEST_MALFORMED"))
    expect(() => parseReference(`r.example/a@${SHA}@${SHA}`)).toThrow(code("DIGEST_MALFORMED"))
    expect(parseRepository("r.example/a/b")).toEqual({ registry: "r.example", repository: "a/b" })
    expect(() => parseRepository("r.example/a:v")).toThrow(code("REFERENCE_MALFORMED"))
    expect(() => parseRepository(`r.example/a@${SHA}`)).toThrow(code("REFERENCE_MALFORMED"))
  })
})

describe("descriptors", () => {
  const good = { mediaType: MEDIA_TYPE.imageManifest, digest: SHA, size: 3 }

  test("with and without annotations", () => {
    expect(readDescriptor(good)).toEqual(good)
    const full = { ...good, annotations: { a: "", "org.example/b": "2" }, artifactType: "application/x" }
    expect(readDescriptor(full)).toEqual(full)
  })

  test.each([
    ["an unknown member", { urls: [] }],
    ["no size", { size: undefined as unknown as number }],
    ["a size with a fraction", { size: 1.5 }],
    ["a size beyond a safe integer", { size: 2 ** 53 }],
    ["a size as text", { size: "3" }],
    ["a media type without a slash", { mediaType: "text" }],
    ["a media type with parameters", { mediaType: "text/plain; charset=utf-8" }],
    ["annotations that are no texts", { annotations: { a: 1 } }],
    ["an annotation without a name", { annotations: { "": "1" } }],
    ["an empty artifact type", { artifactType: "" }],
  ])("with %s are refused", (_, change) => {
    expect(() => readDescriptor({ ...good, ...change } as never)).toThrow(code("SHAPE_MISMATCH"))
  })
})

describe("T7: indexes and manifests are told apart", () => {
  const descriptor = { mediaType: MEDIA_TYPE.imageManifest, digest: SHA, size: 3 }
  const manifest = { schemaVersion: 2, mediaType: MEDIA_TYPE.imageManifest, config: descriptor, layers: [descriptor] }
  const index = { schemaVersion: 2, manifests: [{ ...descriptor, platform: { os: "linux", architecture: "arm64" } }] }

  test("both are read; a layout's index may leave its media type out", () => {
    expect(parseImageIndex(encode(index))).toMatchObject({ manifests: [descriptor], mediaType: MEDIA_TYPE.imageIndex })
    expect(parseImageManifest(encode(manifest))).toMatchObject({
      config: descriptor,
      layers: [descriptor],
      subject: undefined,
    })
    expect(
      parseImageManifest(encode({ ...manifest, mediaType: MEDIA_TYPE.dockerManifest }), MEDIA_TYPE.dockerManifest)
        .mediaType,
    ).toBe(MEDIA_TYPE.dockerManifest)
  })

  test.each([
    ["manifests and layers", () => parseImageManifest(encode({ ...manifest, manifests: [] }))],
    ["layers in an index", () => parseImageIndex(encode({ ...index, layers: [] }))],
    ["a config in an index", () => parseImageIndex(encode({ ...index, config: descriptor }))],
    ["an index read as a manifest", () => parseImageManifest(encode(index))],
    [
      "another media type in the body",
      () => parseImageManifest(encode({ ...manifest, mediaType: MEDIA_TYPE.imageIndex })),
    ],
    ["another media type than claimed", () => parseImageManifest(encode(manifest), MEDIA_TYPE.dockerManifest)],
    [
      "a claim of an index",
      () => parseImageManifest(encode({ ...manifest, mediaType: undefined }), MEDIA_TYPE.imageIndex),
    ],
    ["a claim of a manifest", () => parseImageIndex(encode(index), MEDIA_TYPE.imageManifest)],
    ["schema 1", () => parseImageManifest(encode({ ...manifest, schemaVersion: 1 }))],
    ["a list", () => parseImageManifest(utf8("[]"))],
  ])("%s: refused", (_, act) => {
    expect(act).toThrow(code("SHAPE_MISMATCH"))
  })

  test("T30: sizes and counts are bounded", () => {
    expect(() => parseImageManifest(new Uint8Array(4 * 1024 * 1024 + 1))).toThrow(code("TOO_LARGE"))
    expect(() => parseImageIndex(encode({ ...index, manifests: Array(10_001).fill(descriptor) }))).toThrow(
      code("TOO_LARGE"),
    )
  })

  test.each([
    ['{"imageLayoutVersion":"1.0.0"}', undefined],
    ['{"imageLayoutVersion":"2.0.0"}', "VERSION_UNKNOWN"],
    ['{"imageLayoutVersion":"1.0"}', "VERSION_UNKNOWN"],
    ["{}", "SHAPE_MISMATCH"],
  ])("layout marker %s", (text, refusal) => {
    if (refusal === undefined) expect(() => parseLayoutMarker(utf8(text))).not.toThrow()
    else expect(() => parseLayoutMarker(utf8(text))).toThrow(code(refusal))
  })
})

describe("R13: the manifest of a signature", () => {
  const subject = { mediaType: MEDIA_TYPE.imageManifest, digest: SHA, size: 3 }
  const envelope = { digest: `sha256:${"cd".repeat(32)}`, size: 9 }
  const bytes = encodeSignatureManifest({
    subject: { ...subject, annotations: { a: "b" } },
    envelope,
    thumbprints: [sha256(EMPTY_CONFIG)],
    created: "2026-06-01T12:00:00Z",
  })

  test("has the form that every released client finds", () => {
    expect(JSON.parse(utf8Decode(bytes))).toEqual({
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      config: {
        mediaType: "application/vnd.cncf.notary.signature",
        digest: `sha256:${hexEncode(sha256(EMPTY_CONFIG))}`,
        size: 2,
      },
      layers: [{ mediaType: "application/jose+json", ...envelope }],
      subject,
      annotations: {
        "org.opencontainers.image.created": "2026-06-01T12:00:00Z",
        "io.cncf.notary.x509chain.thumbprint#S256": `["${hexEncode(sha256(EMPTY_CONFIG))}"]`,
      },
    })
  })

  test("is read back, in its newer form too", () => {
    const expected = { subject, envelope: { mediaType: "application/jose+json", ...envelope } }
    expect(parseSignatureManifest(bytes)).toEqual(expected)
    const old = JSON.parse(utf8Decode(bytes))
    const artifactType = old.config.mediaType
    const config = { ...old.config, mediaType: "application/vnd.oci.empty.v1+json" }
    expect(parseSignatureManifest(encode({ ...old, config, artifactType }))).toEqual(expected)
  })

  test.each([
    ["another artifact", { config: subject }],
    ["no layer", { layers: [] }],
    ["two layers", { layers: [subject, subject] }],
    ["no subject", { subject: undefined }],
  ])("with %s is refused", (_, change) => {
    expect(() => parseSignatureManifest(encode({ ...JSON.parse(utf8Decode(bytes)), ...change }))).toThrow(
      code("ENVELOPE_MALFORMED"),
    )
  })
})
