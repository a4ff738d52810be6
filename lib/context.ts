/** What `cdk deploy -c <name>=<value>` sets; docs/deployment.md explains each. */
export interface ContextSettings {
  readonly stackName: string
  readonly name?: string
  readonly cdn: boolean
  readonly reserveConcurrency: boolean
  readonly rootSigning: boolean
  readonly wrappedIssuers: boolean
  readonly wrappedTimestamps: boolean
  readonly trail: boolean
  readonly publicLog: boolean
  readonly profiles: readonly string[]
  readonly hosts: readonly string[]
  readonly certificateArn?: string
  readonly alarmTopicArn?: string
  /** requests per second that anyone may send; undefined: IAM */
  readonly openTimestamps?: number
  readonly timestampPolicy?: string
  /** key operations a second that batch jobs may use */
  readonly batchRate?: number
  /** requests per second that the OCSP responder takes from anyone; undefined: there is none */
  readonly ocsp?: number
}

/**
 * @param read `node.tryGetContext`: text from the command line, anything from cdk.json
 * @throws TypeError naming a setting that is malformed, or lacks its counterpart
 */
export function readContext(read: (name: string) => unknown): ContextSettings {
  const text = (name: string): string | undefined => {
    const value = read(name)
    if (value === undefined || (typeof value === "string" && value !== "")) return value
    throw new TypeError(`context ${name}: expected text`)
  }
  const flag = (name: string, otherwise: boolean): boolean => {
    const value = read(name) ?? otherwise
    if (value === true || value === "true") return true
    if (value === false || value === "false") return false
    throw new TypeError(`context ${name}: expected true or false`)
  }
  const list = (name: string): string[] => text(name)?.split(",") ?? []

  const name = text("name")
  const hosts = list("hosts")
  const certificateArn = text("certificateArn")
  const alarmTopicArn = text("alarmTopicArn")
  const rate = (name: string): number | undefined => {
    const value = text(name)
    if (value !== undefined && !/^[1-9][0-9]{0,3}$/.test(value))
      throw new TypeError(`context ${name}: expected requests per second, 1 to 9999`)
    return value === undefined ? undefined : Number(value)
  }
  const openTimestamps = rate("openTimestamps")
  const ocsp = rate("ocsp")
  const timestampPolicy = text("timestampPolicy")
  const batchRate = text("batchRate")
  if (batchRate !== undefined && !/^(?:[1-9][0-9]{1,3}|10000)$/.test(batchRate))
    throw new TypeError("context batchRate: expected key operations per second, 10 to 10000")
  if (hosts.length > 0 !== (certificateArn !== undefined))
    throw new TypeError("context hosts and certificateArn: give both or none")
  return {
    stackName: text("stackName") ?? "Sealwright",
    cdn: flag("cdn", true),
    reserveConcurrency: flag("reserveConcurrency", true),
    rootSigning: flag("rootSigning", false),
    wrappedIssuers: flag("wrappedIssuers", false),
    wrappedTimestamps: flag("wrappedTimestamps", false),
    trail: flag("trail", false),
    publicLog: flag("publicLog", false),
    profiles: list("profiles"),
    hosts,
    ...(name !== undefined && { name }),
    ...(certificateArn !== undefined && { certificateArn }),
    ...(alarmTopicArn !== undefined && { alarmTopicArn }),
    ...(openTimestamps !== undefined && { openTimestamps }),
    ...(ocsp !== undefined && { ocsp }),
    ...(timestampPolicy !== undefined && { timestampPolicy }),
    ...(batchRate !== undefined && { batchRate: Number(batchRate) }),
  }
}
