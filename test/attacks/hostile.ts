/** Requests that no service should take, made from what it says that it takes. */
import { utf8, type Bytes } from '../../protocol/bytes.ts'
import { isOpen, resolve, sampleOf, type Document, type Operation, type Schema } from './openapi.ts'

export interface Hostile {
  /** What is wrong with it. */
  readonly what: string
  readonly path: string
  readonly body?: string | Bytes
  readonly type?: string
  readonly headers?: Readonly<Record<string, string>>
  /** It could be a request like any other: only what it changes counts. */
  readonly mayPass?: boolean
}

const MiB = 1024 * 1024
const NESTED = 30_000

/** Values that are wrong almost anywhere, as JSON. */
const WRONG: Readonly<Record<string, string>> = {
  null: 'null',
  'a number': '7',
  'a negative number': '-7',
  'a fraction': '0.5',
  'an exponent': '1e3',
  'a number beyond all': '1e999',
  'a number beyond 2^53': '9007199254740993',
  'a truth': 'true',
  'an empty text': '""',
  'a text with NUL': '"a\\u0000b"',
  'a text with half a character': '"\\ud800"',
  'a text in other letters': '"００１１\u202e٣"',
  'a long text': JSON.stringify('A'.repeat(60_000)),
  'a list': '[[],[]]',
  'an object': '{"a":{}}',
  'a prototype': '{"__proto__":{"isAdmin":true},"constructor":{"prototype":{}}}',
  'a deep list': `${'['.repeat(9000)}${']'.repeat(9000)}`,
}

/** Of what a path or a query takes. */
const WRONG_TEXT: readonly string[] = [
  '%00',
  '%',
  '%zz',
  '%ff%fe',
  '..%2f..%2fetc%2fpasswd',
  '__proto__',
  'constructor',
  'toString',
  '-1',
  '1.5',
  '1e9',
  '0x10',
  '+1',
  '%20',
  '9'.repeat(30),
  'f'.repeat(63),
  'F'.repeat(64),
  '０'.repeat(64),
  '%F0%9F%92%A9',
  'a'.repeat(5000),
  "'%20OR%201=1--",
  '%0d%0aset-cookie:a=b',
]

export function* hostileTo(operation: Operation, document: Document): Generator<Hostile> {
  yield* hostilePaths(operation, document)
  const { body } = operation
  if (!body) return
  const path = pathOf(operation, document)
  if (body.type === 'application/json') yield* hostileJson(path, body.schema, document)
  else yield* hostileBytes(path, body.type)
}

/** Of what a header takes that is base64 of JSON. */
const WRONG_HEADER: readonly string[] = [
  'x',
  '=',
  'AAAA',
  '\u00ff',
  'A'.repeat(20_000),
  ...[
    '',
    '{',
    '[]',
    '7',
    'null',
    '{}',
    '{"__proto__":{"x402Version":2}}',
    '{"x402Version":2}',
    '{"x402Version":1e999}',
  ].map(btoa),
  btoa('['.repeat(3000)),
  btoa('{"x402Version":2,"accepted":{},"payload":{"lane":"__proto__"}}'),
  btoa(JSON.stringify({ x402Version: 2, accepted: [], payload: { lane: '0'.repeat(64), tick: null } })),
]

/** With samples for all that it takes, and for one of them what is given. */
export function pathOf({ template, parameters }: Operation, document: Document, given: Given = {}): string {
  const valueOf = (name: string, schema: Schema): string => given[name] ?? String(sampleOf(schema, document))
  const inPath = parameters.filter((parameter) => parameter.in === 'path')
  const path = inPath.reduce(
    (text, { name, schema }) => text.replace(`{${name}}`, () => valueOf(name, schema)),
    template,
  )
  const query = parameters
    .filter(({ in: place, name, required }) => place === 'query' && (required || given[name] !== undefined))
    .map(({ name, schema }) => `${name}=${valueOf(name, schema)}`)
  return query.length > 0 ? `${path}?${query.join('&')}` : path
}

type Given = Readonly<Record<string, string>>

function* hostilePaths(operation: Operation, document: Document): Generator<Hostile> {
  const sample = sampleBody(operation, document)
  for (const { name, in: place } of operation.parameters) {
    for (const text of place === 'header' ? WRONG_HEADER : WRONG_TEXT) {
      const what = `${name} is ${text.slice(0, 30)}`
      if (place === 'header') yield { what, path: pathOf(operation, document), headers: { [name]: text } }
      else {
        const path = pathOf(operation, document, { [name]: text })
        yield { ...sample, what, path, mayPass: operation.method === 'GET' }
      }
    }
  }
  const path = pathOf(operation, document)
  const more = path.includes('?') ? '&' : '?'
  for (const query of ['__proto__=1', 'constructor[prototype]=1', `${'a'.repeat(4000)}=1`, '%=%', '&&=&']) {
    yield { ...sample, what: `a query of ${query.slice(0, 30)}`, path: path + more + query, mayPass: true }
  }
}

function sampleBody({ body }: Operation, document: Document): Pick<Hostile, 'body' | 'type'> {
  if (!body) return {}
  return {
    type: body.type,
    body: body.type === 'application/json' ? JSON.stringify(sampleOf(body.schema, document)) : '',
  }
}

function* hostileJson(path: string, given: Schema, document: Document): Generator<Hostile> {
  const type = 'application/json'
  const schema = resolve(given, document)
  const sample = sampleOf(schema, document)
  const text = JSON.stringify(sample)
  const isEmptyAllowed = (schema.required ?? []).length === 0
  yield { what: 'no body', path, type, mayPass: isEmptyAllowed }
  yield { what: 'no body and no type', path, mayPass: isEmptyAllowed }
  yield { what: 'an empty body', path, type, body: '' }
  for (const other of [
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data',
    'application/jsonp',
    'x',
  ]) {
    yield { what: `a body of type ${other}`, path, type: other, body: text }
  }
  yield { what: 'half of it', path, type, body: text.slice(0, -1) }
  yield { what: 'it and more', path, type, body: `${text}}` }
  yield { what: 'JavaScript', path, type, body: text.replaceAll('"', "'") }
  yield { what: 'bytes that are no text', path, type, body: Uint8Array.of(0xff, 0xfe, 0x7b, 0x00) }
  yield {
    what: 'UTF-16',
    path,
    type,
    body: Uint8Array.from(text.split('').flatMap((letter) => [letter.charCodeAt(0), 0])),
  }
  yield { what: 'lists without end', path, type, body: '['.repeat(NESTED) }
  yield { what: 'objects in objects', path, type, body: `${'{"a":'.repeat(NESTED / 4)}1${'}'.repeat(NESTED / 4)}` }
  yield { what: 'ten MiB', path, type, body: JSON.stringify({ a: 'a'.repeat(10 * MiB) }) }
  for (const [what, wrong] of Object.entries(WRONG)) yield { what: `${what} for all of it`, path, type, body: wrong }
  yield* hostileMembers({ path, type }, { schema, whole: sample, at: [] }, document)
}

interface Place {
  readonly schema: Schema
  /** The whole body that this is in. */
  readonly whole: unknown
  readonly at: readonly (string | number)[]
}

/** Each member in turn missing or of every wrong kind, and members that nobody asked for. */
function* hostileMembers(
  request: Pick<Hostile, 'path' | 'type'>,
  place: Place,
  document: Document,
): Generator<Hostile> {
  const { schema, whole, at } = place
  const name = at.join('.')
  if (schema.type === 'object') {
    const mayPass = isOpen(schema)
    for (const extra of ['"__proto__":{"a":1}', '"constructor":1', '"toString":null', '"":0', '"extra":[]']) {
      yield { ...request, what: `${name} with ${extra}`, body: withExtra(whole, at, extra), mayPass }
    }
  }
  for (const [member, given] of Object.entries(schema.properties ?? {})) {
    const inner = resolve(given, document)
    const path = [...at, member]
    const mayMiss = !(schema.required ?? []).includes(member)
    yield { ...request, what: `${path.join('.')} missing`, body: replaced(whole, path, undefined), mayPass: mayMiss }
    for (const [what, wrong] of Object.entries(WRONG)) {
      yield {
        ...request,
        what: `${path.join('.')} is ${what}`,
        body: replaced(whole, path, wrong),
        mayPass: fits(wrong, inner),
      }
    }
    yield* hostileMembers(request, { schema: inner, whole, at: path }, document)
  }
}

/** Whether the form alone would let it pass. */
function fits(json: string, { type, pattern, enum: values, minLength = 0, properties }: Schema): boolean {
  const value: unknown = JSON.parse(json)
  if (values) return values.includes(value)
  if (type === 'string')
    return typeof value === 'string' && value.length >= minLength && new RegExp(pattern ?? '').test(value)
  if (type === 'boolean') return typeof value === 'boolean'
  if (type === 'integer' || type === 'number') return typeof value === 'number'
  if (type === 'array') return Array.isArray(value)
  return properties === undefined
}

const MARK = '\u0001hole'

/** The body with JSON in the place of a member. */
function replaced(whole: unknown, at: Place['at'], json: string | undefined): string {
  const copy = structuredClone(whole)
  const last = at.at(-1) as string
  const holder = at.slice(0, -1).reduce((value, name) => (value as Record<string, unknown>)[name], copy)
  if (json === undefined) delete (holder as Record<string, unknown>)[last]
  else (holder as Record<string, unknown>)[last] = MARK
  return JSON.stringify(copy).replace(JSON.stringify(MARK), () => json ?? '')
}

function withExtra(whole: unknown, at: Place['at'], extra: string): string {
  const value = at.reduce((outer, name) => (outer as Record<string, unknown>)[name], whole)
  const inner = `${JSON.stringify(value).slice(0, -1)}${Object.keys(value as object).length > 0 ? ',' : ''}${extra}}`
  return at.length === 0 ? inner : replaced(whole, at, inner)
}

function* hostileBytes(path: string, type: string): Generator<Hostile> {
  yield { what: 'no body', path, type }
  const bodies = [
    '',
    'd',
    'de',
    'i1e',
    'd4:info',
    'l'.repeat(NESTED),
    '9999999999:a',
    'd1:a1:b1:a1:ce',
    'd4:infod4:name2:..ee',
  ]
  for (const body of bodies) yield { what: `a body of ${body.slice(0, 20)}`, path, type, body: utf8(body) }
  yield {
    what: 'random bytes',
    path,
    type,
    body: Uint8Array.from({ length: 5000 }, (_, i) => (i * 197 + (i >> 3)) & 0xff),
  }
  yield { what: 'ten MiB', path, type, body: new Uint8Array(10 * MiB).fill(0x64) }
}
