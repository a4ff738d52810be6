import { ERROR_CODES, type ErrorCode, ServiceError } from "@sealwright/core/errors"
import { FORMAT_ERROR_CODES } from "@sealwright/formats/errors"
import { POLICY_CODES } from "@sealwright/verifier/trust-store"
import { VERDICT_CODES } from "@sealwright/verifier/verdict"
import { problemOf } from "../../functions/http/reply.ts"
import { AUDIT_CODES } from "../../packages/cli/src/fsck/audit/state.ts"
import { FSCK_CODES } from "../../packages/cli/src/fsck/state.ts"
import { GENERATED, table } from "./markdown.ts"

const code = (text: string) => `\`${text}\``
const sentence = (text: string) => `${text.slice(0, 1).toUpperCase()}${text.slice(1)}.`

/** docs/errors.md: every stable code that anybody can meet. */
export function errorsDocument(): string {
  return `${GENERATED}

# Codes

Codes are public API: they are added, never renamed or used again for something else. Texts are for people and free to change; compare codes.

## The service

A refusal is a problem document of RFC 9457 (\`application/problem+json\`) with \`code\`, \`status\`, \`detail\`, \`remedy\`, \`retry\` and \`requestId\`. \`retry: true\` comes with \`Retry-After\`. Whatever was refused because of
the caller or a policy is written to the audit trail with its code. In a batch each subject has its own result, so a code may stand in a \`problem\` inside a 200.

${table([
  ["code", "status", "retry", "what to do"],
  ...Object.entries(ERROR_CODES).map(([name, { retry, remedy }]) => [
    code(name),
    String(statusOf(name as ErrorCode)),
    retry ? "yes" : "no",
    remedy,
  ]),
])}

Two answers carry no code of ours. What nobody foresaw is a bare 500 with the \`requestId\`; it never means "not signed": ask again with the same \`Idempotency-Key\`. And what API Gateway refuses before a function runs keeps
its own body, \`{"message":"Forbidden"}\` (403: IAM says no, or the signature of the request is wrong or too old), \`{"message":"Not Found"}\` (404) or \`{"message":"Too Many Requests"}\` (429).

## Verdicts

What the verifier answers, for the artifact and for each signature. Nothing but \`accepted\` lets an artifact run.

${table([
  ["code", "verdict", "what was found", "what to do"],
  ...Object.entries(VERDICT_CODES)
    .sort(([, a], [, b]) => ORDER.indexOf(a.verdict) - ORDER.indexOf(b.verdict))
    .map(([name, { verdict, text, remedy }]) => [code(name), verdict, sentence(text), remedy]),
])}

## Trust policies and trust stores

Why a policy was not loaded. Nothing is verified then.

${table([["code", "meaning"], ...Object.entries(POLICY_CODES).map(([name, text]) => [code(name), sentence(text)])])}

## Formats

Why a decoder refused bytes. They reach people inside the text of other codes.

${table([["code", "meaning"], ...Object.entries(FORMAT_ERROR_CODES).map(([name, text]) => [code(name), sentence(text)])])}

## \`sealwright fsck\`

Each finding names the promise that is broken; see [invariants.md](invariants.md).

${table([["code", "meaning"], ...Object.entries(FSCK_CODES).map(([name, text]) => [code(name), sentence(text)])])}

## \`sealwright log audit\`

What the audit of the transparency logs finds; see [log.md](log.md#audit).

${table([["code", "meaning"], ...Object.entries(AUDIT_CODES).map(([name, text]) => [code(name), sentence(text)])])}

## The command

Codes of the command itself, beside those of the service that it passes on:

${table([["code", "status", "meaning"], ...COMMAND_CODES.map(([name, status, text]) => [code(name), status, text])])}

${table([
  ["exit status", "meaning"],
  ["0", "Done, or accepted."],
  ["1", "Rejected; the service refused the request; `fsck` or `log audit` found something."],
  ["2", "Usage."],
  ["3", "Inconclusive: nothing recent enough says that it is good; or not published yet, with `revoke --wait`."],
  ["4", "Denied: credentials, IAM or a signing policy."],
  ["5", "Unavailable: no answer, or a failure behind the service."],
])}
`
}

function statusOf(name: ErrorCode): number {
  return problemOf(new ServiceError(name, ""), "").status as number
}

const ORDER = ["accepted", "rejected", "inconclusive"]

/** Thrown in packages/cli/src; test/unit/docs.test.ts compares. */
export const COMMAND_CODES: readonly (readonly [string, string, string])[] = [
  ["USAGE", "2", "The arguments do not fit, or a file that they name is not there."],
  ["NO_CREDENTIALS", "4", "No AWS credentials were found, or they could not be used."],
  [
    "HTTP_<status>",
    "4, 5 or 1",
    "An answer without a code of ours: API Gateway refused (403: 4; 429 and 5xx: 5), or a bare 500.",
  ],
  ["UNREACHABLE", "5", "The endpoint, or the address of the published trust data, does not answer."],
  ["FILE_UNREADABLE", "2", "A file that the arguments name can't be read."],
  ["FILE_EXISTS", "2", "A file that is never written over stands already."],
  ["FILE_TOO_LARGE", "2 or 1", "A local file (2) or a fetched one (1) is longer than its format allows."],
  ["TOO_MANY_FILES", "5", "The published trust data asks for more files than a publication has."],
  ["SOURCE_NOT_TRUSTED", "1", "notation's trust policy has no statement for the reference."],
  ["ANSWER_TOO_LARGE", "5", "The answer is larger than 16 MiB."],
  ["ANSWER_MALFORMED", "5", "The answer is not JSON, or of another media type than asked for."],
  ["SUBJECT_MALFORMED", "1", "The image layout is damaged."],
  ["TIMESTAMP_REJECTED", "5", "The timestamp authority gave no token; the text has its reason."],
  ["TIMESTAMP_MISMATCH", "1", "The timestamp authority answered another request."],
  ["JOB_UNFINISHED", "3", "The time given with --timeout passed before the job was done; the job goes on."],
  ["ROOT_UNKNOWN", "1", "The trust bundle has no root of the SHA-256 that was to be accepted."],
  ["STATE_MALFORMED", "3", "The state file can't be read; it is not skipped, since that would forget."],
  ["PROGRESS_MALFORMED", "3", "The audit's progress file can't be read; it is not skipped, since that would forget."],
  ["CHECKPOINT_MISSING", "3", "Neither bundle nor address has a checkpoint of the log that was asked for."],
  [
    "NOT_LOGGED",
    "5",
    "With --require-log, a signature that was to be exported still waits for the log; the service says it alike.",
  ],
  ["BUNDLE_NOT_INDEXED", "1", "A bundle's folder has no index: an older release wrote it, or it is another folder."],
  ["BUNDLE_NOT_SIGNED", "1", "A key that was demanded has not signed the bundle's index, or another index."],
  ["BUNDLE_FILE_MISMATCH", "1", "A file of a bundle is missing, too many, or has other bytes than the index says."],
  ["BUNDLE_PART_MISSING", "1", "Not every part of a split bundle was named."],
  ["BUNDLE_PART_REPEATED", "1", "Two archives are the same part of a bundle."],
  ["BUNDLE_PART_FOREIGN", "1", "The archives are parts of different bundles."],
  ["BUNDLE_TOO_LARGE", "1", "The files of a bundle have more bytes together than is allowed."],
  ["BUNDLE_BUSY", "5", "Another command is changing the bundle's folder."],
  ["FOLDER_OCCUPIED", "2", "The folder that was to be replaced is there and is no bundle."],
  ["REDIRECT_REFUSED", "1", "A mirror sends elsewhere; nothing is fetched from addresses that nobody named."],
  ["ENCODING_REFUSED", "1", "A mirror sends a compressed body that was not asked for."],
  [
    "FETCHED_OTHER_BYTES",
    "1",
    "A fetched file is not the one that signed metadata, the index or a log's checkpoint name, or is not there.",
  ],
  ["UNEXPECTED", "5", "A mistake of the command; please report it."],
]
