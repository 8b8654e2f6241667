/** What a service says of itself in `/openapi.json`, as far as an attacker needs it: operations, and samples of what they take. */

export interface Schema {
  readonly $ref?: string
  readonly allOf?: readonly Schema[]
  readonly anyOf?: readonly Schema[]
  readonly type?: string
  readonly enum?: readonly unknown[]
  readonly example?: unknown
  readonly pattern?: string
  readonly minLength?: number
  readonly minItems?: number
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly additionalProperties?: unknown
  readonly items?: Schema
}

interface Parameter {
  readonly in: 'path' | 'query' | 'header'
  readonly name: string
  readonly required?: boolean
  readonly schema: Schema
}

interface RawOperation {
  readonly parameters?: readonly Parameter[]
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> }
}

export interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, RawOperation>>>>
  readonly components?: { readonly schemas?: Readonly<Record<string, Schema>> }
}

export interface Operation {
  /** Such as `POST /v1/claims`. */
  readonly name: string
  readonly method: string
  readonly template: string
  readonly parameters: readonly Parameter[]
  readonly body: { readonly type: string; readonly schema: Schema } | undefined
}

export const operationsOf = ({ paths }: Document): Operation[] =>
  Object.entries(paths).flatMap(([template, methods]) =>
    Object.entries(methods).map(([method, { parameters = [], requestBody }]): Operation => {
      const [content] = Object.entries(requestBody?.content ?? {})
      return {
        name: `${method.toUpperCase()} ${template}`,
        method: method.toUpperCase(),
        template,
        parameters,
        body: content && { type: content[0], schema: content[1].schema },
      }
    }),
  )

/** The schema itself, where it is named or put together. */
export function resolve(schema: Schema, document: Document): Schema {
  if (schema.$ref !== undefined) {
    const named = document.components?.schemas?.[schema.$ref.split('/').at(-1) ?? '']
    if (!named) throw new Error(`${schema.$ref} is not in the document`)
    return resolve(named, document)
  }
  const parts = schema.allOf ?? schema.anyOf?.slice(0, 1) ?? []
  return Object.assign({}, schema, ...parts.map((part) => resolve(part, document))) as Schema
}

const TEXTS = [
  'a',
  '1',
  'AAAA',
  '0'.repeat(64),
  '0'.repeat(40),
  '0'.repeat(16),
  `payword:${'0'.repeat(32)}`,
  'https://ledger.example',
  '2026-01-01T00:00:00Z',
]

/** A value of the right form, and most likely of no meaning. */
export function sampleOf(given: Schema, document: Document): unknown {
  const schema = resolve(given, document)
  if (schema.example !== undefined) return schema.example
  if (schema.enum) return schema.enum[0]
  if (schema.type === 'object') return mapValues(schema.properties ?? {}, (property) => sampleOf(property, document))
  if (schema.type === 'array') return schema.items ? [sampleOf(schema.items, document)] : []
  if (schema.type === 'integer' || schema.type === 'number') return 1
  return schema.type === 'boolean' ? true : textFor(schema)
}

const mapValues = <A, B>(record: Readonly<Record<string, A>>, map: (value: A) => B): Record<string, B> =>
  Object.fromEntries(Object.entries(record).map(([name, value]) => [name, map(value)]))

function textFor({ pattern, minLength = 0 }: Schema): string {
  const found = TEXTS.find(
    (text) => text.length >= minLength && (pattern === undefined || new RegExp(pattern).test(text)),
  )
  if (found === undefined) throw new Error(`no sample matches ${pattern}`)
  return found
}

/** Whether an object of this schema may have members that it does not name. */
export const isOpen = ({ additionalProperties }: Schema): boolean => additionalProperties !== false
