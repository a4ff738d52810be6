import type { LogKind, LogOrigin } from "../model.ts"
import type { Clock, Digest, Objects, RunStep, SigningKeys, Table } from "../ports.ts"

export interface SequencePorts {
  readonly table: Table
  readonly objects: Objects
  readonly keys: SigningKeys
  readonly clock: Clock
  readonly digest: Digest
  readonly run: RunStep
}

/** One log under a sequencer. */
export interface Log {
  readonly kind: LogKind
  readonly origin: LogOrigin
}
