import type { LogKind, LogOrigin } from "../model.ts"
import type { Clock, Digest, Objects, RunStep, SigningKeys, Table } from "../ports.ts"
import type { Cosign } from "./witness.ts"

export interface SequencePorts {
  readonly table: Table
  readonly objects: Objects
  readonly keys: SigningKeys
  readonly clock: Clock
  readonly digest: Digest
  readonly run: RunStep
  readonly cosign: Cosign
}

/** One log under a sequencer. */
export interface Log {
  readonly kind: LogKind
  readonly origin: LogOrigin
  /** policy of its witnesses, with the log's own lines and addresses (C2SP tlog-policy); undefined: nobody is asked */
  readonly witnesses: string | undefined
}
