/**
 * Bencode as the docs write it: a member a line, text with spaces in quotes, other bytes as `<hex>`. Spaces and line breaks
 * outside of quotes are for the reader only.
 *
 * @example
 * d
 *   4:lane 32:<0505…05>
 *   4:unit i6e
 * e
 */
import { concat, fromHex, toHex, utf8, type Bytes } from '../../protocol/bytes.ts'
import { decode, type Bencode, type BencodeOptions } from '../../protocol/encoding.ts'

const WORD = /^[!#-;=?-~]+$/
const WORDS = /^[ !#-;=?-~]+$/
const TOKEN = /<([0-9a-f]*)>|"([^"]*)"|[^\s<>"]+|\s+/g

/** @param most bytes of one string that are shown; of a longer one the first and the last */
export function writeNotation(bytes: Uint8Array, options: BencodeOptions = {}, most = Infinity): string {
  return lines(decode(bytes, options), options.keys === 'binary', most).join('\n')
}

/** What a notation stands for. Throws when it has been shortened or is not one. */
export function readNotation(text: string): Bytes {
  const tokens = Array.from(text.matchAll(TOKEN))
  if (tokens.map(([whole]) => whole).join('') !== text) throw new Error(`no notation: ${text}`)
  return concat(
    ...tokens.map(([whole, hex, quoted]) => (hex === undefined ? utf8(quoted ?? whole.trim()) : fromHex(hex))),
  )
}

function lines(value: Bencode, binary: boolean, most: number): string[] {
  if (typeof value === 'bigint') return [`i${value}e`]
  if (value instanceof Uint8Array) return [stringOf(value, most)]
  if (isList(value))
    return value.length === 0 ? ['le'] : ['l', ...value.flatMap((item) => indent(lines(item, binary, most))), 'e']
  const members = Object.entries(value).map(([key, member]) => [keyBytes(key, binary), member] as const)
  const sorted = members.toSorted(([a], [b]) => (toHex(a) < toHex(b) ? -1 : 1))
  if (sorted.length === 0) return ['de']
  return ['d', ...sorted.flatMap(([key, member]) => indent(memberLines(key, lines(member, binary, most)))), 'e']
}

const memberLines = (key: Bytes, [first = '', ...rest]: readonly string[]): string[] => [
  `${stringOf(key, Infinity)} ${first}`,
  ...rest,
]

const indent = (text: readonly string[]): string[] => text.map((line) => `  ${line}`)

const keyBytes = (key: string, binary: boolean): Bytes =>
  binary ? Uint8Array.from(key, (character) => character.charCodeAt(0)) : utf8(key)

function stringOf(bytes: Uint8Array, most: number): string {
  if (bytes.length === 0) return '0:'
  const text = new TextDecoder('latin1').decode(bytes)
  if (WORD.test(text)) return `${bytes.length}:${text}`
  if (WORDS.test(text)) return `${bytes.length}:"${text}"`
  const hex = toHex(bytes)
  const shown = bytes.length > most ? `${hex.slice(0, 16)}…${hex.slice(-16)}` : hex
  return `${bytes.length}:<${shown}>`
}

const isList = (value: Bencode): value is readonly Bencode[] => Array.isArray(value)
