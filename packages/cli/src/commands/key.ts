import { readPrivateKeyPem } from "@sealwright/adapters/import-key"
import { DERIVATIONS, type DerivationName } from "@sealwright/adapters/key-encryption"
import { isServiceError } from "@sealwright/core/errors"
import { SCHEMES } from "@sealwright/formats/algorithms"
import { utf8, utf8Decode } from "@sealwright/formats/bytes"
import { assembleCsr, CSR_LABEL, csrInfo } from "@sealwright/formats/csr"
import { ascii, implicit, sequence } from "@sealwright/formats/der-write"
import { pemEncode } from "@sealwright/formats/pem"
import { KEY_LABEL } from "@sealwright/formats/pkcs8"
import { EXTENSION } from "@sealwright/formats/x509-extensions"
import { distinguishedName, extension } from "@sealwright/formats/x509-write"
import type { Arguments, Command } from "../arguments.ts"
import { EXIT, usage } from "../exit.ts"
import { readFileLimited, writeFileWhole } from "../files.ts"
import { KEY_HELP, KEY_OPTIONS } from "../key-options.ts"
import {
  keyFolder,
  keyView,
  localHome,
  newPasswordOf,
  passwordOf,
  schemeOption,
  withKey,
  withLocalHome,
} from "../keys.ts"
import { out, print, table } from "../output.ts"

const MAX_KEY_FILE_BYTES = 64 * 1024

const NEW_KEY_HELP = `The password, of 12 characters at least, comes from --password-source: env:NAME, file:PATH (for its owner's eyes alone), or prompt (the default), and
is turned into a key by --derivation: scrypt (the default; OpenSSL reads it), scrypt-128m (eight times the memory, beyond OpenSSL) or pbkdf2.`

export const keyGenerate: Command = {
  name: "key generate",
  summary: "make a key on this machine",
  help: `
Usage: sealwright key generate NAME [--algorithm ecdsa-p256-sha256] [--home FOLDER] [--password-source SOURCE] [--derivation scrypt]

Makes a key pair in a file of its own, encrypted under a password, below --home (by default ~/.config/sealwright/keys). A key that stands is
never written over: asking again for the same name and algorithm answers it. Keys in AWS KMS are made by the deployment alone.
Algorithms: ${Object.keys(SCHEMES).join(", ")}.
${NEW_KEY_HELP}

Examples:
  sealwright key generate release
  sealwright key generate team/tool --algorithm rsa-pss-sha384 --password-source env:KEY_PASSWORD
`,
  options: { ...KEY_OPTIONS, algorithm: { type: "string" }, derivation: { type: "string" } },
  positionals: { min: 1, max: 1 },
  run: async (args) => {
    const [name = ""] = args.positionals
    const scheme = schemeOption(args)
    const home = localHome(args, newPasswordOf(args, `New password of ${name}`), derivationOption(args))
    const { key, created } = await withLocalHome(home, async ({ find, create }) => {
      const standing = await find(name).catch((error: unknown) => {
        if (!isServiceError(error, "KEY_UNKNOWN")) throw error
      })
      return { key: await create(name, "held", scheme), created: standing === undefined }
    })
    const view = keyView(key)
    print(args.flag("json"), { key: view, created }, () => [
      `${created ? "Made" : "There is"} ${view.keyId} (${view.algorithm}), key id ${view.spkiSha256}, in ${keyFolder(args)}`,
    ])
    return EXIT.done
  },
}

export const keyList: Command = {
  name: "key list",
  summary: "list the keys on this machine",
  help: `
Usage: sealwright key list [--home FOLDER] [--password-source SOURCE]

Lists the keys below --home. No password is asked for, except for files of other tools that don't tell their public key.

Example:
  sealwright key list --json
`,
  options: KEY_OPTIONS,
  positionals: { min: 0, max: 0 },
  run: async (args) => {
    const home = localHome(args, passwordOf(args, `Password of the keys in ${keyFolder(args)}`))
    const keys = (await withLocalHome(home, ({ list }) => list())).map(({ key }) => keyView(key))
    print(args.flag("json"), { keys }, () =>
      table(keys.map(({ keyId, algorithm, spkiSha256 }) => [keyId, algorithm, spkiSha256])),
    )
    return EXIT.done
  },
}

export const keyImport: Command = {
  name: "key import",
  summary: "take in a key that another tool made",
  help: `
Usage: sealwright key import FILE --name NAME [--from-password-source SOURCE] [--home FOLDER] [--password-source SOURCE] [--derivation scrypt]

Reads a private key in PEM (PKCS #8, encrypted or not, SEC 1, PKCS #1) and stores it below --home, encrypted anew. FILE is left as it is: remove it.
The password that FILE is encrypted under comes from --from-password-source.
${NEW_KEY_HELP}

Example:
  sealwright key import old-key.pem --name release --from-password-source env:OLD --password-source env:NEW
`,
  options: {
    ...KEY_OPTIONS,
    name: { type: "string" },
    derivation: { type: "string" },
    "from-password-source": { type: "string" },
  },
  positionals: { min: 1, max: 1 },
  run: async (args) => {
    const [path = ""] = args.positionals
    const name = args.required("name")
    const pem = readFileLimited(path, MAX_KEY_FILE_BYTES)
    const home = localHome(args, newPasswordOf(args, `New password of ${name}`), derivationOption(args))
    const key = await withLocalHome(home, async ({ add }) => {
      const from = passwordOf(args, `Password of ${path}`, "from-password-source")
      const { privateKey, publicKey } = await readPrivateKeyPem(utf8Decode(pem), from)
      return await add(name, privateKey, publicKey)
    })
    const view = keyView(key)
    print(args.flag("json"), { key: view }, () => [
      `Imported ${view.keyId} (${view.algorithm}), key id ${view.spkiSha256}, into ${keyFolder(args)}`,
    ])
    return EXIT.done
  },
}

export const keyExport: Command = {
  name: "key export",
  summary: "write a key's public half",
  help: `
Usage: sealwright key export KEY [--der] [--output FILE] [--home FOLDER] [--password-source SOURCE] [--region REGION]

Prints the public key as SubjectPublicKeyInfo in PEM, or writes it to --output, with --der in DER. The private half never leaves its home.
${KEY_HELP}

Examples:
  sealwright key export local:release
  sealwright key export awskms:alias/release --der --output release.spki
`,
  options: { ...KEY_OPTIONS, der: { type: "boolean" }, output: { type: "string" } },
  positionals: { min: 1, max: 1 },
  run: async (args) => {
    const output = args.text("output")
    if (args.flag("der") && output === undefined) throw usage("--der needs --output")
    const key = await withKey(args, args.positionals[0] ?? "", async (opened) => opened.key)
    const pem = pemEncode(KEY_LABEL.public, key.spki)
    write(args, args.flag("der") ? key.spki : utf8(pem), { key: keyView(key), publicKey: pem })
    return EXIT.done
  },
}

export const keyCsr: Command = {
  name: "key csr",
  summary: "ask a CA for a key's certificate",
  help: `
Usage: sealwright key csr KEY --country US --state STATE --organisation NAME --common-name NAME [--email ADDRESS]
         [--output FILE] [--home FOLDER] [--password-source SOURCE] [--region REGION]

Writes a PKCS #10 request, signed by the key, for a CA to certify. Notary clients want these four parts in a signer's name.
${KEY_HELP}

Example:
  sealwright key csr local:release --country US --state Washington --organisation "Wabbit Networks" \\
    --common-name release --output release.csr
`,
  options: {
    ...KEY_OPTIONS,
    country: { type: "string" },
    state: { type: "string" },
    organisation: { type: "string" },
    "common-name": { type: "string" },
    email: { type: "string" },
    output: { type: "string" },
  },
  positionals: { min: 1, max: 1 },
  run: async (args) => {
    const name = {
      country: args.required("country"),
      stateOrProvince: args.required("state"),
      organization: args.required("organisation"),
      commonName: args.required("common-name"),
    }
    const email = args.text("email")
    const { key, csr } = await withKey(args, args.positionals[0] ?? "", async ({ key, keys }) => {
      const extensions = email === undefined ? [] : [emailExtension(email)]
      const info = csrInfo({ subject: distinguishedName(name), spki: key.spki, extensions })
      return { key, csr: pemEncode(CSR_LABEL, assembleCsr(info, key.scheme, await keys.sign(key, info))) }
    })
    write(args, utf8(csr), { key: keyView(key), csr })
    return EXIT.done
  },
}

function emailExtension(email: string): Uint8Array {
  return extension(EXTENSION.subjectAltName.oid, false, sequence(implicit(1, ascii(email))))
}

/** Prints a document, or writes it to --output; with --json prints `view` either way. */
function write(args: Arguments, document: Uint8Array, view: object): void {
  const output = args.text("output")
  if (output !== undefined) writeFileWhole(output, document)
  if (args.flag("json")) out(JSON.stringify({ ...view, ...(output !== undefined && { output }) }))
  else out(output === undefined ? utf8Decode(document).trimEnd() : `Written ${output}`)
}

function derivationOption(args: Arguments): { readonly derivation?: DerivationName } {
  const name = args.text("derivation")
  if (name === undefined) return {}
  if (!Object.hasOwn(DERIVATIONS, name))
    throw usage(`there is no derivation ${name}`, `Name one of ${Object.keys(DERIVATIONS).join(", ")}.`)
  return { derivation: name as DerivationName }
}
