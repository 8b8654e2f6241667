import { formatBytes } from '../../dashboard/figures.js'
import { UsageError, type Answer, type Call, type Commands } from '../command.ts'
import { table } from '../table.ts'

export interface GuardJson {
  stopped: boolean
  since?: number
  spend: { most?: string; used: string }
  serve: { most?: number; used: number }
  until: number
}

export const guardCommands: Commands = {
  stop: {
    usage: '',
    summary: 'Stop the agent: all sales and purchases end within seconds, until `raincheck start`',
    takes: [0, 0],
    run: async (call) => guardAnswer(await change(call, { stopped: true })),
  },
  start: {
    usage: '',
    summary: 'Let a stopped agent sell and buy again',
    takes: [0, 0],
    run: async (call) => guardAnswer(await change(call, { stopped: false })),
  },
  caps: {
    usage: '[--spend CREDITS|none] [--serve SIZE|none]',
    summary:
      'What the agent may spend, and send to others, in a day (UTC), and how much of it is used, counted while there is a cap; SIZE such as 3GiB',
    options: { spend: { type: 'string' }, serve: { type: 'string' } },
    takes: [0, 0],
    run: caps,
  },
}

const change = async (call: Call, json: object): Promise<GuardJson> =>
  (await call.agent()).ask<GuardJson>('PUT', '/v1/guard', json)

async function caps(call: Call): Promise<Answer> {
  const [spend, serve] = [call.text('spend'), call.text('serve')]
  const asked = {
    ...(spend !== undefined && { spend: spend === 'none' ? null : call.credits('spend') }),
    ...(serve !== undefined && { serve: serve === 'none' ? null : bytesIn(serve) }),
  }
  const before = await (await call.agent()).ask<GuardJson>('GET', '/v1/guard')
  if (Object.keys(asked).length === 0) return guardAnswer(before)
  const { json, text } = guardAnswer(await change(call, asked))
  const isNew = (['spend', 'serve'] as const).some(
    (cap) => before[cap].most === undefined && (asked[cap] ?? null) !== null,
  )
  return { json, text: isNew ? `${text}\nA new cap counts from now on, not what went before it today.` : text }
}

const UNITS = ['', 'KiB', 'MiB', 'GiB', 'TiB']

function bytesIn(text: string): number {
  const [, count = '', unit = ''] = /^(\d{1,9}(?:\.\d{1,3})?)([KMGT]iB)?$/.exec(text) ?? []
  const bytes = Math.round(Number(count) * 1024 ** UNITS.indexOf(unit))
  if (count !== '' && Number.isSafeInteger(bytes)) return bytes
  throw new UsageError(`--serve takes a size such as 500MiB or 3GiB, or none, not '${text}'.`)
}

const ofMost = (used: string, most: string | undefined): string =>
  most === undefined ? 'no cap' : `${used} of ${most}`

function guardAnswer(json: GuardJson): Answer {
  const { stopped, spend, serve } = json
  const most = serve.most === undefined ? undefined : formatBytes(serve.most)
  const rows = [
    ['agent', stopped ? 'stopped: it sells and buys nothing (`raincheck start`)' : 'sells and buys'],
    ['credits today', ofMost(spend.used, spend.most)],
    ['sent today', ofMost(formatBytes(serve.used), most)],
  ]
  return { json, text: table(rows) }
}
