/** Examples as they stand in a page: a fenced block of a language, under a name. */
import { sha256 } from '#primitives'
import { toHex } from '../../protocol/bytes.ts'
import { envelopeToJson, objectId, type Envelope, type Kind } from '../../protocol/signed.ts'
import { writeNotation } from './notation.ts'

export interface Example {
  readonly language: 'json' | 'bencode' | 'http' | 'text'
  readonly text: string
}
export type Examples = Readonly<Record<string, Example>>

export const json = (value: unknown): Example => ({ language: 'json', text: JSON.stringify(value, null, 2) })
export const text = (content: string): Example => ({ language: 'text', text: content.trimEnd() })
export const bencode = (bytes: Uint8Array): Example => ({ language: 'bencode', text: writeNotation(bytes) })

/** A signed object three times: the body to read, its id, and as it travels. */
export const signed = (name: string, kind: Kind, envelope: Envelope): Examples => ({
  [`${name}.body`]: bencode(envelope.body),
  [`${name}.id`]: text(toHex(objectId(kind, envelope.body))),
  [`${name}.json`]: json(envelopeToJson(envelope)),
})

/** Headers that say something; the others are left out. */
const SHOWN = [
  'content-type',
  'content-digest',
  'signature-input',
  'signature',
  'payment-signature',
  'payment-required',
  'payment-response',
  'cache-control',
  'allow',
]

export interface Shown {
  readonly request: Request
  readonly response: Response
  /** Headers to leave out. */
  readonly without?: readonly string[]
  /** Headers whose values are left out. */
  readonly brief?: readonly string[]
}

/** A request and its reply. Consumes neither. */
export async function http({ request, response, without = [], brief = [] }: Shown): Promise<Example> {
  const url = new URL(request.url)
  const headersOf = ({ headers }: Request | Response): string[] =>
    SHOWN.filter((name) => headers.has(name) && !without.includes(name)).map(
      (name) => `${titled(name)}: ${brief.includes(name) ? '…' : headers.get(name)}`,
    )
  const asked = [`${request.method} ${url.pathname}${url.search} HTTP/1.1`, `Host: ${url.host}`, ...headersOf(request)]
  const answered = [`HTTP/1.1 ${response.status}`, ...headersOf(response)]
  return {
    language: 'http',
    text: `${await messageText(asked, request.clone())}\n\n${await messageText(answered, response.clone())}`,
  }
}

async function messageText(head: readonly string[], message: Request | Response): Promise<string> {
  const body = bodyText(new Uint8Array(await message.arrayBuffer()), message.headers.get('content-type') ?? '')
  return [...head, ...(body === '' ? [] : ['', body])].join('\n')
}

const titled = (name: string): string => name.replace(/(?:^|-)[a-z]/g, (letter) => letter.toUpperCase())

function bodyText(bytes: Uint8Array, type: string): string {
  if (bytes.length === 0) return ''
  const content = new TextDecoder().decode(bytes)
  if (/json/.test(type)) return JSON.stringify(JSON.parse(content), null, 2)
  if (type.startsWith('text/')) return content.trimEnd()
  return `(${bytes.length} bytes, SHA-256 ${toHex(sha256(bytes))})`
}
