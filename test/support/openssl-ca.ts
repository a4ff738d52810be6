import { createHash } from "node:crypto"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { run } from "./clients.ts"

/** A root CA that OpenSSL keeps, as a company's own that knows nothing of this project. */
export interface OpensslCa {
  readonly rootPath: string
  readonly rootPem: string
  readonly keyPath: string
  /** Certifies a request for code signing, and writes the leaf and the root as one chain. */
  certify(csr: string, chain: string): Promise<void>
  /** @param chain its first certificate */
  revoke(chain: string): Promise<void>
  /** Writes today's CRL into a cache folder as notation keeps it. @returns what XDG_CACHE_HOME is to be */
  crlCache(folder: string): Promise<string>
}

const CRL_URL = "http://crl.corporate.example/root.crl"

const config = (folder: string) => `
[ca]
default_ca = own
[own]
database = ${folder}/index.txt
new_certs_dir = ${folder}
rand_serial = yes
crlnumber = ${folder}/crlnumber
default_md = sha256
default_days = 30
default_crl_days = 7
policy = any
unique_subject = no
copy_extensions = none
certificate = ${folder}/root.pem
private_key = ${folder}/root.key
[any]
countryName = supplied
stateOrProvinceName = supplied
organizationName = supplied
commonName = supplied
[req]
distinguished_name = name
prompt = no
[name]
C = US
ST = Washington
O = Wabbit Networks
CN = Corporate Root
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = codeSigning
authorityKeyIdentifier = keyid
crlDistributionPoints = URI:${CRL_URL}
`

/** A root on RSA of 3,072 bits, signing with PKCS #1 v1.5 as most companies' roots do. @param folder made */
export async function opensslCa(openssl: string, folder: string): Promise<OpensslCa> {
  mkdirSync(folder, { recursive: true })
  const at = (name: string) => join(folder, name)
  writeFileSync(at("ca.cnf"), config(folder))
  writeFileSync(at("index.txt"), "")
  writeFileSync(at("crlnumber"), "01\n")
  const must = async (...args: readonly string[]) => {
    const { status, stderr } = await run(openssl, args, {}, folder)
    if (status !== 0) throw new Error(`openssl ${args.join(" ")}: ${stderr}`)
  }
  await must("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072", "-out", "root.key")
  await must(
    ...["req", "-x509", "-config", "ca.cnf", "-extensions", "root", "-key", "root.key"],
    ...["-days", "365", "-out", "root.pem"],
  )
  const rootPem = readFileSync(at("root.pem"), "utf8")
  return {
    rootPath: at("root.pem"),
    rootPem,
    keyPath: at("root.key"),
    async certify(csr, chain) {
      await must("ca", "-config", "ca.cnf", "-batch", "-notext", "-extensions", "leaf", "-in", csr, "-out", chain)
      writeFileSync(chain, readFileSync(chain, "utf8") + rootPem)
    },
    revoke: (chain) => must("ca", "-config", "ca.cnf", "-revoke", chain, "-crl_reason", "keyCompromise"),
    async crlCache(cache) {
      await must("ca", "-config", "ca.cnf", "-gencrl", "-out", "root.crl.pem")
      await must("crl", "-in", "root.crl.pem", "-outform", "DER", "-out", "root.crl")
      const path = join(cache, "notation/crl", createHash("sha256").update(CRL_URL).digest("hex"))
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, JSON.stringify({ baseCRL: readFileSync(at("root.crl")).toString("base64") }))
      return cache
    },
  }
}
