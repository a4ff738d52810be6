import type { Command } from "./arguments.ts"
import { EXIT, usage } from "./exit.ts"
import { out } from "./output.ts"
import { endWith, runCommand } from "./run.ts"

/** Each command's module is loaded when it is called: `verify` must not pay for what signs. */
const COMMANDS: { readonly [name: string]: { readonly summary: string; readonly load: () => Promise<Command> } } = {
  ceremony: {
    summary: "set the deployment up, once",
    load: async () => (await import("./commands/ceremony.ts")).ceremony,
  },
  "root rotate": {
    summary: "put a new root beside the old one",
    load: async () => (await import("./commands/root.ts")).rootRotate,
  },
  "root create": {
    summary: "put a root of another algorithm beside the others",
    load: async () => (await import("./commands/root.ts")).rootCreate,
  },
  "root retire": {
    summary: "take a root out of the trust bundle",
    load: async () => (await import("./commands/root.ts")).rootRetire,
  },
  "root crl import": {
    summary: "take in the CRL of an outside authority",
    load: async () => (await import("./commands/root.ts")).rootCrlImport,
  },
  "root ceremony": {
    summary: "hold a ceremony of an offline root, by a script",
    load: async () => (await import("./commands/root-ceremony.ts")).rootCeremony,
  },
  "tuf show": {
    summary: "show keys and thresholds, or who signed a file",
    load: async () => (await import("./commands/tuf.ts")).tufShow,
  },
  "tuf key add": {
    summary: "register a person's key for the TUF root or targets",
    load: async () => (await import("./commands/tuf.ts")).tufKeyAdd,
  },
  "tuf propose": {
    summary: "make the next TUF root or targets, with other keys, threshold or end",
    load: async () => (await import("./commands/tuf.ts")).tufPropose,
  },
  "tuf rotate": {
    summary: "give a TUF role a new key of the service",
    load: async () => (await import("./commands/tuf.ts")).tufRotate,
  },
  "tuf request": {
    summary: "get the file that people sign",
    load: async () => (await import("./commands/tuf.ts")).tufRequest,
  },
  "tuf sign": {
    summary: "sign a TUF root or targets offline",
    load: async () => (await import("./commands/tuf.ts")).tufSign,
  },
  "tuf submit": {
    summary: "hand in a signed TUF root or targets",
    load: async () => (await import("./commands/tuf.ts")).tufSubmit,
  },
  "tuf withdraw": {
    summary: "give up what waits for signatures",
    load: async () => (await import("./commands/tuf.ts")).tufWithdraw,
  },
  "issuer create": {
    summary: "create an issuing CA",
    load: async () => (await import("./commands/issuer.ts")).issuerCreate,
  },
  "issuer activate": {
    summary: "give a pending issuer its certificate",
    load: async () => (await import("./commands/issuer.ts")).issuerActivate,
  },
  "issuer rotate": {
    summary: "make an issuer's successor, or let it take over",
    load: async () => (await import("./commands/issuer.ts")).issuerRotate,
  },
  "issuer list": { summary: "list issuing CAs", load: async () => (await import("./commands/issuer.ts")).issuerList },
  "profile create": {
    summary: "create a signing policy",
    load: async () => (await import("./commands/profile.ts")).profileCreate,
  },
  "profile list": {
    summary: "list signing policies",
    load: async () => (await import("./commands/profile.ts")).profileList,
  },
  "profile show": {
    summary: "show one signing policy",
    load: async () => (await import("./commands/profile.ts")).profileShow,
  },
  "profile change": {
    summary: "change who signs what",
    load: async () => (await import("./commands/profile.ts")).profileChange,
  },
  "profile rotate": {
    summary: "give a profile a new key or another issuer",
    load: async () => (await import("./commands/profile.ts")).profileRotate,
  },
  "profile suspend": {
    summary: "stop a profile from signing",
    load: async () => (await import("./commands/profile.ts")).profileSuspend,
  },
  "profile resume": {
    summary: "let a profile sign again",
    load: async () => (await import("./commands/profile.ts")).profileResume,
  },
  "profile allow": {
    summary: "add digests to a profile's allow list",
    load: async () => (await import("./commands/profile.ts")).profileAllow,
  },
  "key generate": {
    summary: "make a key on this machine",
    load: async () => (await import("./commands/key.ts")).keyGenerate,
  },
  "key list": {
    summary: "list the keys on this machine",
    load: async () => (await import("./commands/key.ts")).keyList,
  },
  "key import": {
    summary: "take in a key that another tool made",
    load: async () => (await import("./commands/key.ts")).keyImport,
  },
  "key export": {
    summary: "write a key's public half",
    load: async () => (await import("./commands/key.ts")).keyExport,
  },
  "key csr": {
    summary: "ask a CA for a key's certificate",
    load: async () => (await import("./commands/key.ts")).keyCsr,
  },
  sign: { summary: "sign an image layout or a file", load: async () => (await import("./commands/sign.ts")).sign },
  "job list": { summary: "list a profile's batch jobs", load: async () => (await import("./commands/job.ts")).jobList },
  "job show": { summary: "show how far a job is", load: async () => (await import("./commands/job.ts")).jobShow },
  "job wait": { summary: "wait until a job is done", load: async () => (await import("./commands/job.ts")).jobWait },
  "job results": {
    summary: "list what became of a job's subjects",
    load: async () => (await import("./commands/job.ts")).jobResults,
  },
  "job cancel": {
    summary: "sign nothing more of a job",
    load: async () => (await import("./commands/job.ts")).jobCancel,
  },
  record: {
    summary: "register signatures made without the service",
    load: async () => (await import("./commands/record.ts")).record,
  },
  "log proof": {
    summary: "fetch the proof that a signature is logged",
    load: async () => (await import("./commands/log-service.ts")).logProof,
  },
  "log status": {
    summary: "show the transparency logs and what waits for them",
    load: async () => (await import("./commands/log-service.ts")).logStatus,
  },
  "log witnesses": {
    summary: "say who cosigns the logs' checkpoints",
    load: async () => (await import("./commands/log-service.ts")).logWitnesses,
  },
  list: { summary: "list signatures", load: async () => (await import("./commands/signatures.ts")).list },
  show: { summary: "show one signature", load: async () => (await import("./commands/signatures.ts")).show },
  audit: { summary: "list who did what on a day", load: async () => (await import("./commands/signatures.ts")).audit },
  "timestamp authority": {
    summary: "make or renew the timestamp authority",
    load: async () => (await import("./commands/timestamp.ts")).timestampAuthority,
  },
  "timestamp outside": {
    summary: "name outside timestamp authorities, or list them",
    load: async () => (await import("./commands/timestamp-outside.ts")).timestampOutside,
  },
  "timestamp verify": {
    summary: "verify a timestamp offline",
    load: async () => (await import("./commands/timestamp.ts")).timestampVerify,
  },
  timestamp: {
    summary: "have a file timestamped (RFC 3161)",
    load: async () => (await import("./commands/timestamp.ts")).timestamp,
  },
  "ocsp create": {
    summary: "make or renew an issuer's OCSP responder",
    load: async () => (await import("./commands/ocsp.ts")).ocspCreate,
  },
  "ocsp rotate": {
    summary: "give an issuer's OCSP responder a new key",
    load: async () => (await import("./commands/ocsp.ts")).ocspRotate,
  },
  "ocsp show": {
    summary: "list OCSP responders",
    load: async () => (await import("./commands/ocsp.ts")).ocspShow,
  },
  revoke: {
    summary: "revoke signatures, artifacts, certificates, profiles, principals",
    load: async () => (await import("./commands/revoke.ts")).revoke,
  },
  release: { summary: "let a certificateHold go", load: async () => (await import("./commands/revoke.ts")).release },
  publish: {
    summary: "publish now instead of within a minute",
    load: async () => (await import("./commands/publish.ts")).publish,
  },
  status: {
    summary: "show where publication stands and what ends when",
    load: async () => (await import("./commands/publish.ts")).status,
  },
  reconcile: {
    summary: "show uses of keys that no act explains",
    load: async () => (await import("./commands/reconcile.ts")).reconcile,
  },
  "reconcile acknowledge": {
    summary: "say what a finding turned out to be",
    load: async () => (await import("./commands/reconcile.ts")).reconcileAcknowledge,
  },
  export: {
    summary: "write a bundle for an offline site",
    load: async () => (await import("./commands/export.ts")).exportBundle,
  },
  "bundle pack": {
    summary: "pack a bundle's folder into archives or an OCI layout",
    load: async () => (await import("./commands/bundle.ts")).bundlePack,
  },
  "bundle unpack": {
    summary: "unpack a bundle, verified, into a folder",
    load: async () => (await import("./commands/bundle.ts")).bundleUnpack,
  },
  "bundle check": {
    summary: "check a bundle without unpacking it",
    load: async () => (await import("./commands/bundle.ts")).bundleCheck,
  },
  mirror: {
    summary: "bring a bundle up to date",
    load: async () => (await import("./commands/mirror.ts")).mirror,
  },
  verify: {
    summary: "verify an artifact offline",
    load: async () => (await import("./commands/verify.ts")).verifyCommand,
  },
  "log audit": {
    summary: "audit the transparency logs against table and publication",
    load: async () => (await import("./commands/log-audit.ts")).logAudit,
  },
  "log check": {
    summary: "check a transparency log's newest checkpoint",
    load: async () => (await import("./commands/log.ts")).logCheck,
  },
  "trust roots": {
    summary: "list a bundle's roots and which are accepted",
    load: async () => (await import("./commands/trust.ts")).trustRoots,
  },
  "trust accept-root": {
    summary: "accept a root that a publisher added",
    load: async () => (await import("./commands/trust.ts")).trustAcceptRoot,
  },
  fsck: {
    summary: "check table and bucket for consistency",
    load: async () => (await import("./commands/fsck.ts")).fsckCommand,
  },
}

async function run(argv: readonly string[]): Promise<number> {
  const [first = "help", second, third] = argv
  if (first === "help" || first === "--help" || first === "-h") return printOverview()
  const names = [`${first} ${second} ${third}`, `${first} ${second}`, first]
  const name = names.find((candidate) => COMMANDS[candidate] !== undefined) ?? first
  const entry = COMMANDS[name]
  if (entry === undefined)
    throw usage(`there is no command ${first}${second !== undefined && isGroup(first) ? ` ${second}` : ""}`)
  return await runCommand(await entry.load(), argv.slice(name.split(" ").length))
}

function isGroup(first: string): boolean {
  return Object.keys(COMMANDS).some((name) => name.startsWith(`${first} `))
}

function printOverview(): number {
  const width = Math.max(...Object.keys(COMMANDS).map((name) => name.length))
  const lines = Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`)
  out(
    `Usage: sealwright <command> [options]\n\n${lines.join("\n")}\n\n` +
      "Every command takes --json for one JSON document, and --help for its options and examples.\n" +
      "Exit status: 0 done or accepted, 1 rejected, 2 usage, 3 inconclusive, 4 denied, 5 unavailable.",
  )
  return EXIT.done
}

const argv = process.argv.slice(2)
endWith(() => run(argv), argv)
