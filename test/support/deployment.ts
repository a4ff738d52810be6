/** A whole deployment with local keys: issuer, signatures, TUF repository, lists, CRLs, bundle. It also publishes what an honest one never would. */
import { hash } from "node:crypto"
import { hexEncode, utf8 } from "@sealwright/formats/bytes"
import { canonicalJson } from "@sealwright/formats/canonical-json"
import type { CrlEntry } from "@sealwright/formats/crl-write"
import { assembleCrl, crlTbs } from "@sealwright/formats/crl-write"
import { assembleEnvelope, rawSignature, unsignedEnvelope } from "@sealwright/formats/notary-jws"
import type { Descriptor } from "@sealwright/formats/oci"
import { pemEncode } from "@sealwright/formats/pem"
import {
  type AllowList,
  allowListJson,
  type RevocationList,
  revocationListJson,
} from "@sealwright/formats/revocation-list"
import type { JsonObject } from "@sealwright/formats/strict-json"
import { type Registry, registryJson, trustBundleJson } from "@sealwright/formats/trust-bundle"
import type { DelegatedRole, MetaFile, TargetFile, TufSigned } from "@sealwright/formats/tuf"
import { encodeMetadata, signedBytes } from "@sealwright/formats/tuf-encode"
import { keyidInput, tufKey } from "@sealwright/formats/tuf-key"
import { subjectKeyIdentifier } from "@sealwright/formats/x509-write"
import {
  BUNDLE_MARKER,
  BUNDLE_TYPE,
  type BundleInput,
  type BundleOutcome,
  type OpenedBundle,
  openBundle,
} from "@sealwright/verifier/bundle"
import { runSync } from "@sealwright/verifier/node-crypto"
import { loadTrustPolicy, type TrustPolicy } from "@sealwright/verifier/trust-policy"
import type { Verdict } from "@sealwright/verifier/verdict"
import { type VerifyInput, verify } from "@sealwright/verifier/verify"
import { at, makeIssuer, makeSigner, NOW, nameOf, type Signer, serialOf, TARGET, type TestIssuer } from "./chains.ts"

export const SIGNED_AT = at("2026-06-01T11:58:00Z")
export const REFERENCE = "registry.example.test/team/app:1.0"
export const TUF_URL = "https://tuf.example.test"
const HOST = "sign.example.test"
const DAY_MS = 86_400_000
const FAR = at("2026-07-01T00:00:00Z")

export function afterSec(sec: number, from: Date = NOW): Date {
  return new Date(from.getTime() + sec * 1000)
}

const ROLES = ["root", "targets", "lists", "registry", "snapshot", "timestamp"] as const
type Role = (typeof ROLES)[number]

export interface Publication {
  readonly date?: Date
  /** expiry of the timestamp role */
  readonly expires?: Date
  readonly list?: Partial<RevocationList>
  readonly allow?: Partial<AllowList> | null
  readonly registry?: Partial<Registry>
  /** signs revocations.json in place of the lists role's key */
  readonly listSigner?: Signer
  readonly crlEntries?: readonly CrlEntry[]
  readonly rootCrlEntries?: readonly CrlEntry[]
  readonly noCrls?: boolean
  /** paths that the top-level targets role lists itself, beside its own */
  readonly topLevel?: readonly string[]
  /** changes targets after they were made, before TUF lists them */
  readonly change?: (targets: Map<string, Uint8Array>) => void
}

export interface SignOptions {
  readonly number?: number
  readonly profile?: string
  readonly target?: Descriptor
  readonly signingTime?: Date
  readonly expiry?: Date
  readonly signer?: Signer
  /** makes the token over the raw signature; the scheme is `notary.x509` then */
  readonly timestamp?: (raw: Uint8Array) => Uint8Array | undefined
}

export class Deployment {
  readonly issuer: TestIssuer = makeIssuer("ecdsa-p256-sha256")
  readonly keys = Object.fromEntries(ROLES.map((role) => [role, makeSigner("ecdsa-p256-sha256")])) as Record<
    Role,
    Signer
  >
  readonly issuerKeyId = hexEncode(this.issuer.issuingSigner.keyId)
  readonly pinnedRoot: Uint8Array
  epoch = 0
  previous = ""

  constructor() {
    const only = (role: Role) => ({ keyids: [keyidOf(this.keys[role])], threshold: 1 })
    const top = ["root", "timestamp", "snapshot", "targets"] as const
    this.pinnedRoot = this.metadata("root", {
      type: "root",
      version: 1,
      expires: FAR,
      consistentSnapshot: true,
      keys: new Map(top.map((role) => [keyidOf(this.keys[role]), keyOf(this.keys[role])])),
      roles: {
        root: only("root"),
        timestamp: only("timestamp"),
        snapshot: only("snapshot"),
        targets: only("targets"),
      },
    })
  }

  get rootPem(): string {
    return pemEncode("CERTIFICATE", this.issuer.root)
  }

  /** The bundle of the next epoch. */
  publish(options: Publication = {}): Map<string, Uint8Array> {
    const epoch = ++this.epoch
    const date = options.date ?? NOW
    const due = new Date(date.getTime() + DAY_MS)
    const list: RevocationList = {
      epoch,
      date,
      due,
      previous: this.previous,
      rules: [],
      issuers: new Map([[this.issuerKeyId, { coveredBelow: 5000, revoked: new Map(), void: [] }]]),
      artifacts: new Map(),
      released: [],
      ...options.list,
    }
    const registry: Registry = {
      epoch,
      date,
      issuers: [{ name: "main", issuerKeyId: this.issuerKeyId, state: "active", certificate: this.issuer.issuing }],
      profiles: ["web", "other"].map((name) => ({
        name,
        identity: `${name}@${HOST}`,
        issuer: "main",
        keyMode: "ephemeral",
        allowList: false,
        state: "active",
      })),
      ...options.registry,
    }
    const revocations = signedDocument(revocationListJson(list), options.listSigner ?? this.keys.lists, this.keys.lists)
    this.previous = hash("sha256", canonicalJson(revocationListJson(list)))
    const targets = new Map<string, Uint8Array>([
      [
        "trust-bundle.json",
        json(
          trustBundleJson({
            organisation: "Wabbit Networks",
            identityHost: HOST,
            crlHost: "crl.example.test",
            tufUrl: TUF_URL,
            roots: [this.issuer.root],
            externalRoots: [],
          }),
        ),
      ],
      ["registry/registry.json", json(registryJson(registry))],
      ["lists/revocations.json", revocations],
    ])
    if (options.allow !== null) {
      const allow: AllowList = { epoch, date, due, profiles: new Map(), ...options.allow }
      targets.set("lists/allow.json", signedDocument(allowListJson(allow), this.keys.lists, this.keys.lists))
    }
    if (!options.noCrls) {
      const { issuingSigner, rootSigner } = this.issuer
      targets.set(
        `lists/${this.issuerKeyId}.crl`,
        crl(issuingSigner, "Test Issuer", date, epoch, options.crlEntries ?? []),
      )
      targets.set(
        `lists/${hexEncode(rootSigner.keyId)}.crl`,
        crl(rootSigner, "Test Root", date, epoch, options.rootCrlEntries ?? []),
      )
    }
    options.change?.(targets)
    return this.repository(targets, epoch, options.expires ?? FAR, options.topLevel ?? [])
  }

  private repository(
    targets: Map<string, Uint8Array>,
    version: number,
    expires: Date,
    topLevel: readonly string[],
  ): Map<string, Uint8Array> {
    const files = new Map<string, Uint8Array>([
      [BUNDLE_MARKER, json({ mediaType: BUNDLE_TYPE })],
      ["tuf/1.root.json", this.pinnedRoot],
    ])
    const meta = new Map<string, MetaFile>()
    const add = (role: Role, signed: TufSigned): MetaFile => {
      const bytes = this.metadata(role, signed)
      files.set(role === "timestamp" ? "tuf/timestamp.json" : `tuf/${version}.${role}.json`, bytes)
      return { version, length: bytes.length, hashes: new Map([["sha256", hash("sha256", bytes)]]) }
    }
    const listed = (prefix: string): Map<string, TargetFile> =>
      new Map(
        [...targets]
          .filter(([path]) =>
            prefix === "" ? !path.includes("/") || topLevel.includes(path) : path.startsWith(prefix),
          )
          .map(([path, bytes]) => [
            path,
            { length: bytes.length, hashes: new Map([["sha256", hash("sha256", bytes)]]) },
          ]),
      )
    for (const [path, bytes] of targets) {
      const cut = path.lastIndexOf("/") + 1
      files.set(`tuf/targets/${path.slice(0, cut)}${hash("sha256", bytes)}.${path.slice(cut)}`, bytes)
    }
    const delegated = ["lists", "registry"] as const
    for (const role of delegated)
      meta.set(`${role}.json`, add(role, { type: "targets", version, expires: FAR, targets: listed(`${role}/`) }))
    const roles = delegated.map((name): DelegatedRole => {
      return { name, keyids: [keyidOf(this.keys[name])], threshold: 1, terminating: true, paths: [`${name}/*`] }
    })
    const keys = new Map(delegated.map((name) => [keyidOf(this.keys[name]), keyOf(this.keys[name])]))
    meta.set(
      "targets.json",
      add("targets", { type: "targets", version, expires: FAR, targets: listed(""), delegations: { keys, roles } }),
    )
    const snapshot = add("snapshot", { type: "snapshot", version, expires: FAR, meta })
    add("timestamp", { type: "timestamp", version, expires, snapshot })
    return files
  }

  private metadata(role: Role, signed: TufSigned): Uint8Array {
    const signer = this.keys[role]
    return encodeMetadata(signed, [{ keyid: keyidOf(signer), signature: signer.sign(signedBytes(signed)) }])
  }

  /** A fresh key, its certificate and one signature. */
  signature(options: SignOptions = {}) {
    const { number = 4711, profile = "web", target = TARGET, signingTime = SIGNED_AT } = options
    const signer = options.signer ?? makeSigner("ecdsa-p256-sha256")
    const unsigned = unsignedEnvelope({
      scheme: signer.scheme,
      ...(options.timestamp ? { signingTime: signingTime } : { authenticSigningTime: signingTime }),
      ...(options.expiry && { expiry: options.expiry }),
      target,
      sealwright: { issuerKeyId: this.issuer.issuingSigner.keyId, serial: serialOf(number), number },
    })
    const validity = { notBefore: afterSec(-120, signingTime), notAfter: afterSec(480, signingTime) }
    const leaf = this.issuer.leaf({ signer, number, profile, ...validity })
    const assemble = (chain: readonly Uint8Array[]) => {
      const signature = signer.sign(unsigned.signingInput)
      const token = options.timestamp?.(rawSignature(signer.scheme, signature))
      return assembleEnvelope(unsigned, signature, chain, "test/1", token)
    }
    const bytes = assemble([leaf, this.issuer.issuing, this.issuer.root])
    return { bytes, leaf, signer, assemble, number }
  }

  sign(options: SignOptions = {}): Uint8Array {
    return this.signature(options).bytes
  }

  open(files: ReadonlyMap<string, Uint8Array>, options: Partial<BundleInput> = {}): BundleOutcome {
    return openFiles(files, { pinnedRoot: this.pinnedRoot, ...options })
  }

  opened(files: ReadonlyMap<string, Uint8Array>, options: Partial<BundleInput> = {}): OpenedBundle {
    const outcome = this.open(files, options)
    if (!outcome.ok) throw new Error(`${outcome.code} ${outcome.subject}: ${outcome.detail}`)
    return outcome
  }
}

export function openFiles(
  files: ReadonlyMap<string, Uint8Array>,
  options: Partial<BundleInput> & { readonly pinnedRoot: Uint8Array },
): BundleOutcome {
  return runSync(openBundle({ read: (path) => files.get(path), now: NOW, ...options }))
}

export function policyOf(trustPolicy: unknown, files: Readonly<Record<string, string>> = {}): TrustPolicy {
  const readFile = (name: string) => (Object.hasOwn(files, name) ? utf8(files[name] as string) : undefined)
  const outcome = loadTrustPolicy(utf8(JSON.stringify({ trustPolicy })), readFile)
  if (!outcome.ok) throw new Error(`${outcome.code}: ${outcome.detail}`)
  return outcome.policy
}

export function ask(input: Partial<VerifyInput> & Pick<VerifyInput, "policy" | "envelopes">): Verdict {
  return runSync(verify({ artifact: TARGET, reference: REFERENCE, now: NOW, ...input }))
}

function json(value: JsonObject): Uint8Array {
  return utf8(JSON.stringify(value))
}

/** `{signed, signatures}`, signed by `signer` under the keyid of `claimed`. */
function signedDocument(signed: JsonObject, signer: Signer, claimed: Signer): Uint8Array {
  const sig = hexEncode(signer.sign(canonicalJson(signed)))
  return json({ signed, signatures: [{ keyid: keyidOf(claimed), sig }] })
}

function keyOf(signer: Signer) {
  return tufKey(signer.scheme, signer.spki)
}

function keyidOf(signer: Signer): string {
  return hash("sha256", keyidInput(keyOf(signer)))
}

function crl(signer: Signer, name: string, date: Date, number: number, entries: readonly CrlEntry[]): Uint8Array {
  const tbs = crlTbs({
    issuer: nameOf(name),
    scheme: signer.scheme,
    thisUpdate: date,
    nextUpdate: new Date(date.getTime() + 7 * DAY_MS),
    crlNumber: BigInt(number),
    authorityKeyId: subjectKeyIdentifier(signer.keyId),
    entries,
  })
  return assembleCrl(tbs, signer.scheme, signer.sign(tbs))
}
