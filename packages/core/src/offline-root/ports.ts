import type { CertifyPorts } from "../admin/certificates.ts"
import type { Clock, KeyReference, RunStep } from "../ports.ts"
import type { Participant } from "./script.ts"

/**
 * Where a root's ceremonies keep their journal and put what they made. Adapter: packages/cli/src/offline-root/folder.ts.
 * Trust: none for content. Every entry is checked under the root's certificate when it is read; an old copy is found by the script's `journal`.
 */
export interface CeremonyFolder {
  /** the journal's entries in order, from number 1 on */
  entries(): Promise<readonly Uint8Array[]>
  /** Durable on return; appears whole or not at all. @returns false when the number is taken */
  append(number: number, entry: Uint8Array): Promise<boolean>
  /** Shows an output under its name, whole or not at all; the same bytes may be shown again. */
  release(name: string, bytes: Uint8Array): Promise<void>
}

/** The key that the script names, in its home. */
export interface RootKeyHome {
  /** @returns undefined when no key of that name stands */
  find(): Promise<KeyReference | undefined>
  /** Makes it, or answers the one that has the name. */
  make(): Promise<KeyReference>
}

export interface RootCeremonyPorts extends CertifyPorts {
  readonly folder: CeremonyFolder
  readonly rootKey: RootKeyHome
  readonly clock: Clock
  readonly run: RunStep
  /** @returns the file that a step names. @throws when it can't be read or is too large */
  readonly readInput: (name: string) => Promise<Uint8Array>
  /** Asks one participant; undefined: nobody is asked. @returns whether they confirmed */
  readonly confirm: ((who: Participant, question: string) => Promise<boolean>) | undefined
  /** Writes one line of the transcript, without its end; durable on return. */
  readonly write: (line: string) => Promise<void>
}
