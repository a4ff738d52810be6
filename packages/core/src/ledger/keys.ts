import type { LogKind } from "../model.ts"
import { padNumber } from "../names.ts"
import type { Item, Key, QueryRange, Table } from "../ports.ts"

/** The one table: every item's key, in one place. docs/stores.md tells what each item holds. */
export const keys = {
  deployment: { pk: "deployment", sk: "deployment" },
  /** one CA key of an issuer; the first generation's item names the one that signs now */
  issuer: (name: string, generation: number): Key => ({
    pk: "issuers",
    sk: generation === 1 ? name : `${name}@${generation}`,
  }),
  timestampAuthority: (generation: number): Key => ({ pk: "timestamp-authorities", sk: padNumber(generation) }),
  /** of the CA key with this id */
  ocspResponder: (issuerKeyId: string): Key => ({ pk: "ocsp-responders", sk: issuerKeyId }),
  /** a timestamp authority of somebody else */
  outsideAuthority: (name: string): Key => ({ pk: "outside-authorities", sk: name }),
  /** an issuer whose key waits for a certificate of an outside authority */
  pendingIssuer: (name: string): Key => ({ pk: "pending-issuers", sk: name }),
  /** a wrapped key by its name, put down before anything certifies it */
  wrappedKey: (name: string): Key => ({ pk: "wrapped-keys", sk: name }),
  /** the newest CRL of an outside authority's key */
  outsideCrl: (issuerKeyId: string): Key => ({ pk: "outside-crls", sk: issuerKeyId }),
  /** the next free number of an issuer */
  numbers: (issuerKeyId: string): Key => ({ pk: `numbers#${issuerKeyId}`, sk: "next" }),
  profile: (name: string): Key => ({ pk: "profiles", sk: name }),
  lease: (issuerKeyId: string, first: number): Key => ({ pk: `leases#${issuerKeyId}`, sk: padNumber(first) }),
  /** stands from the taking of a lease until its void numbers are written down */
  openLease: (issuerKeyId: string, first: number): Key => ({
    pk: "open-leases",
    sk: `${issuerKeyId}#${padNumber(first)}`,
  }),
  voids: (issuerKeyId: string, first: number): Key => ({ pk: `voids#${issuerKeyId}`, sk: padNumber(first) }),
  record: (id: string): Key => ({ pk: `signature#${id}`, sk: "record" }),
  /** all signatures of one artifact, and whether it is denied */
  artifact: (digest: string): Key => ({ pk: `artifact#${digest}`, sk: "artifact" }),
  foreignSignature: (profile: string, id: string): Key => ({ pk: `foreign-signatures#${profile}`, sk: id }),
  /** a certificate that signed what was registered, and its issuer's */
  foreignCertificate: (thumbprint: string): Key => ({ pk: `foreign-certificate#${thumbprint}`, sk: "certificate" }),
  idempotency: (hash: string, subject: string): Key => ({ pk: `idempotency#${hash}`, sk: subject }),
  inbox: (shard: number, id: string): Key => ({ pk: `inbox#${shard}`, sk: id }),
  inboxEvent: (id: string): Key => ({ pk: "inbox#events", sk: id }),
  /** where one log stands */
  logHead: (kind: LogKind): Key => ({ pk: "log", sk: kind }),
  /** the sizes that the log's witnesses have seen */
  logWitnessed: (kind: LogKind): Key => ({ pk: "log", sk: `witnessed#${kind}` }),
  logEpoch: (kind: LogKind, epoch: number): Key => ({ pk: `log-epochs#${kind}`, sk: padNumber(epoch) }),
  /** where the log has a signature; absent while it waits. A partition of its own, so that the sequencer can write no records */
  logged: (signature: string): Key => ({ pk: `logged#${signature}`, sk: "log" }),
  revocation: (id: string): Key => ({ pk: "revocations", sk: id }),
  allowance: (profile: string, scope: string, digest: string): Key => ({
    pk: `allowances#${profile}`,
    sk: `${scope}#${digest}`,
  }),
  /** numbers that a wide revocation covers, found once; `complete` stands when all are there */
  expansion: (revocation: string, window: string, entry: string): Key => ({
    pk: `expansion#${revocation}#${window}`,
    sk: entry,
  }),
  /** a TUF document that the ceremony signed */
  tufDocument: (role: "root" | "targets", version: number): Key => ({ pk: `tuf-${role}`, sk: padNumber(version) }),
  /** a person's key for TUF root or targets */
  tufKey: (name: string): Key => ({ pk: "tuf-keys", sk: name }),
  /** TUF documents that wait for signatures of people; one proposal at a time */
  tufProposal: { pk: "tuf-proposal", sk: "open" },
  publication: { pk: "publication", sk: "head" },
  /** what was seen published that the table had not decided */
  tableBehind: (tree: "publication" | LogKind): Key => ({ pk: "table-behind", sk: tree }),
  epoch: (epoch: number): Key => ({ pk: "epochs", sk: padNumber(epoch) }),
  audit: (day: string, id: string): Key => ({ pk: `audit#${day}`, sk: id }),
  /** uses of keys by functions whose acts have no audit entry to tell them, and those that came to nothing */
  keyNote: (day: string, id: string): Key => ({ pk: `key-notes#${day}`, sk: id }),
  /** a use of a key that CloudTrail tells, under the minute of its time */
  keyUse: (minute: string, requestId: string): Key => ({ pk: `key-use#${minute}`, sk: requestId }),
  /** stands until the minute's uses are reconciled */
  keyUseMinute: (minute: string): Key => ({ pk: "key-use-minutes", sk: minute }),
  /** up to which minute uses are reconciled, or stand among the minutes above */
  reconciliation: { pk: "key-reconciliation", sk: "cursor" },
  /** what a key that the service has or had is for */
  knownKey: (keyId: string): Key => ({ pk: "key-known", sk: keyId }),
  keyFinding: (id: string): Key => ({ pk: "key-findings", sk: id }),
  acknowledgedFinding: (id: string): Key => ({ pk: "key-findings-acknowledged", sk: id }),
  job: (profile: string, id: string): Key => ({ pk: `jobs#${profile}`, sk: id }),
  /** a part of a job's subjects, and later what became of them */
  jobChunk: (id: string, index: number): Key => ({ pk: `job#${id}`, sk: padNumber(index) }),
  /** stands until the job is finished */
  openJob: (profile: string, id: string): Key => ({ pk: "open-jobs", sk: `${profile}#${id}` }),
  /** who works on jobs; one at a time, so that the whole deployment has one pace */
  batchWorker: { pk: "batch-worker", sk: "slot" },
} as const

/** Every item of a partition, read consistently, page by page. */
export async function queryAll(table: Table, pk: string, range: QueryRange = {}): Promise<Item[]> {
  const items: Item[] = []
  let after = range.after
  for (;;) {
    const page = await table.query(pk, after === undefined ? range : { ...range, after })
    items.push(...page.items)
    if (page.next === undefined) return items
    after = page.next
  }
}
