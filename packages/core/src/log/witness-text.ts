/** The witnesses of a deployment as text (C2SP tlog-policy): what its people give, what it keeps, what it publishes. */
import { bytesEqual, utf8 } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import { encodeVkey } from "@sealwright/formats/signed-note"
import { type LogPolicy, parseLogPolicy } from "@sealwright/formats/tlog-policy"
import { trustLogs } from "@sealwright/verifier/log-check"
import { ServiceError } from "../errors.ts"
import type { RunStep } from "../ports.ts"
import { submissionUrl } from "./witness.ts"

/** All of them are asked for every checkpoint, within a second, and their lines travel with every proof. */
export const MAX_WITNESSES = 16
export const MAX_WITNESS_TEXT_BYTES = 65_536
const MAX_ADDRESS_LENGTH = 512

/**
 * What a person gave, checked and in the one form that is kept: witnesses, groups, quorum; no comments, no logs.
 * @param given tlog-policy text; every witness has an address. Its `log` lines, if any, must be among `logs`
 * @param logs `log` lines of this deployment
 * @param local see `submissionUrl`
 * @returns undefined for a text without a witness: nobody cosigns
 * @throws ServiceError LOG_WITNESSES_MALFORMED
 */
export function witnessText(given: string, logs: string, run: RunStep, local: boolean): string | undefined {
  const own = parseLogPolicy(utf8(`${logs}quorum none\n`)).logs
  const policy = read(given)
  for (const { key } of policy.logs)
    if (!own.some((log) => log.key.name === key.name && bytesEqual(log.key.publicKey, key.publicKey)))
      throw malformed(`a log line names ${key.name} with a key that is none of this deployment's logs`)
  const { witnesses } = policy
  if (witnesses.length > MAX_WITNESSES) throw malformed(`more than ${MAX_WITNESSES} witnesses`)
  for (const { name, key, url } of witnesses) {
    if (url === undefined || url.length > MAX_ADDRESS_LENGTH || submissionUrl(url, local) === undefined)
      throw malformed(`${name} needs an address of at most ${MAX_ADDRESS_LENGTH} characters, https and a host's name`)
    if (own.some((log) => bytesEqual(log.key.publicKey, key.publicKey))) throw malformed(`${name} has a log's key`)
  }
  const wrong = run(trustLogs({ ...policy, logs: own }))
  if (typeof wrong === "string") throw malformed(wrong)
  return witnesses.length === 0 ? undefined : textOf(policy)
}

function read(given: string): LogPolicy {
  const text = given === "" || given.endsWith("\n") ? given : `${given}\n`
  const bytes = utf8(text)
  if (bytes.length > MAX_WITNESS_TEXT_BYTES) throw malformed(`more than ${MAX_WITNESS_TEXT_BYTES} bytes`)
  if (text.trim() === "") return { logs: [], witnesses: [], groups: [], quorum: undefined }
  try {
    return parseLogPolicy(bytes)
  } catch (error) {
    if (error instanceof FormatError) throw malformed(error.message)
    throw error
  }
}

function textOf({ witnesses, groups, quorum }: LogPolicy): string {
  return [
    ...witnesses.map(({ name, key, url }) => `witness ${name} ${encodeVkey(key)} ${url}\n`),
    ...groups.map(({ name, threshold, members }) => `group ${name} ${threshold} ${members.join(" ")}\n`),
    `quorum ${quorum ?? "none"}\n`,
  ].join("")
}

function malformed(detail: string): ServiceError {
  return new ServiceError("LOG_WITNESSES_MALFORMED", detail)
}
