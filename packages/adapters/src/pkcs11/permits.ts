/** So many at once; whoever comes later waits, first come, first served. */
export class Permits {
  #free: number
  readonly #total: number
  readonly #waiting: (() => void)[] = []

  constructor(total: number) {
    if (!Number.isInteger(total) || total < 1) throw new RangeError(`not a number of sessions: ${total}`)
    this.#total = total
    this.#free = total
  }

  async take(): Promise<void> {
    if (this.#free > 0) this.#free--
    else await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  give(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#free++
    else next()
  }

  /** Takes every permit, when all that were taken have been given back. */
  async drain(): Promise<void> {
    for (let i = 0; i < this.#total; i++) await this.take()
  }
}
