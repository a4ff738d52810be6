import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { pemDecodeLenient } from "@sealwright/formats/pem"
import { array, object, openObject, string } from "@sealwright/formats/shape"
import { parseJsonWithRawPem } from "@sealwright/formats/strict-json"
import { nameAttribute, parseCertificate } from "@sealwright/formats/x509"
import { expect, test } from "vitest"

const STORE = join("..", "shared", "vectors", "notary-v2", "truststore.json")
const present = existsSync(STORE)
const storeShape = object({
  trustedRoots: array(openObject({ root: string(16_384) }, { scope: string(256) }), 16),
})

test.skipIf(!present)("R20: the certificates of the source's sample trust store are read as printed", () => {
  const store = storeShape(parseJsonWithRawPem(readFileSync(STORE), { maxBytes: 65_536 }), "store")
  const certificates = store.trustedRoots.map(({ root }) => parseCertificate(pemDecodeLenient("CERTIFICATE", root)))
  expect(certificates.map(({ subject }) => nameAttribute(subject, "2.5.4.3"))).toEqual([
    "Amazon Root CA 1",
    "Amazon Root CA 2",
  ])
  expect(certificates.map(({ key }) => key)).toEqual([
    { type: "rsa", modulusBits: 2048 },
    { type: "rsa", modulusBits: 4096 },
  ])
  process.stdout.write(`notary-v2 trust store: ${certificates.length} certificates\n`)
})

test.runIf(!present)("the notary-v2 samples are not on this machine", () => {
  process.stdout.write(`skipped: ${STORE} is not there\n`)
})
