import { createHash } from "node:crypto"
import { bytesEqual } from "@sealwright/formats/bytes"
import { parseCrl } from "@sealwright/formats/crl"
import { FormatError } from "@sealwright/formats/errors"
import { parseCertificate } from "@sealwright/formats/x509"
import type { OpenedBundle } from "@sealwright/verifier/bundle"
import { openCrl } from "@sealwright/verifier/crl-check"
import type { Step } from "@sealwright/verifier/requests"
import type { Dump, Finding, Items, StoredItem } from "./state.ts"

type Report = (finding: Finding) => void
type Run = <T>(step: Step<T>) => T

/**
 * Each CRL of an outside authority: signed by a certificate that stands above an issuer, and what is shown since the epoch that carries it, at its own
 * address and as a target.
 * @param shown the epoch that readers see
 */
export function checkOutsideCrls(
  items: Items,
  dump: Dump,
  bundle: OpenedBundle,
  shown: number,
  run: Run,
  report: Report,
): void {
  const chains = items.partition("issuers").flatMap((item) => (item.external === true ? chainOf(item) : []))
  for (const item of items.partition("outside-crls")) {
    const subject = `crl/${item.sk}.crl`
    const wrong = (detail: string) => report({ code: "CRL_WRONG", subject, detail })
    const authority = items.bytes(item, "authority")
    const crl = items.bytes(item, "crl")
    if (!chains.some((der) => bytesEqual(der, authority))) wrong("its authority stands above no issuer")
    const problem = signedBy(authority, crl, item.sk, items.text(item, "crlNumber"), run)
    if (problem !== undefined) wrong(problem)
    if (items.number(item, "epoch") > shown) continue
    const target = run(bundle.crl(item.sk))
    const published = dump.objects.get(subject)
    if (target === undefined || !bytesEqual(target, crl)) wrong("is not the target of the shown epoch")
    if (published === undefined || !bytesEqual(published, crl)) wrong("is not what was imported")
  }
}

function signedBy(
  authority: Uint8Array,
  crl: Uint8Array,
  keyId: string,
  crlNumber: string,
  run: Run,
): string | undefined {
  try {
    const certificate = parseCertificate(authority)
    if (createHash("sha256").update(certificate.spki).digest("hex") !== keyId) return "stands under another key's id"
    const list = parseCrl(crl)
    if (String(list.crlNumber) !== crlNumber) return "has another number than its item"
    const opened = run(openCrl(crl, certificate, list.thisUpdate))
    return "status" in opened ? opened.why : undefined
  } catch (error) {
    if (error instanceof FormatError) return error.message
    throw error
  }
}

function chainOf(issuer: StoredItem): Uint8Array[] {
  return Array.isArray(issuer.chain) ? issuer.chain.filter((one) => one instanceof Uint8Array) : []
}
