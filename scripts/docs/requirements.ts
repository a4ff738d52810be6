import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { GENERATED } from "./markdown.ts"

type Status = "met" | "in part"

interface Requirement {
  readonly text: string
  readonly status: Status
  /** what is there, and what is missing */
  readonly now: string
}

const requirement = (status: Status, text: string, now: string): Requirement => ({ status, text, now })
const met = requirement.bind(undefined, "met")
const inPart = requirement.bind(undefined, "in part")

const GROUPS: { readonly [title: string]: { readonly [id: string]: Requirement } } = {
  Signing: {
    R1: inPart(
      "Keys live on the local host, on a secure token, in an HSM, or in a cloud KMS: all four sign.",
      "A deployment's keys live in AWS KMS, or on a PKCS #11 token such as CloudHSM ([keys](keys.md)), proved with SoftHSM, behind p11-kit and with a TPM; local keys sign without the service.",
    ),
    R2: met(
      "Signing needs no action with a registry or its operator.",
      "The service never talks to a registry; signatures are put into OCI layouts and files.",
    ),
    R3: met(
      "An artifact may carry any number of signatures, by different parties, keys and algorithms.",
      "1,000 by one deployment, any number by others; the verifier looks at 100 at a time.",
    ),
    R4: met(
      "Signatures cover the artifact's manifest digest: copying, renaming or re-tagging does not break them.",
      "The payload is the descriptor alone.",
    ),
    R5: met(
      "Root keys issue signing keys, by way of intermediates; signing with a root key is refused unless asked for.",
      "The root, or an outside authority, certifies issuers. A profile right below the root is refused unless `allowRootIssuer` asks for it, and the sign role has no right to root keys unless the stack is deployed with `rootSigning`.",
    ),
    R6: met(
      "A signing key's chain, its signed identity and its issuer can be checked from the signature itself.",
      "The envelope carries the whole chain; issuer, serial and number stand under the signature.",
    ),
    R7: met(
      "A signature carries its own expiry, set by profile or request.",
      "`expirySec` of the profile, `expiresAt` of the request.",
    ),
    R8: inPart(
      "A signature carries an RFC 3161 timestamp, from the stack's own authority or an outside one, and so outlives its certificate.",
      "By the stack's own authority, where the profile says so; the verifier takes any authority's. A profile revoked from a time on leaves earlier stamped signatures in force; an issuer is still revoked as a whole. Signing with an outside authority comes later.",
    ),
    R9: met(
      "The service signs just what the request says, and a caller who may sign for one repository cannot get a signature for another.",
      "The service builds the payload; profiles list repositories; IAM grants by profile.",
    ),
    R10: inPart(
      "Signing policies: who may submit, who must approve, which origin is required.",
      "Who may submit, for which repositories, with which key, for how long. Approvals and origins come later.",
    ),
    R11: met(
      "Signing fits into CI/CD: one step, non-interactive, idempotent on retry, synchronous or asynchronous.",
      "One command or one request; synchronous.",
    ),
    R12: met(
      "Every signing activity is recorded for audit, also refusals.",
      "An audit entry is part of the same transaction as the act; refusals of ours are written with their code. What IAM refuses is in CloudTrail and the API's access log. Uses of keys are reconciled with these entries (reconciliation.md).",
    ),
    R13: inPart(
      "Signatures can be pushed to and pulled from any OCI registry as referrers, and from plain files and web servers.",
      "Referrer manifests in OCI layouts, files, and bundles on any web server. Pushing to registries is left to registry tools for now.",
    ),
    R14: met(
      "No long-lived private key leaves its store; a key made for one act lives in that invocation alone.",
      "Long-lived keys are KMS keys; per-act keys are made, used and dropped in one invocation. The named exception is off by default: a wrapped issuer's key is decrypted into the memory of the functions that sign.",
    ),
    R15: inPart(
      "Requests keep working at high volume; batching and throttling are handled by the service.",
      "Batches of 100 at once and of 10,000 as a job, which the service signs at a pace below the quota and slows down when KMS throttles; leases of numbers instead of a counter, one KMS call a signature. The account's KMS quota is the limit, but not below a wrapped issuer, whose key signs in memory.",
    ),
  },
  "Keys and trust": {
    R16: met(
      "Rotating a signing key needs no action by deployers who trust the root; overlap is possible.",
      "Every signature has a fresh key. `issuer rotate` publishes a successor before it signs, `profile rotate` gives a new held key or another issuer; what was signed before stays good, and identity and roots are the same.",
    ),
    R17: inPart(
      "Deployers can take a new root over from a signed, versioned trust bundle; a compromised root cannot rotate itself.",
      "`root rotate` puts a new root into the trust bundle and changes the TUF root's key, signed by old and new; a deployer who trusts the bundle accepts the root by hand before it counts (`trust accept-root`). `root retire` needs no word of the old root. With a TUF threshold of 1 a thief of the TUF root key could rotate that one.",
    ),
    R18: met(
      "Expiry of keys and certificates is visible before it hurts, and enforced when it comes.",
      "`sealwright status` lists every certificate and TUF role with its days left; alarms ring at 90, 30 and 7; TUF root and targets are renewed by repeating the ceremony; nothing outlives its issuer.",
    ),
    R19: met(
      "A deprecated algorithm can be replaced without a flag day: both signatures side by side, policy says which algorithms count.",
      "`algorithms` in the trust policy; profiles of different algorithms for one repository.",
    ),
    R20: met(
      "Trust stores are the deployer admin's own: roots, intermediates or signing keys, each with a scope.",
      "Any source, a registry, a repository, one target; PEM in place or by file, or a published trust bundle.",
    ),
    R21: met(
      "Trust policies say which checks run, strictness per scope, and a list of trusted artifacts by digest.",
      "The source's own JSON; checks that are off are said aloud in every verdict.",
    ),
    R22: met(
      "A policy can require k of n, or one from each named party.",
      "`parties` and `require`; one signer never counts for two.",
    ),
    R23: met(
      "A signature from a source that is not listed is rejected.",
      "`SOURCE_NOT_TRUSTED`, `IDENTITY_NOT_TRUSTED`.",
    ),
  },
  Validity: {
    R24: met(
      "Publisher admins can revoke one signature, an artifact, a certificate or key, a profile; all or from a time on.",
      "Also an issuer, and a principal within a time window.",
    ),
    R25: met(
      "Deny list and allow list, both signed, versioned, dated, expiring.",
      "Both; each is signed itself and a TUF target too.",
    ),
    R26: met(
      "Validation including revocation is enforceable air-gapped.",
      "Exported bundles; the verifier fetches nothing.",
    ),
    R27: met(
      "Integrity, source and expiry are verifiable from the signature alone.",
      "The envelope is checked before any list is asked.",
    ),
    R28: met(
      "Freeze, rollback and mix-and-match attacks are detected.",
      "TUF, the list's own chain, and floors in a state file.",
    ),
    R29: inPart(
      "A compromised online key has bounded, written-down impact and a rehearsed recovery.",
      "The impact is written in threat-model.md, recovery in recovery.md, which says what was rehearsed and what was only written: each TUF role, issuers, held keys, the timestamp authority and the root are; wrapping keys, a log's stolen key and the Region are not. A use of a key that no act tells rings (reconciliation.md).",
    ),
    R30: inPart(
      "Signatures are recorded in a transparency log.",
      "Two C2SP tile logs, of signatures (as Rekor v2 writes entries) and of events; the inbox item is part of each act's transaction. No witnesses yet.",
    ),
  },
  Simplicity: {
    R31: met(
      "Established protocols and formats only.",
      "X.509, CRL, JWS, TUF, OCI. Our lists are plain JSON under TUF signatures; stock clients need none of them.",
    ),
    R32: inPart(
      "The reference client of each ecosystem verifies what we sign.",
      "notation, openssl, tuf-js and python-tuf. Cosign, containers and Docker Content Trust come with their formats.",
    ),
    R33: inPart(
      "Container runtime and cluster admission can ask the verifier before they run an image.",
      "A command with exit statuses, and a library. No admission webhook yet.",
    ),
    R34: met(
      "Verification results are logged, with reasons that a person understands.",
      "One JSON event a signature and one for the verdict (`--events`), each with text and remedy.",
    ),
  },
}

/** docs/requirements.md: what is asked, what stands, and every test that names the requirement. */
export function requirementsDocument(root: string): string {
  const proofs = testsByRequirement(join(root, "test"))
  const sections = Object.entries(GROUPS).map(
    ([title, requirements]) =>
      `## ${title}\n\n${Object.entries(requirements)
        .map(([id, { text, status, now }]) => `### ${id} · ${status}\n\n${text}\n\n${now}\n${proofsOf(proofs.get(id))}`)
        .join("\n")}`,
  )
  const all = Object.values(GROUPS).flatMap((group) => Object.values(group))
  const count = (status: Status) => all.filter((one) => one.status === status).length
  return `${GENERATED}

# Requirements

What the product must do, what stands now, and the tests that prove it. A test belongs to a requirement when its title, or that of its group, names the number.
*met*: ${count("met")}; *in part*: ${count("in part")}, with what is missing.

${sections.join("\n")}`
}

function proofsOf(titles: readonly string[] | undefined): string {
  if (titles !== undefined) return `\n${titles.map((title) => `- ${title}`).join("\n")}\n`
  return "\nNo test names it yet.\n"
}

/** Titles of tests and groups that name a requirement, with their files. */
export function testsByRequirement(folder: string): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>()
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((path) => path.replaceAll("\\", "/"))
    .filter((path) => path.endsWith(".test.ts"))
    .sort()
  for (const path of files)
    for (const [, , title = ""] of readFileSync(join(folder, path), "utf8").matchAll(
      /\(\s*(["'`])((?:(?!\1).)*\bR\d{1,2}\b(?:(?!\1).)*)\1\s*,/g,
    ))
      for (const id of new Set(title.match(/\bR\d{1,2}\b/g)))
        found.set(id, [...(found.get(id) ?? []), `\`test/${path}\`: ${title.replace(/\$\{[^}]*\}/g, "…")}`])
  return found
}

/** For the test that nothing is claimed of a requirement that does not exist. */
export const REQUIREMENTS: ReadonlySet<string> = new Set(Object.values(GROUPS).flatMap((group) => Object.keys(group)))
