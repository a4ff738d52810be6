import { spawnSync } from "node:child_process"
import { copyFileSync, cpSync, existsSync, mkdirSync, rmSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { AssetHashType, DockerImage } from "aws-cdk-lib"
import { Architecture, Code, LayerVersion, Runtime } from "aws-cdk-lib/aws-lambda"
import { Construct } from "constructs"

const PACKAGE = join(dirname(dirname(dirname(fileURLToPath(import.meta.url)))), "layers", "pkcs11")

/** Where a layer's files appear in a function. */
export const LAYER_ROOT = "/opt"

export interface Pkcs11LayerProps {
  readonly architecture: Architecture
  /** folder with the vendor's client for that architecture; its content appears in `/opt/{vendorFolder}` */
  readonly client: string
  /** e.g. `cloudhsm` */
  readonly vendorFolder: string
  /** path in `client` that must be there, so that a wrong folder is noticed before it is deployed */
  readonly library: string
  /** folder with `node_modules` built for the architecture already. Default: built here, on this machine or in AWS's build image */
  readonly nodeModules?: string
}

/**
 * A Lambda layer with a vendor's PKCS #11 library, which the deployer brings because nobody else may hand it on, and graphene-pk11 with its native part,
 * built for the function's architecture and pinned by `layers/pkcs11/package-lock.json`.
 */
export class Pkcs11Layer extends Construct {
  readonly layer: LayerVersion

  constructor(scope: Construct, id: string, props: Pkcs11LayerProps) {
    super(scope, id)
    const { architecture, client, vendorFolder, library, nodeModules } = props
    if (!existsSync(join(client, library))) throw new TypeError(`keyHome: ${client} holds no ${library}`)
    const fill = (output: string) => cpSync(client, join(output, vendorFolder), { recursive: true, dereference: true })
    this.layer = new LayerVersion(this, "Layer", {
      description: `Sealwright: PKCS #11 for ${architecture.name}`,
      compatibleArchitectures: [architecture],
      compatibleRuntimes: [Runtime.NODEJS_24_X],
      code: Code.fromAsset(client, {
        assetHashType: AssetHashType.OUTPUT,
        bundling: {
          image: DockerImage.fromRegistry("none"),
          local: {
            tryBundle(output) {
              fill(output)
              const target = join(output, "nodejs")
              if (nodeModules === undefined) buildNodeModules(target, architecture)
              else cpSync(nodeModules, join(target, "node_modules"), { recursive: true, dereference: true })
              return true
            },
          },
        },
      }),
    })
  }
}

/** Only this very kind of machine builds what the function runs; every other asks AWS's build image. */
function buildNodeModules(target: string, architecture: Architecture): void {
  mkdirSync(target, { recursive: true })
  for (const file of ["package.json", "package-lock.json"]) copyFileSync(join(PACKAGE, file), join(target, file))
  const here = process.platform === "linux" && process.arch === (architecture === Architecture.ARM_64 ? "arm64" : "x64")
  const install = ["npm", "ci", "--omit=dev", "--no-audit", "--no-fund"]
  const [command = "", ...args] = here
    ? install
    : [
        ...["docker", "run", "--rm", "--platform", architecture.dockerPlatform, "--volume", `${target}:/layer`],
        ...["--workdir", "/layer", Runtime.NODEJS_24_X.bundlingImage.image, ...install],
      ]
  const { status, error, stderr } = spawnSync(command, args, { cwd: target, encoding: "utf8" })
  if (status !== 0)
    throw new Error(
      `graphene-pk11 could not be built for ${architecture.name}: ${error?.message ?? stderr.trim()}\n` +
        "Deploy from Linux of that architecture with a compiler, or with Docker, or give keyHome.nodeModules.",
    )
  for (const file of ["package.json", "package-lock.json"]) rmSync(join(target, file))
}
