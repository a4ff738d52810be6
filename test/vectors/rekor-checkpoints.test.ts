/** Checkpoints and inclusion proofs of Rekor v2, from Sigstore's conformance suite: what its `README`s say of the log, and of nothing else. */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { base64Decode, hexEncode, utf8, utf8Decode } from "@sealwright/formats/bytes"
import { hashedRekordEntry } from "@sealwright/formats/hashedrekord"
import { inclusionRoot, leafInput } from "@sealwright/formats/merkle"
import { NOTE_TYPE, noteKeyIdInput } from "@sealwright/formats/signed-note"
import { parseCertificate } from "@sealwright/formats/x509"
import { checkCheckpoint, hashing, type TrustedLogs, trustLogs } from "@sealwright/verifier/log-check"
import { runSync } from "@sealwright/verifier/node-crypto"
import { describe, expect, test } from "vitest"
import { NOW, sha256 } from "../support/chains.ts"

const FOLDER = join("..", "shared", "vectors", "sigstore-conformance", "bundle-verify")
const present = existsSync(FOLDER)
if (!present) process.stdout.write("rekor-checkpoints: the vectors are not at hand; nothing is checked\n")
const names = present ? readdirSync(FOLDER).filter((name) => name.startsWith("rekor2-")) : []

/** Those whose checkpoint is at fault; in all others only something else may be. */
const REFUSED: Readonly<Record<string, string>> = {
  "rekor2-checkpoint-missing-log-signature_fail": "LOG_CHECKPOINT_INVALID",
  "rekor2-checkpoint-missing-origin_fail": "LOG_CHECKPOINT_INVALID",
  "rekor2-checkpoint-missing-root-hash_fail": "LOG_CHECKPOINT_INVALID",
  "rekor2-checkpoint-missing-size_fail": "LOG_CHECKPOINT_INVALID",
  "rekor2-checkpoint-no-matching-signature_fail": "LOG_UNKNOWN",
  "rekor2-no-inclusion-proof_fail": "no proof",
}

interface Entry {
  readonly logIndex: string
  readonly canonicalizedBody: string
  readonly inclusionProof?: { readonly hashes: readonly string[]; readonly checkpoint: { readonly envelope: string } }
}

const json = (name: string, file: string) => JSON.parse(readFileSync(join(FOLDER, name, file), "utf8"))
const material = (name: string) => json(name, "bundle.sigstore.json").verificationMaterial
const entryIn = (name: string): Entry => material(name).tlogEntries[0]

/** The Ed25519 logs of the trusted root, each under its host's name. */
function trustedIn(name: string): TrustedLogs {
  const logs = (
    json(name, "trusted_root.json").tlogs as { baseUrl: string; publicKey: { rawBytes: string } }[]
  ).flatMap(({ baseUrl, publicKey: { rawBytes } }) => {
    const spki = base64Decode(rawBytes)
    if (spki.length !== 44) return []
    const name_ = new URL(baseUrl).hostname
    const publicKey = spki.subarray(12)
    const keyId = hexEncode(sha256(noteKeyIdInput(name_, NOTE_TYPE.ed25519, publicKey)).subarray(0, 4))
    return [{ key: { name: name_, keyId, type: NOTE_TYPE.ed25519, publicKey } }]
  })
  const trusted = runSync(trustLogs({ logs, witnesses: [], groups: [], quorum: undefined }))
  if (typeof trusted === "string") throw new Error(trusted)
  return trusted
}

describe.skipIf(!present)("Rekor v2's checkpoints and proofs (R30)", () => {
  test("there are vectors of each kind", () => {
    expect(names.length).toBeGreaterThan(20)
    for (const name of Object.keys(REFUSED)) expect(names).toContain(name)
  })

  test.each(names)("%s", (name) => {
    const { logIndex, canonicalizedBody, inclusionProof } = entryIn(name)
    if (inclusionProof === undefined) return expect(REFUSED[name]).toBe("no proof")
    const result = runSync(checkCheckpoint(utf8(inclusionProof.checkpoint.envelope), trustedIn(name), undefined, NOW))
    expect(result.ok ? undefined : result.code).toBe(REFUSED[name])
    if (!result.ok) return
    const leaf = sha256(leafInput(base64Decode(canonicalizedBody)))
    const hashes = inclusionProof.hashes.map(base64Decode)
    const rootOf = (hash: Uint8Array) =>
      runSync(hashing(inclusionRoot(hash, BigInt(logIndex), result.head.size, hashes))) ?? new Uint8Array(0)
    expect(hexEncode(rootOf(leaf))).toBe(hexEncode(result.head.root))
    expect(hexEncode(rootOf(sha256(leaf)))).not.toBe(hexEncode(result.head.root))
  })

  test("an entry that we build is Rekor's, byte for byte", () => {
    const { certificate } = material("rekor2-happy-path")
    const { messageSignature } = json("rekor2-happy-path", "bundle.sigstore.json")
    const der = base64Decode(certificate.rawBytes)
    const entry = hashedRekordEntry({
      scheme: "ecdsa-p256-sha256",
      digest: base64Decode(messageSignature.messageDigest.digest),
      signature: base64Decode(messageSignature.signature),
      spki: parseCertificate(der).spki,
      certificate: der,
    })
    expect(utf8Decode(entry)).toBe(utf8Decode(base64Decode(entryIn("rekor2-happy-path").canonicalizedBody)))
  })
})
