import { randomBytes } from "node:crypto"
import { statSync } from "node:fs"
import type { HashName } from "@sealwright/formats/algorithms"
import { bytesEqual, utf8Decode } from "@sealwright/formats/bytes"
import { parseTimestampToken } from "@sealwright/formats/cms"
import { FormatError } from "@sealwright/formats/errors"
import { parseDigest } from "@sealwright/formats/oci"
import { pemDecodeAll } from "@sealwright/formats/pem"
import { boolean, integer, openObject, string } from "@sealwright/formats/shape"
import { formatTime } from "@sealwright/formats/time"
import {
  MAX_TIMESTAMP_REPLY_BYTES,
  parseTimestampResponse,
  TIMESTAMP_QUERY_TYPE,
  TIMESTAMP_REPLY_TYPE,
  timestampRequest,
} from "@sealwright/formats/timestamp"
import { runSync } from "@sealwright/verifier/node-crypto"
import { type Stamped, TIMESTAMP_CODES, verifyTimestampToken } from "@sealwright/verifier/timestamp"
import { type Arguments, type Command, SERVICE_OPTIONS } from "../arguments.ts"
import { exchangeBytes, openClient } from "../client.ts"
import { CommandFailure, EXIT, usage } from "../exit.ts"
import { readFileLimited, writeFileWhole } from "../files.ts"
import { print } from "../output.ts"
import { digestFile } from "../subject.ts"

const NONCE_BYTES = 16
const MAX_PEM_BYTES = 1024 * 1024

export const timestamp: Command = {
  name: "timestamp",
  summary: "have a file timestamped (RFC 3161)",
  help: `
Usage: sealwright timestamp FILE|--digest sha256:HEX [--out FILE.tsr] [--url URL]

Asks the deployment's timestamp authority, or the one at --url, which may be any of RFC 3161. It gets a digest, never the file. The answer is checked
(digest, nonce) and written as a TimeStampResp, as \`openssl ts\` reads it. Who is trusted is decided when it is verified.

Examples:
  sealwright timestamp tool.tar.gz
  sealwright timestamp --digest sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 --out tool.tsr
`,
  options: {
    ...SERVICE_OPTIONS,
    digest: { type: "string" },
    out: { type: "string" },
    url: { type: "string" },
  },
  positionals: { min: 0, max: 1 },
  run: async (args) => {
    const { hash, digest } = stamped(args, "sha256")
    const nonce = randomBytes(NONCE_BYTES)
    nonce[0] = 0x40 | ((nonce[0] as number) & 0x3f)
    const query = timestampRequest({ hash, digest, nonce, certReq: true })
    const reply = await ask(args, query)
    const { info } = granted(reply)
    const echoed = info.nonce !== undefined && bytesEqual(info.nonce, new Uint8Array(nonce))
    if (info.imprint.hash !== hash || !bytesEqual(info.imprint.digest, digest) || !echoed)
      throw new CommandFailure(
        EXIT.rejected,
        "TIMESTAMP_MISMATCH",
        "the answer is to another request",
        "Ask again; if it stays so, do not trust this authority.",
      )
    const [path] = args.positionals
    const out = args.text("out") ?? (path === undefined ? undefined : `${path}.tsr`)
    if (out === undefined) throw usage("--out is missing", "Name the file for the answer.")
    writeFileWhole(out, reply)
    const answer = { genTime: formatTime(info.genTime), accuracyMs: info.accuracyMs, policy: info.policy, output: out }
    print(args.flag("json"), answer, () => [`Timestamped ${answer.genTime}`, `  written  ${out}`])
    return EXIT.done
  },
}

async function ask(args: Arguments, query: Uint8Array): Promise<Uint8Array> {
  const text = args.text("url")
  if (text === undefined)
    return await openClient(args).exchange("/v1/timestamp", TIMESTAMP_QUERY_TYPE, TIMESTAMP_REPLY_TYPE, query)
  const url = URL.canParse(text) ? new URL(text) : undefined
  // Plain http is fine: the token is signed, and it answers our own nonce.
  if (url === undefined || !["http:", "https:"].includes(url.protocol)) throw usage(`${text} is no http or https URL`)
  return await exchangeBytes(
    url,
    TIMESTAMP_REPLY_TYPE,
    { "content-type": TIMESTAMP_QUERY_TYPE, accept: TIMESTAMP_REPLY_TYPE },
    query,
  )
}

function granted(reply: Uint8Array): ReturnType<typeof parseTimestampToken> {
  try {
    const response = parseTimestampResponse(reply)
    if (response.granted) return parseTimestampToken(response.token)
    throw new CommandFailure(
      EXIT.unavailable,
      "TIMESTAMP_REJECTED",
      `the authority gave no token: ${response.failure ?? "no reason"}${response.text === "" ? "" : `, ${response.text}`}`,
      "Ask for what the authority grants; its reason names what it does not.",
    )
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    throw new CommandFailure(EXIT.unavailable, "ANSWER_MALFORMED", error.message)
  }
}

/** The digest that is to be stamped or checked: given, or a file's under `hash`. */
function stamped(args: Arguments, hash: HashName): Stamped {
  const [path] = args.positionals
  const given = args.text("digest")
  if ((path === undefined) === (given === undefined)) throw usage("give a file or --digest, one of them")
  if (path !== undefined && statSync(path, { throwIfNoEntry: false })?.isFile() !== true)
    throw usage(`${path} is no file`)
  try {
    const { algorithm, bytes } = parseDigest(given ?? digestFile(path ?? "", hash).digest)
    return { hash: algorithm, digest: bytes }
  } catch (error) {
    if (error instanceof FormatError) throw usage(`${given} is no digest`)
    throw error
  }
}

export const timestampVerify: Command = {
  name: "timestamp verify",
  summary: "verify a timestamp offline",
  help: `
Usage: sealwright timestamp verify FILE|--digest sha256:HEX --root ROOT.pem [--in FILE.tsr]

Checks that the token is for this file, that it is signed, and that its authority stands below a root in ROOT.pem, at the token's own time. Nothing is fetched;
whether the authority was revoked since is not asked. Exit 0 when the time is proven, else 1.

Example:
  sealwright timestamp verify tool.tar.gz --root timestamp-root.pem
`,
  options: { digest: { type: "string" }, in: { type: "string" }, root: { type: "string" } },
  positionals: { min: 0, max: 1 },
  run: async (args) => {
    const [path] = args.positionals
    const file = args.text("in") ?? (path === undefined ? undefined : `${path}.tsr`)
    if (file === undefined) throw usage("--in is missing", "Name the file with the timestamp.")
    const trusted = rootsIn(args.required("root"))
    const token = tokenIn(readFileLimited(file, MAX_TIMESTAMP_REPLY_BYTES))
    const result = runSync(verifyTimestampToken(token, stamped(args, hashIn(token)), { trusted }))
    if (!result.ok) {
      const text = `${TIMESTAMP_CODES[result.code]}${result.detail === "" ? "" : `: ${result.detail}`}`
      print(args.flag("json"), { verdict: "rejected", code: result.code, text }, () => [
        `Rejected: ${result.code}`,
        `  ${text}`,
      ])
      return EXIT.rejected
    }
    const answer = {
      verdict: "accepted",
      genTime: formatTime(result.genTime),
      earliest: result.earliest.toISOString(),
      latest: result.latest.toISOString(),
      policy: result.policy,
    }
    print(args.flag("json"), answer, () => [
      `Existed at ${answer.genTime}, between ${answer.earliest} and ${answer.latest}`,
    ])
    return EXIT.done
  },
}

/** A TimeStampResp, as authorities answer, or a bare token. */
function tokenIn(bytes: Uint8Array): Uint8Array {
  try {
    const response = parseTimestampResponse(bytes)
    return response.granted ? response.token : bytes
  } catch (error) {
    if (error instanceof FormatError) return bytes
    throw error
  }
}

/** A file is digested as the token says; of what cannot be read the verdict says so. */
function hashIn(token: Uint8Array): HashName {
  try {
    return parseTimestampToken(token).info.imprint.hash ?? "sha256"
  } catch (error) {
    if (error instanceof FormatError) return "sha256"
    throw error
  }
}

/** Certificates of a PEM file. @throws CommandFailure USAGE */
export function rootsIn(path: string): readonly Uint8Array[] {
  try {
    return pemDecodeAll("CERTIFICATE", utf8Decode(readFileLimited(path, MAX_PEM_BYTES)))
  } catch (error) {
    if (error instanceof FormatError) throw usage(`${path} holds no certificates in PEM`)
    throw error
  }
}

const authorityShape = openObject({
  timestampAuthority: openObject({
    generation: integer(1, 1_000_000),
    algorithm: string(40),
    certificate: string(32_768),
    notAfter: string(30),
    wrapped: boolean,
  }),
})

export const timestampAuthority: Command = {
  name: "timestamp authority",
  summary: "make or renew the timestamp authority",
  help: `
Usage: sealwright timestamp authority [--algorithm ecdsa-p256-sha256|ecdsa-p384-sha384|rsa-pkcs1-sha384] [--days 365]
         [--wrapped] [--show] [--out authority.pem]

Makes a key and a certificate for timestamps alone, below the deployment's root. Safe to repeat, by a schedule too: it answers what stands, and makes a
successor in the last quarter of the certificate's life, after a revocation, for another algorithm, and for another kind of key: with --wrapped it signs in the
function itself, beyond KMS's quota. --show only looks; --out writes the certificate.

Example:
  sealwright timestamp authority
`,
  options: {
    ...SERVICE_OPTIONS,
    algorithm: { type: "string" },
    days: { type: "string" },
    wrapped: { type: "boolean" },
    show: { type: "boolean" },
    out: { type: "string" },
  },
  positionals: { min: 0, max: 0 },
  run: async (args) => {
    const client = openClient(args)
    const algorithm = args.text("algorithm")
    const days = args.whole("days")
    const answer = args.flag("show")
      ? await client.get("/v1/timestamp-authority")
      : await client.send("POST", "/v1/timestamp-authority", {
          ...(algorithm !== undefined && { algorithm }),
          ...(days !== undefined && { days }),
          ...(args.flag("wrapped") && { wrapped: true }),
        })
    const { timestampAuthority: authority } = authorityShape(answer, "answer")
    const out = args.text("out")
    if (out !== undefined) writeFileWhole(out, new TextEncoder().encode(authority.certificate))
    print(args.flag("json"), answer, () => [
      `Timestamp authority ${authority.generation} (${authority.algorithm}${authority.wrapped ? ", wrapped" : ""}) until ${authority.notAfter}`,
    ])
    return EXIT.done
  },
}
