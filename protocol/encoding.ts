/**
 * Canonical bencode (BEP 3, as BEP 44 signs it): one value has one encoding, so what is hashed or signed is never in
 * doubt. `fields` reads a dictionary strictly into a typed object.
 *
 * @example decode(encode({ units: 3, payee: key })) // { payee: key, units: 3n }
 */
import { compare, equal, fromUtf8, utf8, type Bytes } from './bytes.ts'
import { limits } from './limits.ts'
import { Problem } from './problem.ts'

export type Bencode = bigint | Bytes | readonly Bencode[] | Dictionary
export interface Dictionary {
  readonly [key: string]: Bencode
}

/** What `encode` takes: numbers are safe integers, text is written as UTF-8, undefined members are left out. */
export type Encodable =
  | bigint
  | number
  | string
  | Uint8Array
  | readonly Encodable[]
  | { readonly [key: string]: Encodable | undefined }

export interface BencodeOptions {
  /** `binary`: keys are arbitrary bytes, a character each (the `piece layers` of BEP 52). Else they are UTF-8. */
  readonly keys?: 'utf8' | 'binary'
  readonly depth?: number
}

const COLON = 0x3a
const DICTIONARY = 0x64
const END = 0x65
const INTEGER = 0x69
const LIST = 0x6c
const ZERO = 0x30
const NINE = 0x39
const INTEGER_FORM = /^(?:0|-?[1-9][0-9]{0,18})$/
const ASCII_FORM = /^[\0-\x7f]*$/
const LENGTH_DIGITS = 10
/** Bytes up to which a loop is faster than a call. */
const BY_HAND = 64

/** @throws Problem `bad-encoding` for a number that is no safe integer, an integer beyond ±(2^63 - 1), ill-formed text, too deep a value */
export function encode(value: Encodable, options: BencodeOptions = {}): Bytes {
  const out = writer()
  write(out, value, options, options.depth ?? limits.bencodeDepth)
  return out.take()
}

/** @throws Problem `bad-encoding` for anything but one whole value in its canonical form, within the limits of depth and count */
export function decode(bytes: Uint8Array, options: BencodeOptions = {}): Bencode {
  const reader: Reader = { bytes, at: 0, left: limits.bencodeValues, binaryKeys: options.keys === 'binary' }
  const value = readValue(reader, options.depth ?? limits.bencodeDepth)
  if (reader.at !== bytes.length) refuse('Bytes follow the value.')
  return value
}

interface Writer {
  ascii(text: string): void
  bytes(bytes: Uint8Array): void
  take(): Bytes
}

/** Nothing is encoded while something else is, so all share one buffer; what is larger takes one of its own. */
const scratch = new Uint8Array(limits.signedBytes)

function writer(): Writer {
  let buffer = scratch
  let length = 0
  const reserve = (more: number): void => {
    if (length + more <= buffer.length) return
    const larger = new Uint8Array(Math.max(buffer.length * 2, length + more))
    larger.set(buffer.subarray(0, length))
    buffer = larger
  }
  const ascii = (text: string): void => {
    reserve(text.length)
    for (let i = 0; i < text.length; i++) buffer[length++] = text.charCodeAt(i)
  }
  return {
    ascii,
    bytes(bytes) {
      ascii(`${bytes.length}:`)
      reserve(bytes.length)
      buffer.set(bytes, length)
      length += bytes.length
    },
    take: () => buffer.slice(0, length),
  }
}

function write(out: Writer, value: Encodable, options: BencodeOptions, depth: number): void {
  if (depth < 0) refuse('The value is nested too deeply.')
  if (typeof value === 'string') return writeText(out, value)
  if (typeof value === 'bigint' || typeof value === 'number') return out.ascii(`i${inRange(value)}e`)
  if (value instanceof Uint8Array) return out.bytes(value)
  if (isList(value)) {
    out.ascii('l')
    for (const item of value) write(out, item, options, depth - 1)
    return out.ascii('e')
  }
  out.ascii('d')
  for (const key of inOrder(Object.keys(value), options)) {
    const member = value[key]
    if (member === undefined) continue
    if (options.keys === 'binary') out.bytes(fromBinary(key))
    else writeText(out, key)
    write(out, member, options, depth - 1)
  }
  out.ascii('e')
}

/** By their bytes: where each character is one, that is the order of the texts. */
const inOrder = (keys: readonly string[], options: BencodeOptions): string[] =>
  options.keys === 'binary' || keys.every(isAscii)
    ? keys.toSorted()
    : keys.toSorted((a, b) => compare(wellFormed(a), wellFormed(b)))

const writeText = (out: Writer, text: string): void =>
  isAscii(text) ? out.ascii(`${text.length}:${text}`) : out.bytes(wellFormed(text))

const isAscii = (text: string): boolean => ASCII_FORM.test(text)

/** Two ill-formed keys would become the same replacement characters. */
const wellFormed = (text: string): Bytes =>
  text.isWellFormed() ? utf8(text) : refuse('The text is not well-formed Unicode.')

const fromBinary = (text: string): Bytes =>
  Uint8Array.from(text, (character) => {
    const byte = character.charCodeAt(0)
    return byte <= 0xff ? byte : refuse('A binary key holds a character above 255.')
  })

function inRange<T extends bigint | number>(value: T): T {
  if (typeof value === 'number' && !Number.isSafeInteger(value)) refuse('The number is no safe integer.')
  if (value > limits.integer || value < -limits.integer) refuse('The integer is too large.')
  return value
}

interface Reader {
  readonly bytes: Uint8Array
  readonly binaryKeys: boolean
  at: number
  /** Values that may still follow: a value takes two bytes on the wire and a hundred in memory. */
  left: number
}

function readValue(reader: Reader, depth: number): Bencode {
  if (depth < 0) refuse('The value is nested too deeply.')
  if (reader.left-- === 0) refuse('The value has too many parts.')
  const kind = reader.bytes[reader.at]
  if (kind === INTEGER) return readInteger(reader)
  if (kind === LIST) return readList(reader, depth)
  if (kind === DICTIONARY) return readDictionary(reader, depth)
  const start = skipString(reader)
  return copyOf(reader.bytes, start, reader.at)
}

/** What is short is copied by hand: a view of it would cost more than the copy. */
function copyOf(bytes: Uint8Array, start: number, end: number): Bytes {
  if (end - start > BY_HAND) return new Uint8Array(bytes.subarray(start, end))
  const copy = new Uint8Array(end - start)
  for (let i = start; i < end; i++) copy[i - start] = bytes[i] as number
  return copy
}

function readInteger(reader: Reader): bigint {
  const text = asciiUntil(reader, reader.at + 1, END, limits.integer.toString().length + 1)
  if (!INTEGER_FORM.test(text)) refuse('The integer is not canonical.')
  reader.at += text.length + 2
  return inRange(BigInt(text))
}

/** Goes to the end of a byte string. @returns where its bytes begin */
function skipString(reader: Reader): number {
  const { bytes } = reader
  let at = reader.at
  let length = 0
  for (; bytes[at] !== COLON; at++) {
    const digit = (bytes[at] ?? END) - ZERO
    if (digit < 0 || digit > 9 || at - reader.at === LENGTH_DIGITS) refuse('The bytes are not bencode.')
    length = length * 10 + digit
  }
  const isCanonical = at > reader.at && (bytes[reader.at] !== ZERO || at === reader.at + 1)
  if (!isCanonical) refuse('The length of a byte string is not canonical.')
  if (at + 1 + length > bytes.length) refuse('The bytes end within a byte string.')
  reader.at = at + 1 + length
  return at + 1
}

function readList(reader: Reader, depth: number): Bencode[] {
  const list: Bencode[] = []
  reader.at++
  while (reader.bytes[reader.at] !== END) list.push(readValue(reader, depth - 1))
  reader.at++
  return list
}

function readDictionary(reader: Reader, depth: number): Dictionary {
  // Without a prototype, `__proto__` is a key like any other.
  const dictionary = Object.create(null) as Record<string, Bencode>
  let previous: Uint8Array | undefined
  reader.at++
  while (reader.bytes[reader.at] !== END) {
    const start = skipString(reader)
    const key = copyOf(reader.bytes, start, reader.at)
    if (previous && compare(previous, key) >= 0) refuse('The keys of a dictionary are not in order.')
    previous = key
    dictionary[reader.binaryKeys ? toBinary(key) : nameOf(key)] = readValue(reader, depth - 1)
  }
  reader.at++
  return dictionary
}

/** Keys read lately, each in the place that its bytes come down to: there are few, and they come again and again. */
const names: ({ readonly bytes: Bytes; readonly text: string } | undefined)[] = []
const NAMES = 1024

function nameOf(bytes: Bytes): string {
  if (bytes.length > BY_HAND) return fromUtf8(bytes)
  let place = 0
  for (let i = 0; i < bytes.length; i++) place = (place * 31 + (bytes[i] as number)) % NAMES
  const known = names[place]
  if (known && equal(known.bytes, bytes)) return known.text
  const text = fromUtf8(bytes)
  names[place] = { bytes, text }
  return text
}

/** In parts, as a call takes only so many arguments. */
function toBinary(bytes: Uint8Array): string {
  let text = ''
  for (let at = 0; at < bytes.length; at += 1024) text += String.fromCharCode(...bytes.subarray(at, at + 1024))
  return text
}

/** The digits and minus signs from `start` up to the byte `end`, which is at most `most` characters away. */
function asciiUntil(reader: Reader, start: number, end: number, most: number): string {
  let text = ''
  for (let at = start; at <= start + most; at++) {
    const byte = reader.bytes[at]
    if (byte === end) return text
    if (byte === undefined || !(byte === 0x2d || (byte >= ZERO && byte <= NINE))) break
    text += String.fromCharCode(byte)
  }
  return refuse('The bytes are not bencode.')
}

/** Reads one kind of value; `path` names it in the error. */
export interface Field<T> {
  read(value: Bencode, path: string): T
}
export interface OptionalField<T> extends Field<T> {
  readonly optional: true
}
export type Shape = Readonly<Record<string, Field<unknown>>>
type Read<F> = F extends Field<infer T> ? T : never
type OptionalKeys<S extends Shape> = { [K in keyof S]: S[K] extends OptionalField<unknown> ? K : never }[keyof S]
type Flat<T> = { readonly [K in keyof T]: T[K] }
export type Fields<S extends Shape> = Flat<
  { [K in Exclude<keyof S, OptionalKeys<S>>]: Read<S[K]> } & { [K in OptionalKeys<S>]?: Read<S[K]> }
>

export interface FieldsOptions {
  /** Members that the shape does not name are ignored rather than refused. */
  readonly rest?: boolean
  readonly path?: string
}

/**
 * Reads a dictionary by its shape.
 * @throws Problem `bad-encoding`, its member `field` the path, when a member is missing, unknown, of another type or out of bounds
 */
export function fields<S extends Shape>(value: Bencode, shape: S, options: FieldsOptions = {}): Fields<S> {
  const path = options.path ?? ''
  if (!isDictionary(value)) return wrong(path, 'must be a dictionary')
  const members: Record<string, unknown> = {}
  let known = 0
  for (const [key, reader] of Object.entries(shape)) {
    const member = Object.hasOwn(value, key) ? value[key] : undefined
    const at = path === '' ? key : `${path}.${key}`
    if (member !== undefined) {
      members[key] = reader.read(member, at)
      known++
    } else if (!('optional' in reader)) wrong(at, 'is missing')
  }
  if (!options.rest && Object.keys(value).length > known) refuseUnknown(value, shape, path)
  return members as Fields<S>
}

function refuseUnknown(value: Dictionary, shape: Shape, path: string): void {
  const unknown = Object.keys(value).find((key) => !Object.hasOwn(shape, key))
  if (unknown !== undefined) wrong(path === '' ? unknown : `${path}.${unknown}`, 'is unknown')
}

interface Bounds {
  readonly min?: number
  readonly max?: number
}

export const field = {
  /** Any value, as decoded. */
  any: { read: (value) => value } as Field<Bencode>,

  /** A byte string, of `length` bytes where given. */
  bytes: (length?: number): Field<Bytes> => ({
    read(value, path) {
      if (!(value instanceof Uint8Array)) return wrong(path, 'must be a byte string')
      if (length !== undefined && value.length !== length) wrong(path, `must have ${length} bytes`)
      return value
    },
  }),

  /** An integer within bounds, both inclusive; 0 to 2^53 - 1 unless told. */
  integer: ({ min = 0, max = Number.MAX_SAFE_INTEGER }: Bounds = {}): Field<number> => ({
    read(value, path) {
      if (typeof value !== 'bigint') return wrong(path, 'must be an integer')
      if (value < BigInt(min) || value > BigInt(max)) wrong(path, `must lie within ${min} and ${max}`)
      return Number(value)
    },
  }),

  /** Credits: 0 to 2^63 - 1. */
  amount: {
    read(value, path) {
      if (typeof value !== 'bigint') return wrong(path, 'must be an integer')
      return value >= 0n ? value : wrong(path, 'must not be negative')
    },
  } as Field<bigint>,

  /** UTF-8 text. */
  text: ({ maxBytes = limits.signedBytes }: { readonly maxBytes?: number } = {}): Field<string> => ({
    read(value, path) {
      if (!(value instanceof Uint8Array)) return wrong(path, 'must be text')
      return value.length <= maxBytes ? textOf(value, path) : wrong(path, `must have at most ${maxBytes} bytes`)
    },
  }),

  /** One of the given texts. */
  choice: <const T extends string>(...choices: readonly T[]): Field<T> => ({
    read(value, path) {
      const text = value instanceof Uint8Array ? textOf(value, path) : undefined
      return choices.find((choice) => choice === text) ?? wrong(path, `must be one of ${choices.join(', ')}`)
    },
  }),

  /** A list of `min` to `max` values of one kind. */
  list: <T>(inner: Field<T>, { min = 0, max = limits.bencodeValues }: Bounds = {}): Field<readonly T[]> => ({
    read(value, path) {
      if (!isList(value)) return wrong(path, 'must be a list')
      if (value.length < min || value.length > max) wrong(path, `must have ${min} to ${max} values`)
      return value.map((item, i) => inner.read(item, `${path}[${i}]`))
    },
  }),

  optional: <T>(inner: Field<T>): OptionalField<T> => ({
    optional: true,
    read: (value, path) => inner.read(value, path),
  }),

  dict: <S extends Shape>(shape: S, options: Pick<FieldsOptions, 'rest'> = {}): Field<Fields<S>> => ({
    read: (value, path) => fields(value, shape, { ...options, path }),
  }),
}

function textOf(bytes: Bytes, path: string): string {
  try {
    return fromUtf8(bytes)
  } catch {
    return wrong(path, 'must be UTF-8')
  }
}

const isList = <T>(value: T): value is Extract<T, readonly unknown[]> => Array.isArray(value)

const isDictionary = (value: Bencode): value is Dictionary =>
  typeof value === 'object' && !(value instanceof Uint8Array) && !isList(value)

function wrong(path: string, what: string): never {
  throw new Problem('bad-encoding', path === '' ? `The value ${what}.` : `The field "${path}" ${what}.`, {
    field: path,
  })
}

function refuse(detail: string): never {
  throw new Problem('bad-encoding', detail)
}
