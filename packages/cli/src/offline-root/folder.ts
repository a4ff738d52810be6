import { closeSync, fsyncSync, mkdirSync, openSync, readdirSync, writeSync } from "node:fs"
import { dirname, join } from "node:path"
import { createOwnFile } from "@sealwright/adapters/own-file"
import { ServiceError } from "@sealwright/core/errors"
import { MAX_ENTRY_BYTES } from "@sealwright/core/offline-root/journal"
import type { CeremonyFolder } from "@sealwright/core/offline-root/ports"
import { utf8, utf8Decode } from "@sealwright/formats/bytes"
import { CommandFailure, EXIT } from "../exit.ts"
import { readFileLimited, writeFileWhole } from "../files.ts"

/**
 * A root's folder: `journal/0001.json`… are never changed, `out/` holds what was made. Entries are linked into place, so the folder must lie on a
 * file system with hard links: a machine's own disk, and not a stick's FAT.
 */
export function ceremonyFolder(path: string): CeremonyFolder {
  const journal = join(path, "journal")
  const entryPath = (number: number) => join(journal, entryName(number))
  return {
    async entries() {
      const names = visibleNames(journal)
      const foreign = names.find((name, at) => name !== entryName(at + 1))
      if (foreign !== undefined)
        throw new ServiceError("CEREMONY_JOURNAL_DAMAGED", `${journal}: ${foreign} is not the entry that follows`)
      return names.map((_, at) => readFileLimited(entryPath(at + 1), MAX_ENTRY_BYTES))
    },
    async append(number, entry) {
      mkdirSync(journal, { recursive: true, mode: 0o700 })
      return await createOwnFile(entryPath(number), utf8Decode(entry))
    },
    async release(name, bytes) {
      writeFileWhole(join(path, "out", name), bytes)
    },
  }
}

function entryName(number: number): string {
  return `${String(number).padStart(4, "0")}.json`
}

/** Hidden files are what a crash left of an entry that never was. */
function visibleNames(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => !name.startsWith("."))
      .sort((a, b) => a.length - b.length || (a < b ? -1 : 1))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return []
    throw error
  }
}

export interface TranscriptFile {
  /** durable on return */
  write(line: string): void
  close(): void
}

/** @throws CommandFailure FILE_EXISTS: a transcript is never written over */
export function createTranscript(path: string): TranscriptFile {
  mkdirSync(dirname(path), { recursive: true })
  let file: number
  try {
    file = openSync(path, "wx", 0o644)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error
    throw new CommandFailure(EXIT.usage, "FILE_EXISTS", `${path} stands, and a transcript is never written over`)
  }
  return {
    write(line) {
      const bytes = utf8(`${line}\n`)
      for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at)
      fsyncSync(file)
    },
    close: () => closeSync(file),
  }
}
