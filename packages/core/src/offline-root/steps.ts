import { bytesEqual, hexDecode, hexEncode, utf8Decode } from "@sealwright/formats/bytes"
import { assembleCrl, type CrlEntry, compareSerials, crlTbs } from "@sealwright/formats/crl-write"
import { CSR_LABEL, type Csr, parseCsr } from "@sealwright/formats/csr"
import { sequence } from "@sealwright/formats/der-write"
import { FormatError } from "@sealwright/formats/errors"
import { pemDecode } from "@sealwright/formats/pem"
import { formatTime } from "@sealwright/formats/time"
import { ATTRIBUTE, type Certificate, nameAttribute, parseCertificate } from "@sealwright/formats/x509"
import { distinguishedName, issuingCaRequestExtensions } from "@sealwright/formats/x509-write"
import { openCrl } from "@sealwright/verifier/crl-check"
import { type Step, verifySignature } from "@sealwright/verifier/requests"
import { YEAR_MS } from "../admin/ceremony.ts"
import {
  authorityKeyId,
  type CertifyingRoot,
  certifyIssuingCa,
  issuerKeyId,
  keyIdentifier,
  selfSign,
} from "../admin/certificates.ts"
import { checkIssuerChain, refuseOutliving } from "../admin/issuer-chain.ts"
import { ServiceError } from "../errors.ts"
import type { KeyReference } from "../ports.ts"
import { type JournalState, nextCrlNumber } from "./journal.ts"
import type { RootCeremonyPorts } from "./ports.ts"
import { type CeremonyStep, invalid, MAX_COMMON_NAME, REHEARSAL_MARK, type RootPlan } from "./script.ts"

const DAY_MS = 86_400_000

/** A step that was looked at and is ready: nothing is signed before its participants have confirmed. */
export interface PreparedStep {
  /** what will be done, in lines for those who confirm it */
  readonly lines: readonly string[]
  readonly input: Uint8Array | undefined
  /** @returns what is made, DER, verified as a stranger would; undefined when the step makes nothing */
  readonly act: () => Promise<Uint8Array | undefined>
}

export interface StepContext {
  readonly ports: RootCeremonyPorts
  readonly plan: RootPlan
  readonly state: JournalState
  /** the root's key, opened; undefined before it is made */
  readonly key: KeyReference | undefined
  /** whole seconds */
  readonly now: Date
  readonly rehearsal: boolean
}

/**
 * Looks at what a step is to do.
 * @throws ServiceError CEREMONY_SCRIPT_INVALID, CEREMONY_INPUT_DIFFERS, CERTIFICATE_REQUEST_INVALID, ISSUER_OUTLIVES_CA
 */
export async function prepareStep(context: StepContext, step: CeremonyStep): Promise<PreparedStep> {
  switch (step.do) {
    case "make-root":
      return prepareRoot(context, step)
    case "certify-issuer":
      return await prepareIssuer(context, step)
    case "revoke-issuer":
      return prepareRevocation(context, step)
    case "make-crl":
      return prepareCrl(context, step)
  }
}

function prepareRoot(
  { ports, plan, state, key, now, rehearsal }: StepContext,
  step: CeremonyStep & { do: "make-root" },
): PreparedStep {
  if (state.root !== undefined) throw invalid(`${step.id}: this folder has its root already`)
  const notAfter = new Date(now.getTime() + step.years * YEAR_MS)
  const { country, state: stateOrProvince, organisation: organization } = plan.subject
  const commonName = marked(plan.subject.commonName, rehearsal)
  const subject = distinguishedName({ country, stateOrProvince, organization, commonName })
  return {
    lines: [
      `make the self-signed root certificate of the key ${plan.key} (${plan.keyIs}, ${plan.algorithm})`,
      `subject: C=${country}, ST=${stateOrProvince}, O=${organization}, CN=${commonName}`,
      `valid from ${formatTime(now)} until ${formatTime(notAfter)}`,
    ],
    input: undefined,
    async act() {
      if (key === undefined) throw new TypeError("the root's key is made first")
      const der = await selfSign(ports, key, subject, now, notAfter)
      const { tbs, signature, signatureScheme } = parseCertificate(der)
      if (signatureScheme === undefined || !ports.run(verifySignature(signatureScheme, key.spki, tbs, signature)))
        throw wrongSignature("the root certificate")
      return der
    },
  }
}

async function prepareIssuer(
  context: StepContext,
  step: CeremonyStep & { do: "certify-issuer" },
): Promise<PreparedStep> {
  const { ports, plan, now, rehearsal } = context
  const root = rootOf(context)
  const input = await ports.readInput(step.request)
  const found = hexEncode(ports.digest("sha256", input))
  if (found !== step.sha256)
    throw new ServiceError(
      "CEREMONY_INPUT_DIFFERS",
      `${step.id}: the request's SHA-256 is ${found}, the script says ${step.sha256}`,
    )
  const { spki, names } = readRequest(context, step.id, input)
  const commonName = marked(names.commonName, rehearsal)
  const subject = distinguishedName({ ...names, commonName })
  if (bytesEqual(subject, parseCertificate(root.certificate).subject.der))
    throw requestInvalid(step.id, "it asks for the root's own name")
  const keyId = issuerKeyId(ports.digest, spki)
  for (const [other, certificate] of context.state.issuers)
    if (bytesEqual(certificate.subject.der, subject) && !bytesEqual(certificate.spki, spki))
      throw requestInvalid(step.id, `${other} certified another key under the same name`)
  const notAfter = new Date(now.getTime() + step.days * DAY_MS)
  refuseOutliving(notAfter, root.notAfter, step.id)
  return {
    lines: [
      `certify the issuing CA C=${names.country}, ST=${names.stateOrProvince}, O=${names.organization}, CN=${commonName}`,
      `its key: ${grouped(keyId)}`,
      `path length 0, for code signing alone, valid from ${formatTime(now)} until ${formatTime(notAfter)}`,
    ],
    input,
    async act() {
      const der = await certifyIssuingCa(ports, root, {
        subject,
        spki,
        notBefore: now,
        notAfter,
        crlHost: plan.crlHost,
        timestampRequired: false,
      })
      ports.run(checkIssuerChain([der, root.certificate], spki, now))
      return der
    },
  }
}

interface RequestedNames {
  readonly country: string
  readonly stateOrProvince: string
  readonly organization: string
  readonly commonName: string
}

/**
 * A request of `issuer create --external`, and no other: one that asks for anything else was not meant for this root.
 * @throws ServiceError CERTIFICATE_REQUEST_INVALID
 */
function readRequest(
  { ports }: StepContext,
  id: string,
  pem: Uint8Array,
): { readonly spki: Uint8Array; readonly names: RequestedNames } {
  let csr: Csr
  try {
    csr = parseCsr(pemDecode(CSR_LABEL, utf8Decode(pem)))
  } catch (error) {
    if (error instanceof FormatError) throw requestInvalid(id, error.message)
    throw error
  }
  const { info, spki, subject, extensions, signatureScheme, signature } = csr
  if (signatureScheme === undefined || !ports.run(verifySignature(signatureScheme, spki, info, signature)))
    throw requestInvalid(id, "its signature is not by the key that it names, so nobody proves to hold that key")
  const expected = sequence(...issuingCaRequestExtensions(keyIdentifier(ports.digest, spki), 0))
  if (extensions === undefined || !bytesEqual(extensions, expected))
    throw requestInvalid(id, "it does not ask for an issuing CA of path length 0 for code signing")
  const [country, stateOrProvince, organization, commonName] = (
    ["country", "stateOrProvince", "organization", "commonName"] as const
  ).map((name) => nameAttribute(subject, ATTRIBUTE[name]) ?? "") as [string, string, string, string]
  const names = { country, stateOrProvince, organization, commonName }
  if (commonName.length > MAX_COMMON_NAME)
    throw requestInvalid(id, `its common name is longer than ${MAX_COMMON_NAME} characters`)
  if (/[\p{C}\p{Zl}\p{Zp}]/u.test(Object.values(names).join("")))
    throw requestInvalid(id, "its name has control characters")
  if (!bytesEqual(subject.der, writtenName(id, names)))
    throw requestInvalid(id, "its name is not C, ST, O and CN in this order")
  return { spki, names }
}

function writtenName(id: string, names: RequestedNames): Uint8Array {
  try {
    return distinguishedName(names)
  } catch (error) {
    if (error instanceof FormatError) throw requestInvalid(id, error.message)
    throw error
  }
}

function prepareRevocation(context: StepContext, step: CeremonyStep & { do: "revoke-issuer" }): PreparedStep {
  rootOf(context)
  const issuer = context.state.issuers.get(step.issuer)
  if (issuer === undefined) throw invalid(`${step.id}: no step ${step.issuer} certified an issuer`)
  if (context.state.revoked.has(step.issuer)) throw invalid(`${step.id}: ${step.issuer} is revoked already`)
  return {
    lines: [
      `revoke the issuer's certificate of ${step.issuer}, serial ${hexEncode(issuer.serialBytes)}, for ${step.reason}`,
      `this can't be undone; it is told to others by the next CRL`,
    ],
    input: undefined,
    act: async () => undefined,
  }
}

function prepareCrl(context: StepContext, step: CeremonyStep & { do: "make-crl" }): PreparedStep {
  const { ports, state, now } = context
  const root = rootOf(context)
  const crlNumber = nextCrlNumber(state)
  const nextUpdate = new Date(now.getTime() + step.days * DAY_MS)
  const entries = [...state.revoked].map(([issuer, { at, step: by }]) =>
    entryOf(state.issuers.get(issuer) as Certificate, at, by),
  )
  entries.sort((a, b) => compareSerials(a.serial, b.serial))
  return {
    lines: [
      `make the root's CRL number ${crlNumber} with ${entries.length} revoked certificate(s), in force until ${formatTime(nextUpdate)}`,
      ...entries.map(({ serial, reason }) => `revoked: serial ${hexEncode(serial)} for ${reason ?? "unspecified"}`),
    ],
    input: undefined,
    async act() {
      const { scheme } = root.key
      const certificate = parseCertificate(root.certificate)
      const tbs = crlTbs({
        issuer: certificate.subject.der,
        scheme,
        thisUpdate: now,
        nextUpdate,
        crlNumber,
        authorityKeyId: authorityKeyId(ports.digest, root),
        entries,
      })
      const der = assembleCrl(tbs, scheme, await ports.keys.sign(root.key, tbs))
      const opened = ports.run(openCrl(der, certificate, now) as Step<{ readonly why?: string }>)
      if (opened.why !== undefined) throw wrongSignature(`the CRL (${opened.why})`)
      return der
    },
  }
}

function entryOf(issuer: Certificate, revokedAt: Date, step: CeremonyStep): CrlEntry {
  const entry = { serial: issuer.serialBytes, revokedAt }
  return step.do !== "revoke-issuer" || step.reason === "unspecified" ? entry : { ...entry, reason: step.reason }
}

function rootOf({ ports, state, key }: StepContext): CertifyingRoot {
  if (state.root === undefined || key === undefined) throw invalid("the first step of a new folder is make-root")
  const { certificate } = state.root
  return {
    certificate: certificate.der,
    key,
    issuerKeyId: issuerKeyId(ports.digest, key.spki),
    notAfter: certificate.notAfter,
  }
}

function marked(commonName: string, rehearsal: boolean): string {
  return rehearsal ? commonName + REHEARSAL_MARK : commonName
}

/** A digest as people read it aloud: groups of four, in capitals. @param hex lower-case */
export function grouped(hex: string): string {
  return (
    hexEncode(hexDecode(hex))
      .toUpperCase()
      .match(/.{1,4}/g) ?? []
  ).join(" ")
}

function requestInvalid(id: string, why: string): ServiceError {
  return new ServiceError("CERTIFICATE_REQUEST_INVALID", `${id}: ${why}`)
}

function wrongSignature(what: string): ServiceError {
  return new ServiceError("KEY_NOT_USABLE", `the key made ${what}, and it does not verify`)
}
