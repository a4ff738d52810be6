/**
 * A bounded map that forgets what was not used for long: entries are in a young and an old half, a use moves an entry to the young one, and a full
 * young half becomes the old one. What is used again and again is never pushed out by what comes once.
 */
export class Recent<Value> {
  readonly #half: number
  #young = new Map<string, Value>()
  #old = new Map<string, Value>()

  /** @param maxEntries 2 or more; about half as many are surely remembered */
  constructor(maxEntries: number) {
    this.#half = maxEntries >> 1
  }

  get(key: string): Value | undefined {
    const young = this.#young.get(key)
    if (young !== undefined) return young
    const old = this.#old.get(key)
    if (old !== undefined) this.set(key, old)
    return old
  }

  set(key: string, value: Value): void {
    if (this.#young.size >= this.#half) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(key, value)
  }
}
