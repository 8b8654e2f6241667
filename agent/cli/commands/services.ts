import { toHex } from '../../../protocol/bytes.ts'
import { formatBytes } from '../../dashboard/figures.js'
import { UsageError, type Answer, type Call, type Commands } from '../command.ts'
import { durationMs } from '../duration.ts'
import { table } from '../table.ts'

interface UsageJson {
  since: number
  stored: number
  served: number
  fetched: number
}

export const serviceCommands: Commands = {
  usage: {
    usage: '[--since T]',
    summary: 'Bytes stored, served and fetched for you since T: a date, milliseconds since 1970, or such as 30d ago',
    options: { since: { type: 'string' } },
    takes: [0, 0],
    run: usage,
  },
}

async function usage(call: Call): Promise<Answer> {
  const since = sinceMs(call)
  const totals = await (await call.agent()).ask<UsageJson>('GET', `/v1/usage?since=${since}`)
  const rows = [
    ['stored', formatBytes(totals.stored)],
    ['served', formatBytes(totals.served)],
    ['fetched', formatBytes(totals.fetched)],
  ]
  return { json: { id: toHex((await call.owner()).id), ...totals }, text: table(rows) }
}

/** Days are counted whole, from midnight UTC on. */
function sinceMs(call: Call): number {
  const text = call.text('since') ?? '0'
  const ago = durationMs(text)
  if (ago !== undefined) return Math.max(0, call.environment.clock.now() - ago)
  const ms = /^\d+$/.test(text) ? Number(text) : Date.parse(text)
  if (Number.isSafeInteger(ms) && ms >= 0) return ms
  throw new UsageError(`--since takes a date, milliseconds since 1970, or such as 30d, not '${text}'.`)
}
