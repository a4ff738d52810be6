/** A metric in CloudWatch's embedded metric format: one line of log, no call. No dimensions, so nothing that a caller writes becomes one. */
export function emitMetric(name: string, value: number, unit: "Seconds" | "Count", at: Date): void {
  const line = {
    _aws: {
      Timestamp: at.getTime(),
      CloudWatchMetrics: [{ Namespace: "Sealwright", Dimensions: [["Stack"]], Metrics: [{ Name: name, Unit: unit }] }],
    },
    Stack: process.env.SEALWRIGHT_STACK ?? "sealwright",
    [name]: value,
  }
  process.stdout.write(`${JSON.stringify(line)}\n`)
}
