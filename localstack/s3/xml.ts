import { s3Error } from "./errors.ts"

/** What an element holds: text, child elements, or one element per entry of a list. `undefined` is left out. */
export type XmlContent = string | number | boolean | undefined | XmlTree | readonly XmlContent[]
export interface XmlTree {
  readonly [element: string]: XmlContent
}

const NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
const ESCAPES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "\r": "&#13;",
}

/** A whole document. @param namespaced error documents have no namespace */
export function writeXml(root: string, content: XmlTree, namespaced = true): Buffer {
  const start = namespaced ? `<${root} xmlns="${NAMESPACE}">` : `<${root}>`
  return Buffer.from(`<?xml version="1.0" encoding="UTF-8"?>\n${start}${children(content)}</${root}>`)
}

function children(tree: XmlTree): string {
  return Object.entries(tree)
    .map(([name, content]) => element(name, content))
    .join("")
}

function element(name: string, content: XmlContent): string {
  if (content === undefined) return ""
  if (Array.isArray(content)) return content.map((entry: XmlContent) => element(name, entry)).join("")
  if (typeof content === "object") return `<${name}>${children(content as XmlTree)}</${name}>`
  return `<${name}>${escapeXml(String(content))}</${name}>`
}

function escapeXml(text: string): string {
  return text.replace(/[&<>"\r]/g, (character) => ESCAPES[character] as string)
}

export interface XmlElement {
  readonly name: string
  readonly text: string
  readonly children: readonly XmlElement[]
}

const MAX_DEPTH = 8
const PIECE = /<\?xml[^>]*\?>|<(\/?)([A-Za-z_][\w.:-]*)((?:\s+[\w.:-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(\/?)>|([^<]+)/y

/**
 * Reads a document of plain elements and text. Document types, comments and CDATA are refused; attributes are ignored.
 * @throws MalformedXML
 */
export function parseXml(bytes: Uint8Array): XmlElement {
  const text = decode(bytes)
  const top: MutableElement = { name: "", text: "", children: [] }
  const open = [top]
  for (let at = 0; at < text.length; at = PIECE.lastIndex) {
    PIECE.lastIndex = at
    const match = PIECE.exec(text)
    const parent = open.at(-1)
    if (!match || !parent) throw s3Error("MalformedXML")
    const [, closing, name, , selfClosing, characters] = match
    if (characters !== undefined) parent.text += unescapeXml(characters)
    else if (name === undefined) continue
    else if (closing) {
      if (open.length === 1 || parent.name !== name) throw s3Error("MalformedXML")
      open.pop()
    } else {
      const child: MutableElement = { name, text: "", children: [] }
      parent.children.push(child)
      if (!selfClosing) open.push(child)
      if (open.length > MAX_DEPTH) throw s3Error("MalformedXML")
    }
  }
  const [root, ...more] = top.children
  if (open.length !== 1 || !root || more.length > 0 || top.text.trim() !== "") throw s3Error("MalformedXML")
  return root
}

interface MutableElement extends XmlElement {
  text: string
  readonly children: MutableElement[]
}

export function childText(parent: XmlElement, name: string): string | undefined {
  return parent.children.find((child) => child.name === name)?.text
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes)
  } catch {
    throw s3Error("MalformedXML")
  }
}

const ENTITIES: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" }

function unescapeXml(text: string): string {
  return text.replace(/&([^;]*);?/g, (whole, name: string) => {
    const known = ENTITIES[name]
    if (known !== undefined && whole.endsWith(";")) return known
    const code = /^#(?:x([0-9a-fA-F]{1,6})|([0-9]{1,7}))$/.exec(name)
    const point = code ? Number.parseInt(code[1] ?? code[2] ?? "", code[1] ? 16 : 10) : Number.NaN
    if (!whole.endsWith(";") || !(point > 0 && point <= 0x10ffff)) throw s3Error("MalformedXML")
    return String.fromCodePoint(point)
  })
}
