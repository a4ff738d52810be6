import { hexEncode, utf8 } from "@sealwright/formats/bytes"
import { encodeVkey, NOTE_TYPE, type NoteKey, noteKeyIdInput } from "@sealwright/formats/signed-note"
import { ServiceError } from "../errors.ts"
import type { Deployment, LogKind, LogOrigin, TransparencyLogs } from "../model.ts"
import type { Digest, KeyReference } from "../ports.ts"

/** One key of a log: how notes name it, and how its home does. */
export interface LogSigner {
  /** under which its signature stands in the epoch */
  readonly name: "ed25519" | "ml-dsa-44"
  readonly key: KeyReference
  readonly note: NoteKey
}

const ED25519_BYTES = 32
const ML_DSA_44_BYTES = 1312

/** The keys that sign a log's checkpoints, in the order of their lines. */
export function logSigners(digest: Digest, { origin, key, cosigner }: LogOrigin): LogSigner[] {
  return [
    { name: "ed25519", key, note: noteKey(digest, origin, NOTE_TYPE.ed25519, key.spki.subarray(-ED25519_BYTES)) },
    ...(cosigner === undefined
      ? []
      : [
          {
            name: "ml-dsa-44" as const,
            key: cosigner,
            note: noteKey(digest, origin, NOTE_TYPE.mlDsa44, cosigner.spki.subarray(-ML_DSA_44_BYTES)),
          },
        ]),
  ]
}

function noteKey(digest: Digest, name: string, type: number, publicKey: Uint8Array): NoteKey {
  const keyId = hexEncode(digest("sha256", noteKeyIdInput(name, type, publicKey)).subarray(0, 4))
  return { name, keyId, type, publicKey }
}

/**
 * What deployers accept (C2SP tlog-policy): both logs, and the witnesses without their addresses, which nobody needs who verifies.
 * @param witnesses as the deployment has them
 */
export function logPolicyText(digest: Digest, logs: TransparencyLogs, witnesses: string | undefined): string {
  return `${logLines(digest, logs)}${witnesses === undefined ? "quorum none\n" : withoutAddresses(witnesses)}`
}

/** The `log` lines of a policy. */
export function logLines(digest: Digest, logs: TransparencyLogs): string {
  const keys = Object.values(logs).flatMap((origin) => logSigners(digest, origin))
  return keys.map(({ note }) => `log ${encodeVkey(note)}\n`).join("")
}

/** @param witnesses lines as a deployment has them */
export function withoutAddresses(witnesses: string): string {
  return witnesses.replace(/^(witness [^ ]+ [^ ]+) .*$/gm, "$1")
}

/** @throws ServiceError LOG_NOT_SET_UP */
export function originOf({ log }: Deployment, kind: LogKind): LogOrigin {
  if (log === undefined) throw new ServiceError("LOG_NOT_SET_UP", "this deployment has no log")
  return log[kind]
}

/** Path of a log's object in the bucket. */
export function logPath(kind: LogKind, path: string): string {
  return `log/${kind}/${path}`
}

/** The empty tree's root (RFC 6962 §2.1). */
export function emptyRoot(digest: Digest): Uint8Array {
  return digest("sha256", utf8(""))
}
