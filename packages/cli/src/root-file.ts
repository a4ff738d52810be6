import { createHash } from "node:crypto"

/** The TUF root that a deployer pins. */
export const MAX_ROOT_BYTES = 512_000

/** Lower-case hex SHA-256 of a certificate, as people compare it. */
export function thumbprintOf(certificate: Uint8Array): string {
  return createHash("sha256").update(certificate).digest("hex")
}
