/** A process that puts parts into one write of a folder until it is killed, and says on stdout which are acknowledged. */
import { randomBytes } from 'node:crypto'
import { openFolder } from '../../agent/storage/folder.ts'
import type { WriteRef } from '../../agent/storage/storage.ts'
import { pattern } from '../pattern.ts'
import { handClock } from './hand-clock.ts'

export const PART = 64 * 1024

/** Part `index` of the file. */
export const partAt = (index: number): Uint8Array => pattern(PART, index + 1)

async function main([folder = '', ref = '', first = '']: readonly string[]): Promise<void> {
  const random = { bytes: (length: number) => new Uint8Array(randomBytes(length)) }
  const storage = await openFolder(folder, { clock: handClock(), random })
  const write = JSON.parse(ref) as WriteRef
  for (let index = Number(first); index < write.size / PART; index++) {
    await storage.put(write, index * PART, partAt(index))
    process.stdout.write(`${index}\n`)
  }
}

if (process.argv[1] === import.meta.filename) await main(process.argv.slice(2))
