/**
 * Reads a vouch graph from CSV with the columns issuer, subject, depth and credit (in another order when a header says
 * so; further columns are ignored). Works on bytes, so that ten million lines take seconds.
 */
import { concat, fromUtf8 } from '../../protocol/bytes.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import type { VouchList } from '../../protocol/vouch-lists.ts'
import { createNameTable, grown, type NameTable } from './name-table.ts'

export interface VouchCsv {
  readonly vouches: VouchList
  readonly names: NameTable
}

/** @throws Problem `bad-request`, which names the line */
export async function readVouchCsv(chunks: AsyncIterable<Uint8Array>): Promise<VouchCsv> {
  const names = createNameTable()
  const list = createVouchList()
  const row = createRow()
  let columns: Columns | undefined
  const lines = splitLines((bytes, from, to) => {
    if (!row.read(bytes, from, to)) return
    const header = columns ? undefined : headerOf(row)
    columns ??= header ?? DEFAULT_COLUMNS
    if (header) return
    row.integer(columns.credit, Number.MAX_SAFE_INTEGER)
    list.add(
      row.name(columns.issuer, names),
      row.name(columns.subject, names),
      row.integer(columns.depth, limits.vouchDepth),
    )
  })
  for await (const chunk of chunks) lines.push(chunk)
  lines.end()
  return { vouches: list.take(names.size), names }
}

type Columns = Readonly<Record<'issuer' | 'subject' | 'depth' | 'credit', number>>

const DEFAULT_COLUMNS: Columns = { issuer: 0, subject: 1, depth: 2, credit: 3 }
const MOST_COLUMNS = 32
const LINE_BYTES = 8192
const BYTE_ORDER_MARK = '\ufeff'
const LINE_FEED = 0x0a
const SPACE = 0x20
const QUOTE = 0x22
const COMMA = 0x2c
const ZERO = 0x30

/** Calls back with each line, without its line feed. */
function splitLines(onLine: (bytes: Uint8Array, from: number, to: number) => void) {
  let carried: Uint8Array = new Uint8Array(0)
  return {
    push(chunk: Uint8Array): void {
      let from = 0
      for (let at = chunk.indexOf(LINE_FEED); at >= 0; at = chunk.indexOf(LINE_FEED, from)) {
        if (carried.length === 0) {
          onLine(chunk, from, at)
        } else {
          const whole = concat(carried, chunk.subarray(from, at))
          carried = new Uint8Array(0)
          onLine(whole, 0, whole.length)
        }
        from = at + 1
      }
      carried = concat(carried, chunk.subarray(from))
      if (carried.length > LINE_BYTES) throw new Problem('bad-request', `A line has more than ${LINE_BYTES} bytes.`)
    },
    end(): void {
      if (carried.length > 0) onLine(carried, 0, carried.length)
    },
  }
}

type Row = ReturnType<typeof createRow>

/** The fields of one line at a time. */
function createRow() {
  const starts = new Int32Array(MOST_COLUMNS)
  const ends = new Int32Array(MOST_COLUMNS)
  let bytes: Uint8Array = new Uint8Array(0)
  let line = 0
  let count = 0

  const refuse = (what: string): never => {
    throw new Problem('bad-request', `Line ${line}: ${what}.`, { line })
  }
  /** Without the blanks and the quotes around it. */
  const add = (from: number, to: number): void => {
    if (count === MOST_COLUMNS) return
    let [start, end] = [from, to]
    while (start < end && (bytes[start] as number) <= SPACE) start++
    while (end > start && (bytes[end - 1] as number) <= SPACE) end--
    if (bytes[start] === QUOTE && start < end) {
      if (end - start < 2 || bytes[end - 1] !== QUOTE) refuse('a quoted field must not hold a comma')
      start++
      end--
    }
    starts[count] = start
    ends[count++] = end
  }
  const need = (column: number): void => {
    if (column >= count || starts[column] === ends[column]) refuse('needs an issuer, a subject, a depth and a credit')
  }

  return {
    /** @returns false for a blank line */
    read(lineBytes: Uint8Array, from: number, to: number): boolean {
      ;[bytes, count] = [lineBytes, 0]
      line++
      if (to - from > LINE_BYTES) refuse(`has more than ${LINE_BYTES} bytes`)
      let start = from
      for (let at = from; at < to; at++) {
        if (bytes[at] !== COMMA) continue
        add(start, at)
        start = at + 1
      }
      add(start, to)
      return count > 1 || starts[0] !== ends[0]
    },
    text: (column: number): string => (column < count ? fromUtf8(bytes.subarray(starts[column], ends[column])) : ''),
    count: () => count,
    name(column: number, names: NameTable): number {
      need(column)
      return names.number(bytes, starts[column] as number, ends[column] as number)
    },
    integer(column: number, max: number): number {
      need(column)
      let value = 0
      for (let at = starts[column] as number; at < (ends[column] as number); at++) {
        const digit = (bytes[at] as number) - ZERO
        if (digit < 0 || digit > 9) refuse('a depth and a credit are whole numbers')
        value = value * 10 + digit
      }
      return value <= max ? value : refuse(`${value} is above ${max}`)
    },
  }
}

/** Where the columns are, when the line names them. */
function headerOf(row: Row): Columns | undefined {
  const names = Array.from({ length: row.count() }, (_, column) =>
    row.text(column).replace(BYTE_ORDER_MARK, '').toLowerCase(),
  )
  const [issuer, subject, depth, credit] = ['issuer', 'subject', 'depth', 'credit'].map((name) => names.indexOf(name))
  const found = [issuer, subject, depth, credit]
  return found.every((column) => column !== undefined && column >= 0)
    ? ({ issuer, subject, depth, credit } as Columns)
    : undefined
}

function createVouchList() {
  let issuers = new Uint32Array(1 << 12)
  let subjects = new Uint32Array(1 << 12)
  let depths = new Uint8Array(1 << 12)
  let length = 0
  return {
    add(issuer: number, subject: number, depth: number): void {
      issuers = grown(issuers, length + 1)
      subjects = grown(subjects, length + 1)
      depths = grown(depths, length + 1)
      issuers[length] = issuer
      subjects[length] = subject
      depths[length++] = depth
    },
    take: (agents: number): VouchList => ({
      agents,
      issuers: issuers.subarray(0, length),
      subjects: subjects.subarray(0, length),
      depths: depths.subarray(0, length),
    }),
  }
}
