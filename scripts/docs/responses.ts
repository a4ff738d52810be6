/** What the API answers, as JSON Schema. test/unit/docs.test.ts holds it against the functions' own views. One table, so as long as the API. */
import { KEY_MODES, TUF_ROLES } from "@sealwright/core/model"

type Schema = { readonly [name: string]: unknown }

const text: Schema = { type: "string" }
const time: Schema = { type: "string", format: "date-time" }
const flag: Schema = { type: "boolean" }
const whole: Schema = { type: "integer" }
const base64: Schema = { type: "string", contentEncoding: "base64" }
const texts: Schema = { type: "array", items: text }
const decimal: Schema = { type: "string", pattern: "^(?:0|[1-9][0-9]*)$", description: "a decimal number" }
const envelopeFormat = { enum: ["notary-jws", "notary-jws-ml-dsa-65"] }
const hex64: Schema = { type: "string", pattern: "^[0-9a-f]{64}$" }
const pem: Schema = { type: "string", description: "PEM" }

/** All members are there unless named in `optional`. */
function object(properties: { readonly [name: string]: Schema }, optional: readonly string[] = []): Schema {
  return {
    type: "object",
    properties,
    required: Object.keys(properties).filter((name) => !optional.includes(name)),
  }
}

export const ref = (name: keyof typeof COMPONENTS): Schema => ({ $ref: `#/components/schemas/${name}` })

const issuer = object(
  {
    name: text,
    generation: { ...whole, description: "rises with each rotation" },
    issuerKeyId: { ...hex64, description: "SHA-256 of the key's SubjectPublicKeyInfo; names the CRL" },
    algorithm: text,
    state: { enum: ["pending", "standby", "active", "retired", "revoked"] },
    external: { ...flag, description: "certified by an outside authority" },
    wrapped: { ...flag, description: "its key signs in the functions' memory; signatures below it carry timestamps" },
    request: { ...pem, description: "PKCS #10 in PEM, while it is pending" },
    certificate: { ...pem, description: "PEM; absent while it is pending" },
    notAfter: { ...time, description: "absent while it is pending" },
    createdAt: time,
  },
  ["request", "certificate", "notAfter"],
)

const logProofs: Schema = {
  type: "array",
  items: object({
    format: envelopeFormat,
    index: decimal,
    proof: { type: "string", description: "text of a .tlog-proof file (C2SP tlog-proof)" },
  }),
}

const logOfKind = object(
  {
    origin: text,
    epoch: whole,
    size: { ...decimal, description: "leaves" },
    state: { enum: ["committed", "published"] },
    waiting: { ...whole, description: "entries; counted up to 10,000" },
    oldestWaiting: { ...time, description: "absent when nothing waits" },
    cosignedBy: { type: "array", items: text, description: "witnesses of the newest checkpoint; absent without any" },
    quorumMet: { type: "boolean" },
  },
  ["oldestWaiting", "cosignedBy", "quorumMet"],
)

const expiryLevel: Schema = { enum: ["ok", "90", "30", "7", "expired"], description: "days left, or past" }

export const COMPONENTS = {
  Problem: object({
    type: { type: "string", description: "urn:sealwright:error:<code>" },
    title: text,
    status: whole,
    code: { type: "string", description: "stable; docs/errors.md lists them all" },
    detail: { type: "string", description: "for people; free to change" },
    remedy: text,
    retry: flag,
    requestId: text,
  }),
  Signature: object(
    {
      id: { type: "string", description: "ULID" },
      profile: text,
      issuer: text,
      issuerKeyId: hex64,
      wrapped: { ...flag, description: "the issuer's key is a wrapped one" },
      number: { ...decimal, description: "position in the issuer's numbering" },
      serial: { type: "string", description: "serial of the certificate, lower-case hex" },
      keyMode: { enum: [...KEY_MODES] },
      subject: object({ mediaType: text, digest: text, size: whole }),
      reference: text,
      principal: text,
      signedAt: time,
      expiresAt: { ...time, description: "when the signature itself ends; absent when it does not" },
      certificateNotAfter: time,
      extra: {
        ...object({ issuer: text, issuerKeyId: hex64, number: decimal, serial: text }),
        description: "of the act's second signature, under ML-DSA-65; absent when there is none",
      },
      state: { enum: ["recorded", "logged"] },
      log: {
        ...object({ epoch: whole, index: { ...decimal, description: "leaf of the first envelope" } }),
        description: "where it stands in the transparency log; absent while it waits",
      },
      proofs: { ...logProofs, description: "in answers to `?wait=logged`" },
      envelopes: {
        type: "array",
        items: object({ format: envelopeFormat, mediaType: text, content: base64 }),
      },
    },
    ["expiresAt", "extra", "log", "proofs"],
  ),
  Logs: object({
    logs: object({ signatures: logOfKind, events: logOfKind }),
    policy: {
      type: "string",
      description: "C2SP tlog-policy: which checkpoints count; witnesses without their addresses",
    },
    witnesses: {
      type: "array",
      items: object({
        name: text,
        url: text,
        seen: object({
          signatures: {
            type: "string",
            description: "size of the tree that it cosigned last, as far as is remembered",
          },
          events: text,
        }),
      }),
    },
  }),
  Job: object(
    {
      id: { type: "string", description: "ULID" },
      profile: text,
      state: {
        enum: ["accepted", "running", "done", "cancelled"],
        description: "a cancelled job is settled when it has a finishedAt",
      },
      principal: { type: "string", description: "in whose name it signs" },
      total: { ...whole, description: "subjects" },
      signed: whole,
      refused: whole,
      stop: { type: "string", description: "the code that refused the rest; absent unless the whole job was stopped" },
      expiresAt: { ...time, description: "what the request wished for its signatures" },
      acceptedAt: time,
      startedAt: time,
      updatedAt: time,
      finishedAt: { ...time, description: "absent until every subject is settled" },
      ratePerSec: { type: "number", description: "subjects a second since it began" },
      estimatedEnd: time,
    },
    ["stop", "expiresAt", "startedAt", "finishedAt", "ratePerSec", "estimatedEnd"],
  ),
  ForeignSignature: object({
    id: { type: "string", description: "the same envelope is the same entry" },
    profile: text,
    issuerKeyId: { ...hex64, description: "SHA-256 of the SubjectPublicKeyInfo that certified the leaf" },
    serial: { type: "string", description: "serial of the certificate, lower-case hex" },
    certificateSha256: { ...hex64, description: "names the certificate when it is revoked" },
    subject: object({ mediaType: text, digest: text, size: whole }),
    reference: text,
    principal: text,
    signedAt: { ...time, description: "the signer's own claim" },
    certificateNotAfter: time,
    recordedAt: time,
    envelope: object({ format: envelopeFormat, mediaType: text, content: base64 }),
  }),
  Profile: object(
    {
      name: text,
      issuer: text,
      keyMode: { enum: [...KEY_MODES] },
      algorithm: text,
      extraIssuer: { type: "string", description: "certifies the extra signatures; absent when there are none" },
      principals: texts,
      repositories: texts,
      expirySec: whole,
      leafLifetimeSec: whole,
      allowList: flag,
      timestamp: { ...text, description: "`none`, `own`, or `outside:` and the name of an outside authority" },
      state: { enum: ["active", "suspended", "revoked"] },
      generation: { ...whole, description: "rises with every change" },
      certificate: { ...pem, description: "of the held key, PEM" },
      createdAt: time,
      updatedAt: time,
    },
    ["expirySec", "certificate", "extraIssuer"],
  ),
  Issuer: issuer,
  TimestampAuthority: object({
    generation: { ...whole, description: "from 1; a successor is the next" },
    algorithm: text,
    wrapped: { ...flag, description: "its key signs in the memory of the function `timestamp`" },
    state: { enum: ["active", "revoked"] },
    certificate: pem,
    chain: { type: "array", items: pem, description: "up to and with the root" },
    notBefore: time,
    notAfter: time,
  }),
  OcspResponder: object({
    issuer: { ...text, description: "whose certificates it answers for; `root` for those of issuers" },
    issuerGeneration: whole,
    issuerKeyId: text,
    generation: { ...whole, description: "of its key, from 1; renewing keeps the key" },
    algorithm: text,
    certificate: pem,
    notBefore: time,
    notAfter: time,
  }),
  OutsideAuthority: object({
    name: text,
    url: { ...text, description: "where it is asked (RFC 3161 over http or https)" },
    roots: { type: "array", items: pem, description: "self-signed" },
    updatedAt: time,
  }),
  OutsideCrl: object({
    issuerKeyId: { ...hex64, description: "SHA-256 of the authority's key" },
    crlNumber: decimal,
    thisUpdate: time,
    nextUpdate: time,
    entries: { ...whole, description: "how many certificates it revokes" },
    epoch: { ...whole, description: "the publication from which on it is shown" },
  }),
  Deployment: object(
    {
      country: text,
      state: text,
      organisation: text,
      identityHost: text,
      crlHost: text,
      tufUrl: text,
      createdAt: time,
      root: { ...issuer, description: "certifies new issuers" },
      formerRoots: { type: "array", items: issuer, description: "retired ones have left the trust bundle" },
      extraRoots: { type: "array", items: issuer, description: "of other algorithms, for the issuers of these" },
      log: {
        ...object({ signatures: text, events: text }),
        description: "origins of the transparency logs",
      },
      tufThreshold: { ...whole, description: "of the TUF root in force" },
      tufRoot: { ...base64, description: "the first TUF root, for deployers to pin" },
    },
    ["log"],
  ),
  Revocation: object({
    id: { type: "string", description: "the same target is the same revocation" },
    target: { type: "object", properties: { kind: text }, required: ["kind"] },
    reason: text,
    comment: text,
    principal: text,
    acknowledgedAt: time,
    effectiveAt: time,
    epoch: { ...whole, description: "every published epoch from this one on holds it as it stands" },
    released: flag,
  }),
  AuditEntry: object(
    {
      at: time,
      id: text,
      principal: text,
      action: text,
      target: text,
      outcome: { enum: ["done", "refused"] },
      code: text,
      requestId: text,
      uses: {
        ...texts,
        description: "ids of the act's uses of keys: of its requests to KMS, which CloudTrail shows too",
      },
    },
    ["code"],
  ),
  KeyFinding: object(
    {
      id: { ...text, description: "of the request to KMS; of `missing`: `missing-` and the minute" },
      kind: {
        enum: ["unexplained", "wrong-role", "missing"],
        description:
          "no act tells this use of a key; who used it has no business with it; acts tell uses that CloudTrail does not show",
      },
      at: { ...time, description: "of the use; of `missing`: the minute in which the acts stand" },
      foundAt: time,
      keyId: { ...text, description: "ARN" },
      key: { ...text, description: "absent when the ledger does not know the key" },
      purpose: text,
      principal: { ...text, description: "the role's ARN" },
      sourceIp: text,
      eventId: { ...text, description: "CloudTrail's own" },
      leases: { ...whole, description: "of an issuer's key: leases that were open at the time" },
      voids: { ...whole, description: "their numbers that have no record" },
      count: { ...whole, description: "of `missing`: how many uses" },
      uses: { ...texts, description: "of `missing`: ids of the first of them" },
      acknowledgedAt: time,
      acknowledgedBy: text,
      comment: text,
    },
    [
      "keyId",
      "key",
      "purpose",
      "principal",
      "sourceIp",
      "eventId",
      "leases",
      "voids",
      "count",
      "uses",
      "acknowledgedAt",
      "acknowledgedBy",
      "comment",
    ],
  ),
  Publication: object(
    {
      open: { ...whole, description: "the epoch that takes changes now" },
      committed: { ...whole, description: "the last epoch whose content is decided" },
      published: { ...whole, description: "the last epoch that every head shows" },
      changes: whole,
      committedAt: time,
    },
    ["committedAt"],
  ),
  Status: object(
    {
      open: { ...whole, description: "as in Publication" },
      committed: whole,
      published: whole,
      changes: whole,
      committedAt: time,
      level: { ...expiryLevel, description: "the most urgent of all" },
      expiries: {
        type: "array",
        description: "the first to end first",
        items: object({
          name: { type: "string", description: "`root`, `issuer/<name>`, `profile/<name>` or `tuf/<role>`" },
          at: time,
          renewedBy: { enum: ["people", "publication", "schedule", "finished"] },
          daysLeft: whole,
          level: expiryLevel,
        }),
      },
      issuers: {
        type: "array",
        items: object({
          name: text,
          generation: whole,
          issuerKeyId: hex64,
          state: text,
          wrapped: flag,
          certificates: { ...whole, description: "numbers given out; an issuer gives way to the next at 4,194,304" },
          revoked: { ...whole, description: "entries of its CRL; an issuer gives way to the next at 262,144" },
          level: { enum: ["ok", "soon", "full"] },
        }),
      },
      pending: { type: "array", items: object({ name: text, createdAt: time }) },
    },
    ["committedAt"],
  ),
  Tuf: object(
    {
      root: object({ version: whole, expires: time }),
      targets: object({ version: whole, expires: time }),
      roles: {
        type: "array",
        items: object({
          role: { enum: [...TUF_ROLES] },
          threshold: whole,
          keys: { type: "array", items: object({ keyid: hex64, name: text, home: { enum: ["service", "person"] } }) },
          nextGeneration: { ...whole, description: "of the role's next key of the service" },
        }),
      },
      people: { type: "array", items: object({ name: text, keyid: hex64, algorithm: text, registeredAt: time }) },
      proposal: {
        ...object(
          {
            id: hex64,
            act: text,
            principal: text,
            createdAt: time,
            overtaken: flag,
            request: { ...base64, description: "application/vnd.sealwright.tuf-signing.v1+json, for people to sign" },
          },
          ["request"],
        ),
        description: "what waits for signatures of people; absent when nothing does",
      },
      warnings: texts,
    },
    ["proposal"],
  ),
  Gateway: { ...object({ message: text }), description: "API Gateway's own refusal; no code of ours" },
} as const satisfies { readonly [name: string]: Schema }

const tuf = object({ tuf: ref("Tuf") })
const signature = ref("Signature")
const timestampAuthority = object({ timestampAuthority: ref("TimestampAuthority") })
const ocspResponders = object({ ocspResponders: { type: "array", items: ref("OcspResponder") } })
const profile = object({ profile: ref("Profile") })
const acknowledgement = object({
  revocation: ref("Revocation"),
  changed: { ...flag, description: "false: it stood before" },
  epoch: { ...whole, description: "the publication that carries it" },
  published: flag,
  due: { ...time, description: "when that publication is due at the latest" },
})
const page = (name: string, items: Schema) =>
  object({ [name]: { type: "array", items }, next: { ...text, description: "give it as `after`" } }, ["next"])
const all = (name: string, items: Schema) => object({ [name]: { type: "array", items } })

interface Answer {
  readonly summary: string
  readonly status: { readonly [status: number]: Schema }
  /** query parameters: name to description */
  readonly query?: { readonly [name: string]: string }
  readonly idempotent?: true
  /** takes `Prefer: respond-async` */
  readonly prefer?: true
  /** default: JSON both ways */
  readonly media?: { readonly request: string | undefined; readonly response: string }
}

const OCSP_RESPONSE: Schema = {
  type: "string",
  contentMediaType: "application/octet-stream",
  description: "OCSPResponse, DER",
}
const PAGE = { limit: "1 to 200, default 50", after: "`next` of the page before" }
const results = object({
  results: {
    type: "array",
    items: {
      oneOf: [object({ digest: text, signature }), object({ digest: text, problem: ref("Problem") })],
    },
  },
})

const job = object({ job: ref("Job") })
const jobResult: Schema = {
  oneOf: [
    object({ digest: text, signature: { type: "string", description: "the signature's id" } }),
    object({ digest: text, code: { type: "string", description: "why it was refused" } }),
    object({ digest: text, pending: { const: true } }),
  ],
}

const foreign = object({
  signature: ref("ForeignSignature"),
  recorded: { ...flag, description: "false: it stood before" },
})

/** By route key. */
export const ANSWERS: { readonly [routeKey: string]: Answer } = {
  "POST /v1/profiles/{profile}/signatures": {
    summary:
      "Sign one subject, or up to 100; with `Prefer: respond-async` (RFC 7240) and an Idempotency-Key up to 10,000, as a job that `Location` names",
    status: {
      201: object({ signature }),
      200: { oneOf: [object({ signature }), results] },
      202: { oneOf: [job, object({ signature })] },
    },
    idempotent: true,
    prefer: true,
    query: {
      wait: "`logged` waits up to 25 seconds for the transparency log: the answer has proofs then; of one subject it is a 202 without them when the time was too short, and the signature stands",
    },
  },
  "GET /v1/profiles/{profile}/jobs": {
    summary: "A profile's jobs by time; they are kept for 30 days after their end",
    status: { 200: page("jobs", ref("Job")) },
    query: { ...PAGE, order: "`newest` for the latest first" },
  },
  "GET /v1/profiles/{profile}/jobs/{id}": { summary: "How far a job is", status: { 200: job } },
  "GET /v1/profiles/{profile}/jobs/{id}/results": {
    summary: "What became of each subject of a job, in the order of the request",
    status: { 200: page("results", jobResult) },
    query: PAGE,
  },
  "POST /v1/profiles/{profile}/jobs/{id}/cancel": {
    summary: "Sign nothing more of a job; what is recorded stays",
    status: { 200: job },
  },
  "GET /v1/profiles/{profile}/signatures": {
    summary: "A profile's signatures by time; may lag by moments",
    status: { 200: page("signatures", signature) },
    query: { ...PAGE, from: "RFC 3339", to: "RFC 3339", order: "`newest` for the latest first" },
  },
  "GET /v1/profiles/{profile}/signatures/{id}": {
    summary: "One signature of a profile",
    status: { 200: object({ signature }) },
  },
  "GET /v1/profiles/{profile}/signatures/{id}/proof": {
    summary: "Proofs that a signature of a profile is in the transparency log; NOT_LOGGED while it waits",
    status: { 200: object({ signature: text, proofs: logProofs }) },
  },
  "GET /v1/signatures/{id}/proof": {
    summary: "Proofs that a signature is in the transparency log; NOT_LOGGED while it waits",
    status: { 200: object({ signature: text, proofs: logProofs }) },
  },
  "GET /v1/log/{log}/{path+}": {
    summary: "A file of the log of `signatures` or `events` (C2SP tlog-tiles): `checkpoint`, `tile/…`",
    status: { 200: object({ file: object({ path: text, content: base64 }) }) },
  },
  "GET /v1/log": { summary: "The transparency logs, and what waits for them", status: { 200: ref("Logs") } },
  "PUT /v1/log/witnesses": {
    summary:
      "Who cosigns the logs' checkpoints, and how many of them deployers want; empty text: nobody. Safe to repeat",
    status: { 200: ref("Logs") },
  },
  "POST /v1/profiles/{profile}/foreign-signatures": {
    summary: "Register a signature made without the service, so that its certificate can be revoked",
    status: { 200: foreign, 201: foreign },
  },
  "GET /v1/profiles/{profile}/foreign-signatures": {
    summary: "What was registered under a profile, by id",
    status: { 200: page("signatures", ref("ForeignSignature")) },
    query: PAGE,
  },
  "GET /v1/signatures": {
    summary: "The signatures of an artifact, by id",
    status: { 200: page("signatures", signature) },
    query: { digest: "required", after: "optional" },
  },
  "GET /v1/signatures/{id}": { summary: "One signature", status: { 200: object({ signature }) } },
  "GET /v1/audit": {
    summary: "Who did and tried what on a day",
    status: { 200: page("entries", ref("AuditEntry")) },
    query: { ...PAGE, day: "UTC, `YYYY-MM-DD`; default today" },
  },
  "GET /v1/reconciliation": {
    summary: "How far uses of keys are reconciled with what is recorded, and what was found and is not acknowledged",
    status: {
      200: object({ since: time, through: time, findings: { type: "array", items: ref("KeyFinding") } }, [
        "since",
        "through",
      ]),
    },
  },
  "POST /v1/reconciliation/findings/{id}/acknowledgement": {
    summary: "Say what a finding turned out to be; a repeat answers what stands",
    status: { 200: object({ finding: ref("KeyFinding") }) },
  },
  "GET /v1/revocations": { summary: "All revocations", status: { 200: all("revocations", ref("Revocation")) } },
  "GET /v1/revocations/{id}": {
    summary: "One revocation",
    status: { 200: object({ revocation: ref("Revocation") }) },
  },
  "GET /v1/deployment": {
    summary: "What the ceremony fixed, and the TUF root to pin",
    status: { 200: object({ deployment: ref("Deployment") }) },
  },
  "GET /v1/issuers": { summary: "All issuers", status: { 200: all("issuers", ref("Issuer")) } },
  "GET /v1/issuers/{issuer}": { summary: "One issuer", status: { 200: object({ issuer: ref("Issuer") }) } },
  "GET /v1/profiles": { summary: "All profiles", status: { 200: all("profiles", ref("Profile")) } },
  "GET /v1/profiles/{profile}": { summary: "One profile", status: { 200: profile } },
  "GET /v1/status": {
    summary: "Where publication stands, what ends when, which issuers are used up",
    status: { 200: ref("Status") },
  },
  "GET /v1/tuf": {
    summary: "Keys and thresholds of the TUF roles, and what waits for signatures of people",
    status: { 200: tuf },
  },
  "POST /v1/tuf/keys": { summary: "Register the public half of a person's TUF key", status: { 200: tuf } },
  "POST /v1/tuf/proposals": {
    summary: "Make the next TUF root or targets; 202 while signatures of people are missing",
    status: { 200: tuf, 202: tuf },
  },
  "POST /v1/tuf/signatures": {
    summary: "Hand in signatures of people; the documents are stored when every threshold is met",
    status: { 200: tuf },
  },
  "POST /v1/tuf/withdrawal": { summary: "Give up what waits for signatures", status: { 200: tuf } },
  "POST /v1/tuf/rotation": {
    summary: "Give a TUF role a new key of the service; 202 while signatures of people are missing",
    status: { 200: tuf, 202: tuf },
  },
  "GET /v1/publication": { summary: "Where publication stands", status: { 200: ref("Publication") } },
  "GET /v1/trees/notation": {
    summary: "notation's trust policy, trust store and CRL addresses (docs/formats/notation-tree.md)",
    status: { 200: { type: "object" } },
  },
  "POST /v1/revocations": {
    summary: "Revoke; answers once it is durable",
    status: { 200: acknowledgement, 202: acknowledgement },
    query: { wait: "`published` waits up to 25 seconds; then 200 if it is published, else 202" },
  },
  "POST /v1/revocations/{id}/release": {
    summary: "Let a certificateHold go",
    status: { 200: acknowledgement, 202: acknowledgement },
    query: { wait: "as for revoking" },
  },
  "POST /v1/ceremony": {
    summary: "Set the deployment up, once; safe to repeat with the same names",
    status: { 200: object({ deployment: ref("Deployment") }) },
  },
  "POST /v1/issuers": { summary: "Create an issuer", status: { 200: object({ issuer: ref("Issuer") }) } },
  "POST /v1/issuers/{issuer}/activation": {
    summary: "Give a pending issuer the chain that its outside authority signed",
    status: { 200: object({ issuer: ref("Issuer") }) },
  },
  "PUT /v1/outside-crls": {
    summary: "Take in the CRL of an authority above an external issuer; lists of one authority never go back",
    status: {
      200: object({
        outsideCrl: ref("OutsideCrl"),
        revokedIssuers: { ...texts, description: "issuers of this deployment that the list revokes" },
      }),
    },
  },
  "POST /v1/root/rotation": {
    summary: "Put a new root beside the old one, and change the key of the TUF root",
    status: { 200: object({ deployment: ref("Deployment") }) },
  },
  "POST /v1/root/extra": {
    summary: "Put a root of another algorithm beside the others",
    status: { 200: object({ deployment: ref("Deployment") }) },
  },
  "POST /v1/root/retirement": {
    summary: "Take a root out of the trust bundle",
    status: { 200: object({ deployment: ref("Deployment") }) },
  },
  "POST /v1/issuers/{issuer}/rotation": {
    summary: "Make an issuer's successor, which is published before it signs",
    status: { 200: object({ issuer: ref("Issuer") }) },
  },
  "POST /v1/issuers/{issuer}/takeover": {
    summary: "Let a published successor sign in the place of the one before",
    status: { 200: object({ issuer: ref("Issuer") }) },
  },
  "POST /v1/profiles/{profile}/rotation": {
    summary: "Give a profile a new held key, another issuer, or both",
    status: { 200: profile },
  },
  "POST /v1/profiles": {
    summary: "Create a profile",
    status: {
      200: object(
        { profile: ref("Profile"), warnings: { ...texts, description: "what was asked for and is unwise" } },
        ["warnings"],
      ),
    },
  },
  "PATCH /v1/profiles/{profile}": { summary: "Change a profile", status: { 200: profile } },
  "POST /v1/profiles/{profile}/suspend": { summary: "Suspend; binds once it answers", status: { 200: profile } },
  "POST /v1/profiles/{profile}/resume": { summary: "Resume", status: { 200: profile } },
  "PUT /v1/profiles/{profile}/allowances": {
    summary: "Add digests to a profile's allow list",
    status: { 200: object({ epoch: whole }) },
  },
  "POST /v1/timestamp-authority": {
    summary: "Make the timestamp authority, or its successor when it is due; safe to repeat",
    status: { 200: timestampAuthority },
  },
  "GET /v1/timestamp-authority": {
    summary: "The authority that signs timestamps now",
    status: { 200: timestampAuthority },
  },
  "PUT /v1/outside-authorities/{authority}": {
    summary: "Name an outside timestamp authority, or change its address or roots; safe to repeat",
    status: { 200: object({ outsideAuthority: ref("OutsideAuthority") }) },
  },
  "GET /v1/outside-authorities": {
    summary: "Outside timestamp authorities",
    status: { 200: object({ outsideAuthorities: { type: "array", items: ref("OutsideAuthority") } }) },
  },
  "POST /v1/timestamp": {
    summary:
      "RFC 3161: a TimeStampReq of 8 KiB at most; refusals are a TimeStampResp too. Without IAM where the deployment says so",
    status: {
      200: { type: "string", contentMediaType: "application/octet-stream", description: "TimeStampResp, DER" },
    },
    media: { request: "application/timestamp-query", response: "application/timestamp-reply" },
  },
  "POST /v1/issuers/{issuer}/ocsp-responder": {
    summary:
      "Make or renew an issuer's OCSP responders, or give them a new key; safe to repeat. Where the deployment has OCSP",
    status: { 200: ocspResponders },
  },
  "GET /v1/ocsp-responders": {
    summary: "The OCSP responders. Where the deployment has OCSP",
    status: { 200: ocspResponders },
  },
  "POST /v1/ocsp": {
    summary:
      "RFC 6960: an OCSPRequest of 4 KiB at most; refusals are an OCSPResponse too. Without IAM, where the deployment has OCSP",
    status: { 200: OCSP_RESPONSE },
    media: { request: "application/ocsp-request", response: "application/ocsp-response" },
  },
  "GET /v1/ocsp/{request+}": {
    summary: "RFC 6960 A.1: the OCSPRequest in base64. Without IAM, where the deployment has OCSP",
    status: { 200: OCSP_RESPONSE },
    media: { request: undefined, response: "application/ocsp-response" },
  },
  "POST /v1/publications": {
    summary: "Publish now",
    status: { 200: object({ epoch: whole, published: flag, idle: flag }) },
  },
}
