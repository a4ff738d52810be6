import { utf8 } from "@sealwright/formats/bytes"
import {
  type Checkpoint,
  checkpointSignature,
  checkpointText,
  parseCheckpoint,
  timestampedSignature,
  treeCosignatureMessage,
} from "@sealwright/formats/checkpoint"
import { FormatError } from "@sealwright/formats/errors"
import { encodeNote, MAX_NOTE_BYTES, parseNote } from "@sealwright/formats/signed-note"
import { type Step, verifySignature } from "@sealwright/verifier/requests"
import { ServiceError } from "../errors.ts"
import { type LogCommit, recordLogNote, recordLogSignature } from "../ledger/log.ts"
import { wholeSeconds } from "../sign/rules.ts"
import { type LogSigner, logPath, logSigners } from "./origin.ts"
import type { Log, SequencePorts } from "./ports.ts"

export interface ShownCheckpoint extends Checkpoint {
  readonly bytes: Uint8Array
  readonly etag: string
}

export function checkpointPath({ kind }: Pick<Log, "kind">): string {
  return logPath(kind, "checkpoint")
}

/**
 * The checkpoint that readers see now.
 * @returns undefined when there is none
 * @throws ServiceError LOG_FORKED for one that this log never signed
 */
export async function readCheckpoint(ports: SequencePorts, log: Log): Promise<ShownCheckpoint | undefined> {
  const stored = await ports.objects.get(checkpointPath(log), MAX_NOTE_BYTES)
  if (stored === undefined) return undefined
  const checkpoint = ports.run(openCheckpoint(stored.bytes, log, logSigners(ports.digest, log.origin)))
  if (checkpoint === undefined)
    throw new ServiceError("LOG_FORKED", `${checkpointPath(log)} is no checkpoint that this log signed`)
  return { ...checkpoint, ...stored }
}

/** @returns undefined unless the log has signed it; a cosignature may be missing, since a cosigner may join later, and must hold when it is there */
export function* openCheckpoint(
  bytes: Uint8Array,
  { origin }: Log,
  signers: readonly LogSigner[],
): Step<Checkpoint | undefined> {
  try {
    const note = parseNote(bytes)
    const checkpoint = parseCheckpoint(note.text)
    if (checkpoint.origin !== origin.origin || checkpoint.extensions.length > 0) return undefined
    for (const { note: key } of signers) {
      const line = note.signatures.find(({ name, keyId }) => name === key.name && keyId === key.keyId)
      if (line === undefined && key !== signers[0]?.note) continue
      const signature = line && checkpointSignature(key, note.text, line.signature)
      if (signature === undefined) return undefined
      if (!(yield* verifySignature(signature.scheme, signature.spki, signature.message, signature.signature)))
        return undefined
    }
    return checkpoint
  } catch (error) {
    if (error instanceof FormatError) return undefined
    throw error
  }
}

/**
 * The signed checkpoint of a decided epoch. Each signature is stored where the first one wins, since signatures may be randomised and carry a time;
 * so everyone who finishes the epoch shows the same bytes.
 * @throws ServiceError SIGNER_UNAVAILABLE, KEY_NOT_USABLE, STORE_UNAVAILABLE
 */
export async function signCheckpoint(ports: SequencePorts, log: Log, commit: LogCommit): Promise<Uint8Array> {
  if (commit.note !== undefined) return commit.note
  const head = { origin: log.origin.origin, size: commit.size, root: commit.root }
  const text = checkpointText(head)
  const sign = async ({ name, key, note }: LogSigner): Promise<Uint8Array> => {
    if (name === "ed25519") return await ports.keys.sign(key, utf8(text))
    const time = wholeSeconds(ports.clock())
    return timestampedSignature(time, await ports.keys.sign(key, treeCosignatureMessage(note.name, head, time)))
  }
  const signatures = []
  for (const signer of logSigners(ports.digest, log.origin)) {
    const signature =
      commit.signatures.get(signer.name) ??
      (await recordLogSignature(ports.table, log.kind, commit.epoch, signer.name, await sign(signer)))
    signatures.push({ name: signer.note.name, keyId: signer.note.keyId, signature })
  }
  return await recordLogNote(ports.table, log.kind, commit.epoch, encodeNote({ text, signatures }))
}
