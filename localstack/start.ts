import { join, resolve } from "node:path"
import { parseArgs } from "node:util"
import { FUNCTION_NAMES, OCSP_FUNCTION } from "../functions/routes.ts"
import { roleArn } from "./people.ts"
import { startService } from "./service.ts"

const { values } = parseArgs({
  options: {
    data: { type: "string", default: ".sealwright" },
    port: { type: "string", default: "8480" },
    "trust-port": { type: "string", default: "8481" },
    "timestamp-port": { type: "string", default: "8482" },
    "ocsp-port": { type: "string" },
    functions: { type: "string" },
    quiet: { type: "boolean", default: false },
    help: { type: "boolean", short: "h" },
  },
})
const print = (line: string) => void process.stdout.write(`${line}\n`)

if (values.help) {
  print(
    "Usage: npm start -- [--data .sealwright] [--port 8480] [--trust-port 8481] [--timestamp-port 8482] [--ocsp-port PORT] [--functions FOLDER] [--quiet]\n\nRuns the whole service on this machine, on loopback alone. State stands below --data and survives a restart. --ocsp-port switches the OCSP responder on. --functions takes functions that are bundled already, each in a folder of its name, instead of bundling them.",
  )
  process.exit(0)
}

const folder = resolve(values.data)
const { functions } = values
const bundled =
  functions && [...FUNCTION_NAMES, OCSP_FUNCTION].map((name) => ({ name, folder: resolve(functions, name) }))
const service = await startService({
  folder,
  apiPort: Number(values.port),
  trustPort: Number(values["trust-port"]),
  timestampPort: Number(values["timestamp-port"]),
  ocspPort: values["ocsp-port"] === undefined ? undefined : Number(values["ocsp-port"]),
  bundles: bundled || undefined,
  log: (line) => {
    if (!values.quiet) print(line)
  },
})
const admin = service.keys.admin
const pipeline = service.keys.pipeline
print(`
Sealwright runs on this machine. State: ${folder}

  API    ${service.apiUrl}
  trust  ${service.trustUrl}/tuf
  time   ${service.timestampUrl} (RFC 3161, for clients that sign no requests)${service.ocspUrl === undefined ? "" : `\n  OCSP   ${service.ocspUrl} (RFC 6960, for clients that sign no requests)`}

As the publisher's admin, in another terminal:

  export SEALWRIGHT_ENDPOINT=${service.apiUrl} AWS_REGION=us-east-1
  export AWS_ACCESS_KEY_ID=${admin?.accessKeyId} AWS_SECRET_ACCESS_KEY=${admin?.secretAccessKey}

  npx sealwright ceremony --country US --state Washington --organisation "Wabbit Networks" --identity-host trust.wabbit-networks.io \\
    --crl-host ${new URL(service.trustUrl).host} --tuf-url ${service.trustUrl}/tuf --root-out tuf-root.json
  npx sealwright issuer create ci-2026
  npx sealwright profile create release --issuer ci-2026 --principal ${roleArn("pipeline")} --repository registry.wabbit-networks.io/net-monitor

As a pipeline: AWS_ACCESS_KEY_ID=${pipeline?.accessKeyId} AWS_SECRET_ACCESS_KEY=${pipeline?.secretAccessKey}
(all keys: ${join(folder, "credentials.json")}). Stop with Ctrl-C.

Checking table and bucket, or looking with any AWS tool, as the admin:

  export AWS_ENDPOINT_URL_DYNAMODB=${service.endpoints.dynamodb} AWS_ENDPOINT_URL_S3=${service.endpoints.s3}
  npx sealwright fsck --table ${service.table} --bucket ${service.bucket}
`)

const stop = async () => {
  await service.close()
  process.exit(0)
}
process.on("SIGINT", () => void stop())
process.on("SIGTERM", () => void stop())
