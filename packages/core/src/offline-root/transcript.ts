import { base64Encode, hexEncode, utf8 } from "@sealwright/formats/bytes"
import { formatTime } from "@sealwright/formats/time"
import type { KeyReference } from "../ports.ts"
import { wholeSeconds } from "../sign/rules.ts"
import type { RootCeremonyPorts } from "./ports.ts"

/** The last line that the root's signature covers ends so; what follows is the digest and the signature (docs/root-ceremony.md). */
export const END_OF_SIGNED = "end of what is signed"

export interface TranscriptLine {
  readonly number: number
  /** RFC 3339, UTC */
  readonly at: string
  readonly text: string
}

export interface SignedTranscript {
  readonly lines: readonly TranscriptLine[]
  /** lower-case hex, of all lines up to and with the one that ends in `END_OF_SIGNED` */
  readonly sha256: string
  /** by the root's key over the same bytes; ECDSA: DER Ecdsa-Sig-Value */
  readonly signature: Uint8Array
}

/**
 * Numbered lines with their times, each written before what it announces is done. Its first line begins with a letter, so nothing that the root's key
 * signs here can be read as a certificate or a CRL, which begin with 0x30.
 */
export class Transcript {
  readonly lines: TranscriptLine[] = []
  readonly #ports: Pick<RootCeremonyPorts, "clock" | "write" | "digest" | "keys">
  #text = ""

  constructor(ports: Pick<RootCeremonyPorts, "clock" | "write" | "digest" | "keys">, title: string) {
    this.#ports = ports
    this.#title = title
  }
  readonly #title: string

  async add(text: string): Promise<void> {
    if (this.lines.length === 0) await this.#write(this.#title)
    const line = { number: this.lines.length + 1, at: formatTime(wholeSeconds(this.#ports.clock())), text }
    await this.#write(`${String(line.number).padStart(4, "0")}  ${line.at}  ${text}`)
    this.lines.push(line)
  }

  /** Ends the transcript with its digest and the root's signature. */
  async sign(key: KeyReference): Promise<SignedTranscript> {
    await this.add(END_OF_SIGNED)
    const signed = utf8(this.#text)
    const sha256 = hexEncode(this.#ports.digest("sha256", signed))
    const signature = await this.#ports.keys.sign(key, signed)
    await this.#write(`SHA-256 of the lines above: ${sha256}`)
    await this.#write(`Signature of the lines above (${key.scheme}): ${base64Encode(signature)}`)
    return { lines: this.lines, sha256, signature }
  }

  async #write(line: string): Promise<void> {
    await this.#ports.write(line)
    this.#text += `${line}\n`
  }
}
