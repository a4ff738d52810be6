import { join, resolve } from "node:path"
import { base64Decode, base64Encode, utf8 } from "@sealwright/formats/bytes"
import { parseDigest } from "@sealwright/formats/oci"
import { pemEncode } from "@sealwright/formats/pem"
import { array, openObject, string } from "@sealwright/formats/shape"
import type { JsonObject } from "@sealwright/formats/strict-json"
import { LOG_PROOF_SUFFIX } from "@sealwright/formats/tlog-proof"
import { allRoots } from "@sealwright/formats/trust-bundle"
import { holds } from "@sealwright/verifier/trust-policy"
import { type Arguments, type Command, SERVICE_OPTIONS } from "../arguments.ts"
import { folderReader, type NotationTree, parseNotationTree, writeNotationTree } from "../bundle-folder.ts"
import { signFolder } from "../bundles/add-signature.ts"
import { Fetcher } from "../bundles/fetcher.ts"
import { indexOfFolder, writeIndex } from "../bundles/folder.ts"
import { type LogsInput, logsAt, logsOfService, stageLogs, withHeads } from "../bundles/logs.ts"
import { verifyTrust } from "../bundles/open-any.ts"
import { besideOf, linkFiles, replaceFolder, targetFolder } from "../bundles/replace.ts"
import { crlReader, isFolder, stageTrust, stampOf } from "../bundles/update.ts"
import { openClient, type ServiceClient } from "../client.ts"
import { CommandFailure, EXIT, usage } from "../exit.ts"
import { writeFileWhole } from "../files.ts"
import { KEY_HELP } from "../key-options.ts"
import { coded } from "../keys.ts"
import { LOG_OPTIONS, logCopy } from "../log-options.ts"
import { type LogProofs, logProofs, requireProofOf } from "../log-proofs.ts"
import { logRefusal } from "../log-trust.ts"
import { note, print } from "../output.ts"
import { PACK_OPTIONS, packedLines, packedView, packFolder, packOptions, withWorkFolder } from "./bundle.ts"
import { openTrust } from "./mirror.ts"

const deploymentShape = openObject({ deployment: openObject({ tufUrl: string(2048), identityHost: string(253) }) })
const signatureShape = openObject({
  id: string(26, /^[0-9A-Z]{26}$/),
  subject: openObject({ digest: string(135) }),
  envelopes: array(openObject({ format: string(40), content: string(1_500_000) }), 16),
})

export const exportBundle: Command = {
  name: "export",
  summary: "write a bundle for an offline site",
  help: `
Usage: sealwright export BUNDLE --root tuf-root.json [--digest DIGEST]... [--signature ID]... [--from URL] [--key KEY]
         [--log-tiles | --log-entries] [--log-from URL] [--require-log] [--no-log]
       sealwright export FILE.tar --format tar --root tuf-root.json [--split SIZE] [--key KEY] …
       sealwright export FOLDER --format oci --root tuf-root.json [--key KEY] …

Writes a folder with everything that a site without network needs: TUF metadata, lists and CRLs (verified from the pinned root on), a trust policy and
trust store for \`sealwright verify\`, notation's policy, trust store and CRL cache, the envelopes of the artifacts named with their log proofs, and the
newest checkpoints of the transparency logs with the tiles that prove that they continue what this machine and the bundle have seen. --log-tiles takes all
tiles, for sites that follow at their own pace; --log-entries the whole logs; --log-from reads them from another address than the service's; --no-log leaves
them out. A signature that is not logged yet is said; --require-log refuses it.
Running it again brings the folder up to date, in one step. --format tar makes an archive of it, or with --split several (650M, 4G or bytes), and --format oci an OCI
image layout; \`sealwright bundle unpack\` takes both. --from names another address of the published TUF repository than the deployment's own.
--key signs the index, which covers every file: who gets the bundle can demand that with --bundle-key.
${KEY_HELP}

Examples:
  sealwright export ./bundle --root tuf-root.json \\
    --digest sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
  sealwright export bundle.tar --format tar --root tuf-root.json --split 650M --key local:bundles
`,
  options: {
    ...SERVICE_OPTIONS,
    ...PACK_OPTIONS,
    root: { type: "string" },
    from: { type: "string" },
    digest: { type: "string", multiple: true },
    signature: { type: "string", multiple: true },
    ...LOG_OPTIONS,
    "require-log": { type: "boolean" },
    "no-log": { type: "boolean" },
    state: { type: "string" },
    "no-state": { type: "boolean" },
  },
  positionals: { min: 1, max: 1 },
  run: (args) =>
    coded(async () => {
      const to = resolve(args.positionals[0] ?? "")
      const format = args.text("format") ?? "folder"
      const packing = format === "folder" ? undefined : packOptions(args)
      if (packing === undefined && args.text("split") !== undefined) throw usage("--split goes with --format tar")
      const { trust, remember } = openTrust(args)
      const client = openClient(args)
      const { deployment } = deploymentShape(await client.get("/v1/deployment"), "answer")
      const fetcher = new Fetcher(besideOf(to, "partial"))
      const logs = logsAsked(args, client, fetcher, trust.now)
      const build = async (staging: string) => {
        const from = args.text("from") ?? deployment.tufUrl
        const fetched = await stageTrust(staging, from, trust, fetcher, false)
        const treeBytes = utf8(JSON.stringify(await client.get("/v1/trees/notation")))
        const tree = parseNotationTree(treeBytes)
        const { trustBundle, newRoots } = fetched.bundle
        writeNotationTree(staging, treeBytes, crlReader(fetched), newRoots)
        const roots = allRoots(trustBundle).filter((root) => !holds(newRoots, root))
        writePolicy(staging, tree, deployment.identityHost, roots, trustBundle.timestampRoots ?? [])
        const { signatures, unlogged } = await writeSignatures(staging, client, args, logs !== undefined)
        const staged = logs && (await stageLogs(staging, fetched.bundle, logs))
        writeIndex(staging, indexOfFolder(staging, stampOf(fetched.bundle)))
        await signFolder(args, staging)
        verifyTrust(folderReader(staging), trust)
        return {
          fetched: {
            ...fetched,
            bundle: withHeads(fetched.bundle, staged?.heads ?? []),
            bytesFetched: fetcher.bytesFetched,
          },
          signatures,
          unlogged,
          logs: staged?.heads ?? [],
        }
      }
      const made =
        packing === undefined
          ? await replaceFolder(targetFolder(to), async (staging) => {
              if (isFolder(to)) linkFiles(to, staging)
              return { ...(await build(staging)), packed: undefined }
            })
          : await withWorkFolder(to, async (work) => ({
              ...(await build(work)),
              packed: await packFolder(work, to, packing),
            }))
      fetcher.forget()
      const { bundle, bytesFetched, bytesOfFullCopy } = made.fetched
      remember(bundle)
      const { packed, signatures, unlogged } = made
      const { epoch } = stampOf(bundle)
      const json = { bundle: to, epoch, signatures, unlogged, logs: made.logs, bytesFetched, bytesOfFullCopy }
      print(args.flag("json"), { ...json, ...(packed && { packed: packedView(packed) }) }, () => [
        `${to}: publication ${epoch}, ${signatures.length} signature(s)${unlogged.length > 0 ? `, ${unlogged.length} not logged yet` : ""}`,
        ...made.logs.map(({ origin, size }) => `  ${origin}: ${size} entries`),
        ...(packed === undefined ? folderLines(args, to) : packedLines(packed)),
      ])
      return EXIT.done
    }),
}

function folderLines(args: Arguments, folder: string): readonly string[] {
  return [
    `  read and keep elsewhere, once: ${folder}/policy`,
    `  verify with  sealwright verify SUBJECT --reference … --policy … --bundle ${args.positionals[0]} --root ${args.required("root")}`,
    `  or notation  XDG_CONFIG_HOME=${folder}/notation/config XDG_CACHE_HOME=${folder}/notation/cache notation verify …`,
  ]
}

/**
 * A policy that trusts each profile for exactly its repositories, as the deployer's starting point.
 * @param outside roots of outside timestamp authorities in the trust bundle
 */
function writePolicy(
  folder: string,
  tree: NotationTree,
  identityHost: string,
  roots: readonly Uint8Array[],
  outside: readonly Uint8Array[],
): void {
  const names = roots.map((_, i) => `root-${i + 1}.pem`)
  for (const [i, root] of roots.entries())
    writeFileWhole(join(folder, "policy", `root-${i + 1}.pem`), utf8(pemEncode("CERTIFICATE", root)))
  const parties = tree.trustPolicy.trustPolicies.map(
    (statement, i): JsonObject => ({
      name: `publisher ${i + 1}`,
      trustedRoots: statement.registryScopes.flatMap((scope) => names.map((root) => ({ root, scope }))),
      identities: statement.trustedIdentities.map((identity) => `${commonName(identity)}@${identityHost}`),
    }),
  )
  if (parties.length === 0) {
    note("sealwright: no profile names a repository yet, so no trust policy is written")
    return
  }
  // The tree says that profiles stamp, not whom to trust: of its roots those count that the verified bundle has and that wait for nobody.
  const stamping = new Set((tree.timestampStores ?? []).flatMap(({ certificates }) => certificates))
  const timestampRoots = [...roots, ...outside]
    .filter((root) => stamping.has(base64Encode(root)))
    .map((root, i) => ({ root, name: `timestamp-root-${i + 1}.pem` }))
  for (const { root, name } of timestampRoots)
    writeFileWhole(join(folder, "policy", name), utf8(pemEncode("CERTIFICATE", root)))
  const policy = {
    trustPolicy: {
      signatureCheck: true,
      optionalChecks: { signatureExpiry: true, signatureRescinded: true },
      parties,
      require: { atLeast: 1 },
      ...(timestampRoots.length > 0 && { timestampRoots: timestampRoots.map(({ name }) => name) }),
    },
  }
  writeFileWhole(join(folder, "policy", "trustpolicy.json"), utf8(`${JSON.stringify(policy, null, 2)}\n`))
}

function commonName(identity: string): string {
  const found = /CN=([a-z0-9-]{1,48})$/.exec(identity)
  if (found?.[1] === undefined)
    throw usage(`the notation tree names an identity without profile: ${identity.slice(0, 100)}`)
  return found[1]
}

/** @returns undefined when the bundle's logs stay as they are */
function logsAsked(args: Arguments, client: ServiceClient, fetcher: Fetcher, now: Date): LogsInput | undefined {
  const from = args.text("log-from")
  const copy = logCopy(args)
  const required = args.flag("require-log") || from !== undefined
  if (args.flag("no-log")) {
    if (required || copy !== "seen") throw usage("--no-log excludes every other option of the logs")
    return undefined
  }
  return { source: from === undefined ? logsOfService(client) : logsAt(from, fetcher), copy, now, required }
}

async function writeSignatures(
  folder: string,
  client: ServiceClient,
  args: Arguments,
  withProofs: boolean,
): Promise<{ readonly signatures: readonly string[]; readonly unlogged: readonly string[] }> {
  const unlogged: string[] = []
  const signatures = (await chosenSignatures(client, args)).map((answer) => signatureShape(answer, "signature"))
  for (const { id, subject, envelopes } of signatures) {
    const { algorithm } = parseDigest(subject.digest)
    const envelope = envelopes.find(({ format }) => format === "notary-jws")
    if (envelope === undefined) throw usage(`signature ${id} has no Notary envelope`)
    const hex = subject.digest.slice(algorithm.length + 1)
    const put = (name: string, bytes: Uint8Array) =>
      writeFileWhole(join(folder, "signatures", algorithm, hex, name), bytes)
    put(`${id}.jws`, base64Decode(envelope.content))
    const extra = envelopes.find(({ format }) => format === "notary-jws-ml-dsa-65")
    if (extra !== undefined) put(`${id}.ml-dsa-65.jws`, base64Decode(extra.content))
    const proofs = withProofs ? await proofsOf(client, id) : []
    for (const { format, proof } of proofs) {
      const of = envelopes.find((each) => each.format === format)
      if (of === undefined) throw logRefusal("LOG_PROOF_INVALID", `signature ${id} has no ${format}`)
      requireProofOf(utf8(proof), base64Decode(of.content))
      put(`${id}${format === "notary-jws" ? "" : ".ml-dsa-65"}.jws${LOG_PROOF_SUFFIX}`, utf8(proof))
    }
    if (withProofs && proofs.length === 0) unlogged.push(id)
  }
  requireLogged(unlogged, args.flag("require-log"))
  return { signatures: signatures.map(({ id }) => id), unlogged }
}

async function chosenSignatures(client: ServiceClient, args: Arguments): Promise<readonly JsonObject[]> {
  const answers: JsonObject[] = []
  for (const digest of args.texts("digest")) {
    let after: string | undefined
    do {
      const answer = await client.get("/v1/signatures", { digest, after })
      const { signatures, next } = pageShape(answer, "answer")
      answers.push(...signatures)
      after = next
    } while (after !== undefined)
  }
  for (const id of args.texts("signature"))
    answers.push((await client.get(`/v1/signatures/${encodeURIComponent(id)}`)).signature as JsonObject)
  return answers
}

/** @returns none while the signature waits for the log, or when the deployment has none */
async function proofsOf(client: ServiceClient, id: string): Promise<LogProofs> {
  try {
    return logProofs(await client.get(`/v1/signatures/${id}/proof`))
  } catch (error) {
    if (error instanceof CommandFailure && ["NOT_LOGGED", "LOG_NOT_SET_UP"].includes(error.code)) return []
    throw error
  }
}

function requireLogged(unlogged: readonly string[], required: boolean): void {
  if (unlogged.length === 0) return
  const said = `${unlogged.length} signature(s) are not logged yet: ${unlogged.slice(0, 10).join(", ")}`
  if (required)
    throw new CommandFailure(
      EXIT.unavailable,
      "NOT_LOGGED",
      said,
      "They stand and wait for the log: ask again in some seconds, or export without --require-log.",
    )
  note(`sealwright: ${said}`)
}

const signatureObject = (value: unknown): JsonObject => value as JsonObject
const pageShape = openObject({ signatures: array(signatureObject, 1000) }, { next: string(26) })
