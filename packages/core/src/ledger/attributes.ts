import type { Attribute, Item, KeyReference } from "../ports.ts"

/**
 * Typed reading of an item. A missing or mistyped attribute is a damaged table, which no caller can mend:
 * it is a plain error and answers a bare 500.
 */
export class Attributes {
  readonly #item: { readonly [name: string]: Attribute }
  readonly #where: string

  constructor(item: { readonly [name: string]: Attribute }, where: string) {
    this.#item = item
    this.#where = where
  }

  static of(item: Item): Attributes {
    return new Attributes(item, `${item.pk} ${item.sk}`)
  }

  has(name: string): boolean {
    return this.#item[name] !== undefined
  }

  text(name: string): string {
    const value = this.#item[name]
    return typeof value === "string" ? value : this.#damaged(name)
  }

  optionalText(name: string): string | undefined {
    return this.has(name) ? this.text(name) : undefined
  }

  number(name: string): number {
    const value = this.#item[name]
    return typeof value === "number" ? value : this.#damaged(name)
  }

  optionalNumber(name: string): number | undefined {
    return this.has(name) ? this.number(name) : undefined
  }

  flag(name: string): boolean {
    const value = this.#item[name]
    return typeof value === "boolean" ? value : this.#damaged(name)
  }

  bytes(name: string): Uint8Array {
    const value = this.#item[name]
    return value instanceof Uint8Array ? value : this.#damaged(name)
  }

  date(name: string): Date {
    const date = new Date(this.text(name))
    return Number.isNaN(date.getTime()) ? this.#damaged(name) : date
  }

  optionalDate(name: string): Date | undefined {
    return this.has(name) ? this.date(name) : undefined
  }

  list(name: string): readonly Attribute[] {
    const value = this.#item[name]
    return Array.isArray(value) ? value : this.#damaged(name)
  }

  texts(name: string): readonly string[] {
    return this.list(name).map((entry) => (typeof entry === "string" ? entry : this.#damaged(name)))
  }

  map(name: string): Attributes {
    const value = this.#item[name]
    if (typeof value !== "object" || value instanceof Uint8Array || value instanceof Set || Array.isArray(value))
      return this.#damaged(name)
    return new Attributes(value as { readonly [key: string]: Attribute }, `${this.#where} ${name}`)
  }

  maps(name: string): readonly Attributes[] {
    return this.list(name).map((entry, index) =>
      new Attributes({ entry }, `${this.#where} ${name} ${index}`).map("entry"),
    )
  }

  /** Members of a string set; an absent set is empty. */
  members(name: string): readonly string[] {
    const value = this.#item[name]
    if (value === undefined) return []
    return value instanceof Set ? [...value] : this.#damaged(name)
  }

  keys(): readonly string[] {
    return Object.keys(this.#item)
  }

  #damaged(name: string): never {
    throw new Error(`damaged item: ${this.#where}: ${name}`)
  }
}

/** An object without its undefined members, as a store's map takes it. */
export function present(members: { readonly [name: string]: Attribute | undefined }): { [name: string]: Attribute } {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as {
    [name: string]: Attribute
  }
}

export function keyAttributes(key: KeyReference): { readonly [name: string]: Attribute } {
  return { keyId: key.keyId, scheme: key.scheme, spki: key.spki }
}

export function keyFrom(attributes: Attributes): KeyReference {
  return {
    keyId: attributes.text("keyId"),
    scheme: attributes.text("scheme") as KeyReference["scheme"],
    spki: attributes.bytes("spki"),
  }
}
