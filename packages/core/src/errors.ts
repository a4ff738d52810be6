/** `caller`: the request is wrong; `denied`: policy says no; `conflict`: try again or look first; `backend`: a dependency failed. */
export type ErrorKind = "caller" | "denied" | "missing" | "conflict" | "backend"

/** Public API: add codes, never rename or reuse one. docs/errors.md is generated from this table, which is one file for that reason, however long. */
export const ERROR_CODES = {
  REQUEST_MALFORMED: {
    kind: "caller",
    retry: false,
    remedy: "Send the members that the route's schema names, each in its form.",
  },
  REQUEST_TOO_LARGE: {
    kind: "caller",
    retry: false,
    remedy:
      "Send fewer or smaller subjects: at most 100 and 256 KiB a request, 10,000 and 4 MiB with `Prefer: respond-async`.",
  },
  DIGEST_INVALID: {
    kind: "caller",
    retry: false,
    remedy: "Give the digest as `sha256:` and 64 lower-case hex digits (or sha384, sha512).",
  },
  REFERENCE_INVALID: {
    kind: "caller",
    retry: false,
    remedy: "Give the reference as `registry/repository` with an optional `:tag`.",
  },
  SIGNATURE_UNVERIFIED: {
    kind: "caller",
    retry: false,
    remedy: "Send an envelope that verifies now under the chain that it carries; the detail has the verifier's code.",
  },
  SUBJECT_REPEATED: { kind: "caller", retry: false, remedy: "Name each subject once in a batch." },
  EXPIRY_INVALID: {
    kind: "caller",
    retry: false,
    remedy: "Ask for an expiry after now and within what the profile allows.",
  },
  IDEMPOTENCY_KEY_REQUIRED: {
    kind: "caller",
    retry: false,
    remedy: "Send an Idempotency-Key with a request that prefers respond-async: a retry then finds its job.",
  },
  PRECONDITION_REQUIRED: {
    kind: "caller",
    retry: false,
    remedy: "Run `sealwright ceremony` once for this deployment, then try again.",
  },
  PROFILE_UNKNOWN: {
    kind: "missing",
    retry: false,
    remedy: "Check the profile's name with `sealwright profile list`, or create it.",
  },
  ISSUER_UNKNOWN: {
    kind: "missing",
    retry: false,
    remedy: "Check the issuer's name with `sealwright issuer list`, or create it.",
  },
  SIGNATURE_UNKNOWN: { kind: "missing", retry: false, remedy: "Check the signature's id, or look it up by digest." },
  JOB_UNKNOWN: {
    kind: "missing",
    retry: false,
    remedy:
      "List the profile's jobs; results are kept for 30 days, and signatures can be looked up by digest for ever.",
  },
  FINDING_UNKNOWN: {
    kind: "missing",
    retry: false,
    remedy: "List what is open with `sealwright reconcile`; it may have been taken back by evidence that came late.",
  },
  REVOCATION_UNKNOWN: { kind: "missing", retry: false, remedy: "List revocations to find the id." },
  CERTIFICATE_UNKNOWN: {
    kind: "missing",
    retry: false,
    remedy: "Give the SHA-256 thumbprint of a certificate that this deployment issued, uses, or has on record.",
  },
  TIMESTAMP_AUTHORITY_MISSING: {
    kind: "missing",
    retry: false,
    remedy: "Make a timestamp authority with `sealwright timestamp authority`.",
  },
  OCSP_RESPONDER_MISSING: {
    kind: "missing",
    retry: false,
    remedy: "Make or renew the issuer's OCSP responder with `sealwright ocsp create`.",
  },
  NOT_PUBLISHED: { kind: "missing", retry: true, remedy: "Nothing is published yet: run a publication first." },
  CALLER_NOT_LISTED: {
    kind: "denied",
    retry: false,
    remedy: "Ask a publisher admin to add your role to the profile's principals.",
  },
  REPOSITORY_OUT_OF_SCOPE: {
    kind: "denied",
    retry: false,
    remedy: "Sign a repository that the profile lists, or ask for the scope to be widened.",
  },
  PROFILE_SUSPENDED: { kind: "denied", retry: false, remedy: "Ask a publisher admin to resume the profile." },
  PROFILE_REVOKED: {
    kind: "denied",
    retry: false,
    remedy: "A revoked profile never signs again; use another profile.",
  },
  ISSUER_NOT_ACTIVE: {
    kind: "denied",
    retry: false,
    remedy: "The profile's issuer is retired, revoked or expired: give the profile an active issuer.",
  },
  DIGEST_DENIED: { kind: "denied", retry: false, remedy: "This artifact was revoked; build and sign a new one." },
  SUBJECT_CROWDED: {
    kind: "denied",
    retry: false,
    remedy: "This artifact has 1,000 signatures already: use one of them.",
  },
  JOB_CANCELLED: {
    kind: "denied",
    retry: false,
    remedy: "The job was cancelled before this subject was signed: send it anew, with a fresh key.",
  },
  JOB_OVERDUE: {
    kind: "denied",
    retry: false,
    remedy: "The job was not finished within seven days: see why nothing was signed, then send the subject anew.",
  },
  ROOT_ISSUER_REFUSED: {
    kind: "denied",
    retry: false,
    remedy: "Name an issuing CA; if the root itself is to sign, say so with `allowRootIssuer` (--allow-root-issuer).",
  },
  ISSUER_PENDING: {
    kind: "denied",
    retry: false,
    remedy: "Have the issuer's request signed by its authority, then run `sealwright issuer activate`.",
  },
  WRAPPING_NOT_ENABLED: {
    kind: "denied",
    retry: false,
    remedy:
      "Deploy with `wrappedIssuers` (or `wrappedTimestamps` for the authority), as docs/key-modes.md says, or make the key in KMS.",
  },
  ISSUER_DEMANDS_TIMESTAMPS: {
    kind: "denied",
    retry: false,
    remedy:
      "Below a wrapped issuer profiles stamp their signatures: make one with `--timestamp own`, or take another issuer.",
  },
  HELD_BELOW_WRAPPED: {
    kind: "denied",
    retry: false,
    remedy: "A wrapped issuer certifies no held keys: take key mode `ephemeral` or `shared`, or another issuer.",
  },
  OCSP_BELOW_WRAPPED: {
    kind: "denied",
    retry: false,
    remedy: "A wrapped issuer certifies no OCSP responder: clients take its CRL; make one for an issuer in KMS.",
  },
  ISSUER_GENERATION_WRONG: {
    kind: "conflict",
    retry: false,
    remedy: "The next generation is one above the one that signs now: read the issuer and ask again.",
  },
  OCSP_GENERATION_WRONG: {
    kind: "conflict",
    retry: false,
    remedy: "The next generation is one above the one that answers now: read the responders and ask again.",
  },
  ISSUER_ALGORITHM_WRONG: {
    kind: "caller",
    retry: false,
    remedy: "Name an ML-DSA-65 issuer for extra signatures, and one of another algorithm for all else.",
  },
  ROOT_ALGORITHM_MISSING: {
    kind: "caller",
    retry: false,
    remedy: "Make a root of this algorithm first: `sealwright root create --algorithm ml-dsa-65`.",
  },
  EXTRA_SIGNATURE_UNSUPPORTED: {
    kind: "caller",
    retry: false,
    remedy:
      "Extra signatures are for profiles of key mode `ephemeral` or `shared` without timestamps: make such a profile.",
  },
  ISSUER_NOT_PUBLISHED: {
    kind: "conflict",
    retry: true,
    remedy: "Deployers can't know the successor yet: wait for the next publication, or run `sealwright publish`.",
  },
  ISSUER_CHAIN_MALFORMED: {
    kind: "caller",
    retry: false,
    remedy:
      "Give the issuer's certificate first, then each one above it, the self-signed root last: two to five, in PEM.",
  },
  ISSUER_KEY_MISMATCH: {
    kind: "caller",
    retry: false,
    remedy: "Give the certificate that was made for this issuer's request; `sealwright issuer list --json` has it.",
  },
  ISSUER_CHAIN_ORDER: {
    kind: "caller",
    retry: false,
    remedy: "Put each certificate's own issuer next: names and key identifiers must match.",
  },
  ISSUER_ROOT_MISSING: {
    kind: "caller",
    retry: false,
    remedy: "Add the authority's self-signed root as the last certificate.",
  },
  ISSUER_CHAIN_SIGNATURE: {
    kind: "caller",
    retry: false,
    remedy: "A certificate was not signed by the next one, or the root not by itself: ask the authority for its own.",
  },
  ISSUER_CHAIN_ALGORITHM: {
    kind: "caller",
    retry: false,
    remedy: "Ask for SHA-256 or better, RSA of 2,048 to 8,192 bits, P-256, P-384 or P-521.",
  },
  ISSUER_CHAIN_CONSTRAINED: {
    kind: "caller",
    retry: false,
    remedy: "Ask for certificates without name or policy constraints and without unknown critical extensions.",
  },
  ISSUER_NOT_CA: {
    kind: "caller",
    retry: false,
    remedy: "Ask for a CA certificate: critical basicConstraints with cA.",
  },
  ISSUER_PATH_LENGTH: {
    kind: "caller",
    retry: false,
    remedy:
      "An authority above allows fewer CA certificates below it (pathLenConstraint): use one that allows an issuing CA.",
  },
  ISSUER_KEY_USAGE: {
    kind: "caller",
    retry: false,
    remedy: "Ask for critical keyUsage with keyCertSign, and cRLSign on the issuer.",
  },
  ISSUER_KEY_PURPOSE: {
    kind: "caller",
    retry: false,
    remedy: "Ask for certificates without extKeyUsage, or with codeSigning in it.",
  },
  ISSUER_NOT_YET_VALID: {
    kind: "caller",
    retry: false,
    remedy: "Wait until every certificate of the chain is valid, then activate.",
  },
  ISSUER_EXPIRED: { kind: "caller", retry: false, remedy: "Ask the authority for certificates that are in force." },
  ISSUER_OUTLIVES_CA: {
    kind: "caller",
    retry: false,
    remedy: "Ask for a certificate that ends no later than the one that certifies it.",
  },
  ROOT_IN_USE: {
    kind: "conflict",
    retry: false,
    remedy: "Rotate the root, and the issuers below it, before you retire it.",
  },
  IDEMPOTENCY_CONFLICT: {
    kind: "conflict",
    retry: false,
    remedy: "This Idempotency-Key was used with another request body: use a fresh key.",
  },
  JOBS_CROWDED: {
    kind: "conflict",
    retry: true,
    remedy: "The profile has 20 unfinished jobs: wait until one is done, or cancel one.",
  },
  JOB_FINISHED: { kind: "conflict", retry: false, remedy: "The job is done: read its results." },
  ALREADY_EXISTS: {
    kind: "conflict",
    retry: false,
    remedy: "An object of this name exists with other settings: read it, or choose another name.",
  },
  PROFILE_CHANGED: {
    kind: "conflict",
    retry: true,
    remedy: "The profile changed meanwhile: read it and send the change again.",
  },
  SIGNATURE_NOT_FOREIGN: {
    kind: "conflict",
    retry: false,
    remedy: "A service made and numbered this signature: revoke it there, by its id.",
  },
  REVOCATION_FINAL: {
    kind: "conflict",
    retry: false,
    remedy: "A revocation is never withdrawn or moved later; only a certificateHold is released.",
  },
  LEASE_UNAVAILABLE: {
    kind: "conflict",
    retry: true,
    remedy: "The profile or a publication closed the numbers in use: try again.",
  },
  CONTENTION: { kind: "conflict", retry: true, remedy: "Many writers met at one item: try again in a moment." },
  EPOCH_CONFLICT: { kind: "conflict", retry: true, remedy: "Another publisher moved first: the next run goes on." },
  TUF_SIGNATURES_PENDING: {
    kind: "conflict",
    retry: false,
    remedy:
      "Get the file with `sealwright tuf request`, have people sign it with `sealwright tuf sign`, hand it in with `sealwright tuf submit`, then repeat what you asked for.",
  },
  TUF_PROPOSAL_STANDS: {
    kind: "conflict",
    retry: false,
    remedy: "Another change of TUF root or targets waits for signatures: complete it, or `sealwright tuf withdraw` it.",
  },
  TUF_PROPOSAL_UNKNOWN: {
    kind: "missing",
    retry: false,
    remedy: "No such proposal waits: it was completed, withdrawn or replaced; look at `sealwright tuf show`.",
  },
  TUF_PROPOSAL_OVERTAKEN: {
    kind: "conflict",
    retry: false,
    remedy: "Another version of the document was made meanwhile: propose the change again, and have that signed.",
  },
  TUF_SIGNATURE_INVALID: {
    kind: "caller",
    retry: false,
    remedy: "A signature does not verify over the proposed document: sign the file again with that key.",
  },
  TUF_KEY_NOT_COUNTED: {
    kind: "caller",
    retry: false,
    remedy: "This key signs for none of the documents: `sealwright tuf show FILE` lists those that do.",
  },
  TUF_KEY_UNKNOWN: {
    kind: "missing",
    retry: false,
    remedy: "Register the key first: `sealwright tuf key add NAME --public-key FILE`.",
  },
  TUF_KEY_UNSUITABLE: {
    kind: "caller",
    retry: false,
    remedy:
      "Give one public key in PEM that every TUF client reads: ECDSA on P-256 or P-384, RSA of 2048 bits, or Ed25519.",
  },
  TUF_KEY_GENERATION_WRONG: {
    kind: "conflict",
    retry: false,
    remedy: "`sealwright tuf show` names each role's next generation: read it and ask again.",
  },
  TUF_THRESHOLD_UNREACHABLE: {
    kind: "caller",
    retry: false,
    remedy: "Name at least as many different keys as the threshold asks for.",
  },
  TUF_REQUEST_WRONG: {
    kind: "caller",
    retry: false,
    remedy: "The file's documents are not what it says of them: do not sign; get the file anew from the service.",
  },
  TUF_TOO_LARGE: {
    kind: "backend",
    retry: false,
    remedy: "A TUF document would be longer than clients read: nothing was published; follow the runbook.",
  },
  PUBLICATION_MISMATCH: {
    kind: "backend",
    retry: false,
    remedy: "An immutable published object holds other bytes than committed: stop, and follow the runbook.",
  },
  STAGING_LOST: {
    kind: "backend",
    retry: true,
    remedy:
      "What was staged for a committed epoch is gone from the bucket: the next run leaves that epoch out and publishes the one after; see docs/recovery.md.",
  },
  TABLE_BEHIND: {
    kind: "backend",
    retry: false,
    remedy:
      "The bucket shows more than the table has decided: the table was restored to an earlier time. Nothing is published or signed; follow docs/recovery.md.",
  },
  LOG_AHEAD: {
    kind: "backend",
    retry: false,
    remedy:
      "The published checkpoint is larger than the table's head: the table was restored to an earlier time. Nothing is logged; follow docs/log.md.",
  },
  LOG_BEHIND: {
    kind: "backend",
    retry: false,
    remedy: "The bucket lacks tiles or the checkpoint that were published: restore its objects, as docs/log.md says.",
  },
  LOG_FORKED: {
    kind: "backend",
    retry: false,
    remedy: "The bucket holds other bytes of the log than committed: stop, keep everything, and follow docs/log.md.",
  },
  LOG_UNVERIFIED: {
    kind: "backend",
    retry: true,
    remedy: "What was about to be shown of the log did not verify: nothing moved; look at the alarm.",
  },
  LOG_CONFLICT: { kind: "conflict", retry: true, remedy: "Another sequencer moved first: the next run goes on." },
  LOG_NOT_SET_UP: {
    kind: "missing",
    retry: false,
    remedy: "This deployment has no log yet: run `sealwright ceremony` again with the same names.",
  },
  NOT_LOGGED: {
    kind: "missing",
    retry: true,
    remedy: "The signature stands and waits for the log: ask again in some seconds.",
  },
  PUBLICATION_UNVERIFIED: {
    kind: "backend",
    retry: true,
    remedy: "What was about to be published did not verify: nothing moved; look at the alarm.",
  },
  CLOCK_WENT_BACK: {
    kind: "backend",
    retry: true,
    remedy: "The clock is behind the last published state: wait or mend the clock.",
  },
  SIGNATURE_SELF_CHECK_FAILED: {
    kind: "backend",
    retry: true,
    remedy: "A signature just made did not verify: nothing left the service; try again.",
  },
  TIMESTAMP_UNAVAILABLE: {
    kind: "backend",
    retry: true,
    remedy:
      "The timestamp authority gave no token: try again, and see that one is in force with `sealwright timestamp authority`.",
  },
  TIMESTAMP_AUTHORITY_UNKNOWN: {
    kind: "missing",
    retry: false,
    remedy:
      "Name one that `sealwright timestamp outside` lists, or make it known with `sealwright timestamp outside NAME`.",
  },
  OUTSIDE_AUTHORITY_MALFORMED: {
    kind: "caller",
    retry: false,
    remedy: "Give an http or https address, and the authority's self-signed root certificates in PEM.",
  },
  LOG_WITNESSES_MALFORMED: {
    kind: "caller",
    retry: false,
    remedy:
      "Give `witness NAME VKEY https://ADDRESS` lines, groups and a quorum line (C2SP tlog-policy), at most 16 witnesses, and no log but this deployment's.",
  },
  SIGNER_UNAVAILABLE: {
    kind: "backend",
    retry: true,
    remedy: "The key service throttles or does not answer: try again in a moment.",
  },
  KEY_NOT_USABLE: {
    kind: "backend",
    retry: false,
    remedy: "The key is disabled or pending deletion: enable it, or rotate.",
  },
  KEY_HOME_UNKNOWN: {
    kind: "caller",
    retry: false,
    remedy: "Name the key as local:NAME, local:/path/to/file.pem, awskms: and its ARN or alias, or by its pkcs11: URI.",
  },
  KEY_UNKNOWN: { kind: "missing", retry: false, remedy: "Check the key's name with `sealwright key list`." },
  KEY_PASSWORD_WRONG: {
    kind: "denied",
    retry: false,
    remedy:
      "Give the password that the key file was made with; if it is the right one, the file is damaged: restore it.",
  },
  KEY_PASSWORD_SHORT: { kind: "caller", retry: false, remedy: "Choose a password of at least 12 characters." },
  KEY_FILE_UNSAFE: {
    kind: "denied",
    retry: false,
    remedy: "Make key files and their folders regular, small, and readable by their owner alone (chmod 600 and 700).",
  },
  KEY_FILE_MALFORMED: {
    kind: "caller",
    retry: false,
    remedy: "Give a file with one private key in PEM; `openssl pkcs8 -topk8 -scrypt` converts older forms.",
  },
  KEY_ALGORITHM_UNSUPPORTED: {
    kind: "caller",
    retry: false,
    remedy: "Use a key on P-256, P-384 or P-521, RSA of 2048, 3072 or 4096 bits, Ed25519 or ML-DSA-65.",
  },
  OUTSIDE_CRL_MALFORMED: {
    kind: "caller",
    retry: false,
    remedy: "Send one complete CRL with a CRL number, of 128 KiB at most, as its authority published it.",
  },
  OUTSIDE_CRL_ISSUER_UNKNOWN: {
    kind: "caller",
    retry: false,
    remedy: "Only CRLs of authorities above an issuer of this deployment are taken: activate the issuer first.",
  },
  OUTSIDE_CRL_SIGNATURE: {
    kind: "caller",
    retry: false,
    remedy: "The CRL is not signed by the authority that it names: fetch it anew, by another way.",
  },
  OUTSIDE_CRL_NOT_IN_FORCE: {
    kind: "caller",
    retry: false,
    remedy: "The CRL has run out, or begins later than now: have its authority make the next one.",
  },
  OUTSIDE_CRL_LIMITED: {
    kind: "caller",
    retry: false,
    remedy:
      "The CRL is for some distribution points alone and leaves one of our certificates out: bring the one that covers it.",
  },
  OUTSIDE_CRL_OLDER: {
    kind: "conflict",
    retry: false,
    remedy: "A newer CRL of this authority was imported before; neither number nor date may go back.",
  },
  CEREMONY_SCRIPT_INVALID: {
    kind: "caller",
    retry: false,
    remedy: "Mend the script: ids once, a root before what needs it, and issuers that a step certified.",
  },
  CEREMONY_STEP_DIFFERS: {
    kind: "conflict",
    retry: false,
    remedy: "What was done stays done: give a step that is to do something else an id of its own.",
  },
  CEREMONY_INPUT_DIFFERS: {
    kind: "caller",
    retry: false,
    remedy: "The file is not the one that the script was written for: compare its SHA-256 with who made it.",
  },
  CEREMONY_NOT_CONFIRMED: {
    kind: "denied",
    retry: false,
    remedy: "A participant did not confirm, or there was no terminal to ask at; nothing of the step was done.",
  },
  CEREMONY_CONFLICT: {
    kind: "conflict",
    retry: true,
    remedy: "Another ceremony wrote into this folder: see what it did, then repeat.",
  },
  CEREMONY_JOURNAL_DAMAGED: {
    kind: "backend",
    retry: false,
    remedy: "The folder was changed by something else: take the other copy, and find out what happened to this one.",
  },
  CEREMONY_JOURNAL_STALE: {
    kind: "conflict",
    retry: false,
    remedy: "The folder lacks what the participants know of: fetch the newest copy.",
  },
  CERTIFICATE_REQUEST_INVALID: {
    kind: "caller",
    retry: false,
    remedy: "Bring the request that `sealwright issuer create --external` wrote.",
  },
  CERTIFICATE_NOT_OF_KEY: {
    kind: "caller",
    retry: false,
    remedy: "Give the chain of the key that signs, its own certificate first.",
  },
  CERTIFICATE_CHAIN_INVALID: {
    kind: "caller",
    retry: false,
    remedy: "Give the whole chain in order, leaf first and root last, valid now and for the signing of code.",
  },
  CA_KEY_REFUSED: {
    kind: "denied",
    retry: false,
    remedy: "Sign with a key that a CA certified for signing, not with a CA's own key.",
  },
  SECRET_UNAVAILABLE: {
    kind: "denied",
    retry: false,
    remedy:
      "Give env:NAME, file:PATH with a file for your eyes alone, secretsmanager:NAME-OR-ARN, or prompt at a terminal.",
  },
  ALGORITHM_UNSUPPORTED: {
    kind: "caller",
    retry: false,
    remedy: "This home of keys has none of that algorithm: choose another algorithm or another home.",
  },
  PKCS11_MODULE_MISSING: {
    kind: "backend",
    retry: false,
    remedy: "Install the npm package graphene-pk11 and the vendor's library, and give the library's absolute path.",
  },
  PKCS11_TOKEN_UNKNOWN: {
    kind: "backend",
    retry: false,
    remedy: "Give the label of exactly one token of the module; `pkcs11-tool -L` shows them.",
  },
  PIN_UNREADABLE: {
    kind: "backend",
    retry: false,
    remedy: "The PIN can't be had from the place that was named: mend the place or its permissions.",
  },
  PIN_INCORRECT: {
    kind: "backend",
    retry: false,
    remedy: "The token refused the PIN, and it is not sent again: correct it where it is kept.",
  },
  PIN_LOCKED: {
    kind: "backend",
    retry: false,
    remedy: "The PIN is locked, expired, or one try from it: its security officer unlocks it, then start again.",
  },
  STORE_UNAVAILABLE: {
    kind: "backend",
    retry: true,
    remedy: "The table or bucket does not answer: try again; ask by Idempotency-Key what happened.",
  },
} as const satisfies Record<string, { kind: ErrorKind; retry: boolean; remedy: string }>

export type ErrorCode = keyof typeof ERROR_CODES

/** A refusal or failure with a stable code. The text is for people and free to change. */
export class ServiceError extends Error {
  override readonly name = "ServiceError"
  readonly code: ErrorCode

  constructor(code: ErrorCode, detail: string, options?: { readonly cause?: unknown }) {
    super(detail, options)
    this.code = code
  }
}

export function isServiceError(error: unknown, ...codes: readonly ErrorCode[]): error is ServiceError {
  return error instanceof ServiceError && (codes.length === 0 || codes.includes(error.code))
}
