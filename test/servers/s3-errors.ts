/** Errors of S3, and the XML that it speaks. */

export class S3Error extends Error {
  readonly status: number
  readonly code: string
  readonly headers: Readonly<Record<string, string>>

  constructor(status: number, code: string, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message)
    this.status = status
    this.code = code
    this.headers = headers
  }
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
}
const CHARS: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

export const escapeXml = (text: string): string =>
  text.replace(/[&<>"'\p{Cc}]/gu, (char) => ENTITIES[char] ?? `&#x${char.charCodeAt(0).toString(16)};`)

const unescapeXml = (text: string): string =>
  text.replace(/&(?:(amp|lt|gt|quot|apos)|#x([0-9a-fA-F]+)|#(\d+));/g, (_, name: string, hex: string, dec: string) =>
    name ? (CHARS[name] as string) : String.fromCodePoint(hex ? parseInt(hex, 16) : Number(dec)),
  )

/** A tree of elements: text, elements by name, or several of one name; what is undefined is left out. */
export type Xml = string | number | boolean | { readonly [name: string]: Xml | readonly Xml[] | undefined }

export const xmlDocument = (root: string, content: Xml): string =>
  `<?xml version="1.0" encoding="UTF-8"?>\n${element(root, content, ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"')}`

function element(name: string, content: Xml, attributes = ''): string {
  const inner =
    typeof content === 'object'
      ? Object.entries(content)
          .map(([child, value]) => elements(child, value))
          .join('')
      : escapeXml(String(content))
  return `<${name}${attributes}>${inner}</${name}>`
}

function elements(name: string, value: Xml | readonly Xml[] | undefined): string {
  if (value === undefined) return ''
  return Array.isArray(value) ? value.map((one: Xml) => element(name, one)).join('') : element(name, value as Xml)
}

/** The members of each `<name>`, which are flat. @throws S3Error for what is no XML of this shape */
export function readElements(xml: string, root: string, name: string): readonly Readonly<Record<string, string>>[] {
  const outer = new RegExp(`^(?:<\\?xml[^>]*\\?>)?\\s*<${root}(?:\\s[^>]*)?>([\\s\\S]*)</${root}>\\s*$`).exec(xml)
  if (!outer) throw new S3Error(400, 'MalformedXML', 'The XML you provided was not well-formed.')
  const found = (outer[1] as string).matchAll(new RegExp(`<${name}>([\\s\\S]*?)</${name}>`, 'g'))
  return Array.from(found, ([, inner = '']) => {
    const members = inner.matchAll(/<(\w+)>([^<]*)<\/\1>/g)
    return Object.fromEntries(Array.from(members, ([, key = '', value = '']) => [key, unescapeXml(value)]))
  })
}
