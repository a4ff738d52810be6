import { createHash } from "node:crypto"
import { base64Encode, utf8Decode } from "@sealwright/formats/bytes"
import { FormatError } from "@sealwright/formats/errors"
import { pemDecode } from "@sealwright/formats/pem"
import { array, integer, openObject, string } from "@sealwright/formats/shape"
import type { JsonObject } from "@sealwright/formats/strict-json"
import { type Arguments, type Command, SERVICE_OPTIONS } from "../arguments.ts"
import { openClient } from "../client.ts"
import { EXIT, usage } from "../exit.ts"
import { readFileLimited } from "../files.ts"
import { print, table } from "../output.ts"

const rootShape = openObject({
  generation: integer(1),
  algorithm: string(40),
  state: string(20),
  certificate: string(30_000),
  notAfter: string(30),
})
const deploymentShape = openObject({
  deployment: openObject({ root: rootShape, formerRoots: array(rootShape, 1000), extraRoots: array(rootShape, 1000) }),
})

export const rootRotate: Command = {
  name: "root rotate",
  summary: "put a new root beside the old one",
  help: `
Usage: sealwright root rotate [--algorithm ecdsa-p256-sha256|ecdsa-p384-sha384|rsa-pss-sha384] [--root-years 10]

Makes a new root, which joins the trust bundle, and a new key of the TUF root, whose next version the old and the new key sign. Issuers made or rotated
from now on stand below the new root; those that stand keep theirs. Tell deployers the new root's SHA-256 by another way: those who trust the bundle accept it with
\`sealwright trust accept-root\`, those who pinned roots add it. Then rotate the issuers, and at last retire the old root.

Example:
  sealwright root rotate
`,
  options: { ...SERVICE_OPTIONS, algorithm: { type: "string" }, "root-years": { type: "string" } },
  positionals: { min: 0, max: 0 },
  run: async (args) => {
    const client = openClient(args)
    const algorithm = args.text("algorithm")
    const rootYears = args.whole("root-years")
    const { deployment } = deploymentShape(await client.get("/v1/deployment"), "answer")
    const answer = await client.send("POST", "/v1/root/rotation", {
      generation: deployment.root.generation + 1,
      ...(algorithm !== undefined && { algorithm }),
      ...(rootYears !== undefined && { rootYears }),
    })
    return show(args, answer)
  },
}

export const rootCreate: Command = {
  name: "root create",
  summary: "put a root of another algorithm beside the others",
  help: `
Usage: sealwright root create --algorithm ml-dsa-65 [--root-years 10] [--generation 1]

Makes a root that joins the trust bundle and certifies the issuers of its algorithm, for extra signatures beside the first ones. The root that certifies now
stays as it is. Tell deployers its SHA-256 by another way: those who trust the bundle accept it with \`sealwright trust accept-root\`, those who pinned
roots add it. --generation 2 puts a successor beside the first one, for issuers made or rotated from then on. Safe to repeat.

Example:
  sealwright root create --algorithm ml-dsa-65
`,
  options: {
    ...SERVICE_OPTIONS,
    algorithm: { type: "string" },
    "root-years": { type: "string" },
    generation: { type: "string" },
  },
  positionals: { min: 0, max: 0 },
  run: async (args) => {
    const rootYears = args.whole("root-years")
    const generation = args.whole("generation")
    const answer = await openClient(args).send("POST", "/v1/root/extra", {
      algorithm: args.required("algorithm"),
      ...(generation !== undefined && { generation }),
      ...(rootYears !== undefined && { rootYears }),
    })
    return show(args, answer)
  },
}

export const rootRetire: Command = {
  name: "root retire",
  summary: "take a root out of the trust bundle",
  help: `
Usage: sealwright root retire SHA256

Takes a root of the deployment, or of an outside authority, out of the trust bundle. What it certified counts no more for deployers who trust the bundle;
those who pinned it by file remove it themselves. Refused while it certifies new issuers, or an issuer below it signs. Safe to repeat.

Example:
  sealwright root retire 7d5b0c1e4f…
`,
  options: SERVICE_OPTIONS,
  positionals: { min: 1, max: 1 },
  run: async (args) => {
    const thumbprint = (args.positionals[0] ?? "").toLowerCase().replaceAll(":", "")
    if (!/^[0-9a-f]{64}$/.test(thumbprint)) throw usage(`${thumbprint} is no SHA-256 in hex`)
    return show(args, await openClient(args).send("POST", "/v1/root/retirement", { thumbprint }))
  },
}

/** As the service takes them, in PEM. */
const MAX_CRL_FILE_BYTES = 180_000
const CRL_LABEL = "X509 CRL"

const importShape = openObject({
  outsideCrl: openObject({
    issuerKeyId: string(64),
    crlNumber: string(50),
    thisUpdate: string(30),
    nextUpdate: string(30),
    entries: integer(0),
  }),
  revokedIssuers: array(string(80), 10_000),
})

export const rootCrlImport: Command = {
  name: "root crl import",
  summary: "take in the CRL of an outside authority",
  help: `
Usage: sealwright root crl import FILE

Hands the CRL (DER or PEM) of an offline root, of a CA between it and an issuer, or of an outside timestamp authority's root to the service, which checks its signature and publishes it at
crl/KEY-ID.crl, in the trust data, and in what export writes for notation. Number and date of one authority's lists never go back. When the list
revokes an issuer, verifiers refuse it from the publication on; revoke it in the service too, so that it stops signing. \`sealwright status\` says when
the list runs out. Safe to repeat.

Example:
  sealwright root crl import root-ceremony/out/crl-1.crl
`,
  options: SERVICE_OPTIONS,
  positionals: { min: 1, max: 1 },
  run: async (args) => {
    const bytes = readFileLimited(args.positionals[0] ?? "", MAX_CRL_FILE_BYTES)
    const answer = await openClient(args).send("PUT", "/v1/outside-crls", { crl: base64Encode(derOf(bytes)) })
    const { outsideCrl, revokedIssuers } = importShape(answer, "answer")
    const { issuerKeyId, crlNumber, nextUpdate, entries } = outsideCrl
    print(args.flag("json"), answer, () => [
      `CRL ${crlNumber} of authority ${issuerKeyId}: ${entries} revoked, in force until ${nextUpdate}`,
      ...revokedIssuers.map(
        (name) => `  REVOKED by it: issuer ${name}. Stop it: sealwright revoke --issuer ${name} --reason keyCompromise`,
      ),
    ])
    return EXIT.done
  },
}

function derOf(bytes: Uint8Array): Uint8Array {
  // A SEQUENCE begins with 0x30, which is no dash.
  if (bytes[0] === 0x30) return bytes
  try {
    return pemDecode(CRL_LABEL, utf8Decode(bytes))
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    throw usage("the file is neither a CRL in DER nor one in PEM")
  }
}

function show(args: Arguments, answer: JsonObject): number {
  const { root, formerRoots, extraRoots } = deploymentShape(answer, "answer").deployment
  const newestExtra = extraRoots.findLast(({ state }) => state === "active")
  const rows = [...formerRoots, root, ...extraRoots].map((one) => [
    String(one.generation),
    one === root || one === newestExtra ? "certifies" : one.state === "retired" ? "retired" : "in the bundle",
    one.algorithm,
    one.notAfter,
    createHash("sha256").update(pemDecode("CERTIFICATE", one.certificate)).digest("hex"),
  ])
  print(args.flag("json"), answer, () => table([["ROOT", "", "ALGORITHM", "UNTIL", "SHA-256"], ...rows]))
  return EXIT.done
}
