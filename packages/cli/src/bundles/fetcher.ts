import { hash, randomInt } from "node:crypto"
import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { CommandFailure, EXIT } from "../exit.ts"
import { readFileIfThere, writeFileWhole } from "../files.ts"
import { digestFile } from "../subject.ts"

/** How long a mirror is given, and how often. */
export interface Patience {
  /** of one file */
  readonly attempts: number
  /** of all files of a run, beyond the first attempt of each */
  readonly retries: number
  /** a pause is chance up to base, twice base, four times …, at most the cap (full jitter) */
  readonly baseMs: number
  readonly capMs: number
  /** without a byte */
  readonly idleMs: number
  /** of one request, however slowly it goes on */
  readonly requestMs: number
}

export const PATIENCE: Patience = {
  attempts: 5,
  retries: 20,
  baseMs: 250,
  capMs: 10_000,
  idleMs: 30_000,
  requestMs: 900_000,
}

const MAX_HEAD_FILE_BYTES = 64 * 1024 * 1024

/** Why a request may be worth another try. */
class Interrupted extends Error {}

/**
 * Fetches files of a mirror that nobody trusts: each has a limit, redirects and encodings are refused, failures are tried again with pauses of full jitter under
 * one budget. Files whose digest is known are kept under it while they come, so that a cut run goes on where it was; they are compared before use.
 */
export class Fetcher {
  /** bodies received, those of failed attempts among them */
  bytesFetched = 0
  readonly #folder: string
  readonly #patience: Patience
  #retries: number

  /** @param folder for what has come in part; made when needed */
  constructor(folder: string, patience: Patience = PATIENCE) {
    this.#folder = folder
    this.#patience = patience
    this.#retries = patience.retries
  }

  /**
   * A small file under a name that keeps its content, or may appear.
   * @returns undefined when there is none
   * @throws CommandFailure UNREACHABLE, REDIRECT_REFUSED, ENCODING_REFUSED, FILE_TOO_LARGE
   */
  async file(url: string, maxBytes: number): Promise<Uint8Array | undefined> {
    return await this.#patiently(url, async () => {
      const { response, end } = await this.#request(url, {})
      try {
        return response.status === 404 ? undefined : await this.#body(url, response, maxBytes)
      } finally {
        end()
      }
    })
  }

  /**
   * A small file that changes under its name: it is asked for by ETag, and what came last serves when it has not changed.
   * @throws CommandFailure as `file`
   */
  async head(url: string, maxBytes: number): Promise<Uint8Array | undefined> {
    const place = join(this.#folder, `head-${hash("sha256", url)}`)
    const kept = readHead(place, maxBytes)
    return await this.#patiently(url, async () => {
      const { response, end } = await this.#request(url, kept === undefined ? {} : { "if-none-match": kept.etag })
      try {
        if (response.status === 404) return undefined
        if (response.status === 304 && kept !== undefined) return kept.body
        const body = await this.#body(url, response, maxBytes)
        const etag = response.headers.get("etag")
        if (etag !== null && etag.length < 200) writeHead(place, etag, body)
        return body
      } finally {
        end()
      }
    })
  }

  /**
   * A file of known digest.
   * @param size undefined when only the digest and a limit are known
   * @returns the path of a file with exactly these bytes, in this fetcher's folder; undefined when the server has none
   * @throws CommandFailure as `file`; FETCHED_OTHER_BYTES
   */
  async known(
    url: string,
    { sha256, size, maxBytes }: { readonly sha256: string; readonly size?: number; readonly maxBytes: number },
  ): Promise<string | undefined> {
    const whole = join(this.#folder, sha256)
    const part = `${whole}.part`
    if (digestOf(whole) === sha256) return whole
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 })
    const limit = size ?? maxBytes
    const found = await this.#patiently(url, async () => {
      const have = sizeOf(part)
      // What is there already may be all of it, or someone else's: the digest says.
      if (have > 0 && digestOf(part) === sha256) return true
      const resume = have > 0 && have < limit
      const { response, end } = await this.#request(url, resume ? { range: `bytes=${have}-` } : {})
      try {
        if (response.status === 404) return false
        if (response.status === 416) {
          rmSync(part, { force: true })
          throw new Interrupted("the server has no such range")
        }
        const goesOn =
          response.status === 206 && (response.headers.get("content-range") ?? "").startsWith(`bytes ${have}-`)
        if (response.status === 206 && !(resume && goesOn)) throw new Interrupted("another range than asked for")
        await this.#append(url, response, part, goesOn ? have : 0, limit)
        return true
      } finally {
        end()
      }
    })
    if (!found) return undefined
    if ((size !== undefined && sizeOf(part) !== size) || digestOf(part) !== sha256) {
      rmSync(part, { force: true })
      throw new CommandFailure(
        EXIT.rejected,
        "FETCHED_OTHER_BYTES",
        `${url} has other bytes than the signed metadata or the index says`,
        "Ask again; if it stays so, the mirror is damaged or worse. Nothing was taken over.",
      )
    }
    renameSync(part, whole)
    return whole
  }

  /** Forgets what has come in; heads stay for the next run. */
  forget(): void {
    for (const name of namesIn(this.#folder))
      if (!name.startsWith("head-")) rmSync(join(this.#folder, name), { force: true })
  }

  async #patiently<T>(url: string, attempt: () => Promise<T>): Promise<T> {
    const { attempts, baseMs, capMs } = this.#patience
    for (let tried = 1; ; tried++) {
      try {
        return await attempt()
      } catch (error) {
        if (!(error instanceof Interrupted)) throw error
        if (tried >= attempts || this.#retries <= 0)
          throw new CommandFailure(
            EXIT.unavailable,
            "UNREACHABLE",
            `${url}: ${error.message}`,
            "Check the address and the network; the bundle is as it was, and what has come goes on from there.",
          )
        this.#retries -= 1
        await sleep(randomInt(0, Math.min(capMs, baseMs * 2 ** (tried - 1)) + 1))
      }
    }
  }

  async #request(
    url: string,
    headers: Readonly<Record<string, string>>,
  ): Promise<{ readonly response: Response; readonly end: () => void }> {
    const control = new AbortController()
    const timer = setTimeout(() => control.abort(), this.#patience.requestMs)
    const end = () => {
      clearTimeout(timer)
      control.abort()
    }
    try {
      const { signal } = control
      const asked = fetch(url, { redirect: "manual", signal, headers: { "accept-encoding": "identity", ...headers } })
      const response = await within(asked, this.#patience.idleMs)
      const { status } = response
      if (status >= 300 && status < 400 && status !== 304)
        throw new CommandFailure(
          EXIT.rejected,
          "REDIRECT_REFUSED",
          `${url} leads elsewhere (HTTP ${status})`,
          "Name the address itself.",
        )
      if (![200, 206, 304, 404, 416].includes(status)) throw new Interrupted(`HTTP ${status}`)
      const encoding = response.headers.get("content-encoding")
      if (encoding !== null && encoding !== "identity")
        throw new CommandFailure(
          EXIT.rejected,
          "ENCODING_REFUSED",
          `${url} comes as ${encoding.slice(0, 40)}, which was not asked for`,
          "Let the server give the files as they are.",
        )
      return { response, end }
    } catch (error) {
      end()
      throw asInterrupted(error)
    }
  }

  async #body(url: string, response: Response, maxBytes: number): Promise<Uint8Array> {
    if (response.status !== 200) throw new Interrupted(`HTTP ${response.status}`)
    const chunks: Uint8Array[] = []
    await this.#read(url, response, 0, maxBytes, (chunk) => chunks.push(chunk))
    return new Uint8Array(Buffer.concat(chunks))
  }

  async #append(url: string, response: Response, part: string, from: number, limit: number): Promise<void> {
    const file = openSync(part, from === 0 ? "w" : "r+", 0o600)
    let at = from
    try {
      ftruncateSync(file, from)
      await this.#read(url, response, from, limit, (chunk) => {
        for (let done = 0; done < chunk.length; ) done += writeSync(file, chunk, done, chunk.length - done, at + done)
        at += chunk.length
      })
    } finally {
      closeSync(file)
    }
  }

  /** Gives chunks on until the body ends. Whoever sends more than `limit` is cut off, and so is who stops sending. */
  async #read(
    url: string,
    response: Response,
    from: number,
    limit: number,
    take: (chunk: Uint8Array) => void,
  ): Promise<void> {
    const reader = response.body?.getReader()
    if (reader === undefined) return
    let length = from
    try {
      for (;;) {
        const { done, value } = await within(reader.read(), this.#patience.idleMs)
        if (done) break
        this.bytesFetched += value.length
        length += value.length
        if (length > limit)
          throw new CommandFailure(EXIT.rejected, "FILE_TOO_LARGE", `${url} is longer than ${limit} bytes`)
        take(value)
      }
    } catch (error) {
      throw asInterrupted(error)
    }
    const declared = response.headers.get("content-length")
    if (declared !== null && Number(declared) !== length - from) throw new Interrupted("the answer was cut short")
  }
}

function asInterrupted(error: unknown): unknown {
  if (error instanceof CommandFailure || error instanceof Interrupted) return error
  const cause = error instanceof Error ? (error.cause as { readonly code?: unknown } | undefined)?.code : undefined
  return new Interrupted(typeof cause === "string" ? cause : error instanceof Error ? error.message : "no answer")
}

async function within<T>(promise: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Interrupted(`nothing came for ${ms} ms`)), ms)
  })
  promise.catch(() => undefined)
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

function readHead(place: string, maxBytes: number): { readonly etag: string; readonly body: Uint8Array } | undefined {
  try {
    const bytes = readFileIfThere(place, MAX_HEAD_FILE_BYTES)
    const end = bytes?.indexOf(10) ?? -1
    if (bytes === undefined || end < 0) return undefined
    const body = bytes.slice(end + 1)
    return body.length > maxBytes ? undefined : { etag: Buffer.from(bytes.subarray(0, end)).toString("latin1"), body }
  } catch {
    return undefined
  }
}

function writeHead(place: string, etag: string, body: Uint8Array): void {
  writeFileWhole(place, Buffer.concat([Buffer.from(`${etag}\n`, "latin1"), body]), 0o600)
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0
}

function digestOf(path: string): string | undefined {
  if (statSync(path, { throwIfNoEntry: false }) === undefined) return undefined
  return digestFile(path).digest.slice("sha256:".length)
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
