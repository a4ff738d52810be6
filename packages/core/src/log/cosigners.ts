import { parseNote } from "@sealwright/formats/signed-note"
import { type LogPolicy, meetsQuorum } from "@sealwright/formats/tlog-policy"

export interface Cosigners {
  /** of the policy's witnesses, by their names there, those that a note has a line of */
  readonly names: readonly string[]
  readonly quorum: boolean
}

/**
 * Who has cosigned a checkpoint of this service's own table, where each line was verified before it was stored. For anybody else's, see `checkCheckpoint`.
 * @throws FormatError for a note that is none
 */
export function cosignersOf(note: Uint8Array, policy: LogPolicy): Cosigners {
  const { signatures } = parseNote(note)
  const names = policy.witnesses
    .filter(({ key }) => signatures.some(({ name, keyId }) => name === key.name && keyId === key.keyId))
    .map(({ name }) => name)
  return { names, quorum: meetsQuorum(policy, new Set(names)) }
}
