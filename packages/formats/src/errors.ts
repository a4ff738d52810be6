/**
 * What a decoder refuses. Public API: add codes, never rename or reuse one. One code, one cause.
 * A decoder throws nothing but `FormatError`, whatever its input.
 */
export const FORMAT_ERROR_CODES = {
  TOO_LARGE: "the input is longer, deeper or has more entries than this format allows",
  TEXT_MALFORMED: "the text is not valid UTF-8, base64 or hex in its canonical form",
  JSON_MALFORMED: "the text is not strict JSON (RFC 8259, no duplicate member names)",
  SHAPE_MISMATCH: "a member is missing, unknown or of another type than the format says",
  DER_MALFORMED: "the bytes are not DER (X.690 §10)",
  PEM_MALFORMED: "the text is not PEM with the expected label (RFC 7468)",
  CERTIFICATE_MALFORMED: "the bytes are DER but not a certificate of RFC 5280's profile",
  CRL_MALFORMED: "the bytes are DER but not a CRL of RFC 5280's profile",
  KEY_MALFORMED: "the bytes are DER but not a private key of RFC 5958, or not one that a password of RFC 8018 encrypts",
  KEY_DERIVATION_COSTLY: "turning the password into a key would take more memory or time than is allowed",
  ALGORITHM_UNSUPPORTED: "the algorithm or its parameters are not in the table of algorithms",
  SIGNATURE_MALFORMED: "the signature value does not have the form of its algorithm",
  DIGEST_MALFORMED: "the digest is not `sha256:` or `sha384:` or `sha512:` with lower-case hex of its length",
  REFERENCE_MALFORMED: "the reference is not registry/repository[:tag][@digest] (OCI distribution-spec)",
  URI_MALFORMED: "the URI is not a PKCS #11 URI (RFC 7512) that names a token and a key, and nothing else",
  ENVELOPE_MALFORMED: "the envelope breaks a rule of its format",
  TIMESTAMP_MALFORMED:
    "the bytes are DER but not a timestamp request, response or token of RFC 3161 in the profile that is read here",
  OCSP_MALFORMED: "the bytes are DER but not an OCSP request of RFC 6960 in the profile that is read here",
  NOTE_MALFORMED: "the text is not a signed note or verifier key (C2SP signed-note)",
  CHECKPOINT_MALFORMED: "the note's text is not a checkpoint (C2SP tlog-checkpoint)",
  TILE_MALFORMED:
    "the bytes are not the tile or entry bundle that their name says (C2SP tlog-tiles), or a tile is missing",
  LOG_PROOF_MALFORMED: "the text is not a proof of logging (C2SP tlog-proof)",
  LOG_POLICY_MALFORMED: "the text is not a policy of logs and witnesses (C2SP tlog-policy)",
  ARCHIVE_MALFORMED:
    "the bytes are not a ustar archive in the one form that is written here: plain files, whole, and nothing else",
  PATH_REFUSED: "a path could leave its folder, means different files on different systems, or stands twice",
  VERSION_UNKNOWN: "the media type or version is newer than this reader",
} as const

export type FormatErrorCode = keyof typeof FORMAT_ERROR_CODES

/** A refusal by a decoder. `code` is stable; the text is for people and free to change. */
export class FormatError extends Error {
  override readonly name = "FormatError"
  readonly code: FormatErrorCode

  constructor(code: FormatErrorCode, detail: string) {
    super(`${code}: ${detail}`)
    this.code = code
  }
}
