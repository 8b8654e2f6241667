/** Tables that the code writes into the docs, and the values that those written by hand must show. */
import { toHex } from '../../protocol/bytes.ts'
import { limits } from '../../protocol/limits.ts'
import { signerFrom } from '../../protocol/signed.ts'
import * as cast from './cast.ts'

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n')

const code = (text: string): string => `\`${text}\``

const IDS: Partial<Record<keyof typeof cast.SECRETS, string>> = {
  'payer, recovery key': toHex(cast.payer.id),
  payee: toHex(cast.payee.id),
  ledger: toHex(cast.ledgerId),
  friend: toHex(cast.friend.id),
}

const peopleRows = Object.entries(cast.SECRETS).map(([who, byte]) => {
  const id = IDS[who as keyof typeof IDS]
  return [who, `32 × \`0${byte}\``, code(toHex(signerFrom(cast.bytesOf(byte)).key)), id ? code(id) : '']
})

export const tables: Readonly<Record<string, string>> = {
  people: table(['who', 'secret key', 'public key', 'id'], peopleRows),
}

/** Each limit as the docs write it. */
export const limitTexts = (): Record<string, string> =>
  Object.fromEntries(Object.entries(limits).map(([name, value]) => [name, limitText(name, value)]))

function limitText(name: string, value: bigint | number | readonly number[]): string {
  if (typeof value === 'bigint') return `2^${value.toString(2).length} − 1`
  if (typeof value !== 'number') return value.join(', ')
  if (name.endsWith('Ms')) return inUnits(value, TIMES)
  return /Bytes(?:Min|Max|Default)?$/.test(name) ? inUnits(value, SIZES) : countText(value)
}

type Units = readonly (readonly [unit: string, size: number])[]
const TIMES: Units = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1_000],
  ['ms', 1],
]
const SIZES: Units = [
  ['MiB', 2 ** 20],
  ['KiB', 2 ** 10],
  ['bytes', 1],
]

function inUnits(value: number, units: Units): string {
  const [unit, size] = units.find(([, length]) => value % length === 0) ?? ['', 1]
  return `${value / size} ${unit}`
}

function countText(count: number): string {
  const power = Math.log2(count)
  return count > 4096 && Number.isInteger(power) ? `2^${power}` : String(count)
}
