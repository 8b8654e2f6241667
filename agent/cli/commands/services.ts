import { z } from 'zod'
import { fromHex, toHex } from '../../../protocol/bytes.ts'
import { operationFromJson, replay } from '../../../protocol/identity.ts'
import { Problem } from '../../../protocol/problem.ts'
import { envelopeFromJson, type EnvelopeJson } from '../../../protocol/signed.ts'
import { parseUsage, requireCounter, sumOf, type UsageBytes } from '../../../protocol/usage.ts'
import { createHttpClient } from '../../clients/http-client.ts'
import { formatBytes } from '../../dashboard/figures.js'
import { UsageError, type Answer, type Call, type Commands } from '../command.ts'
import { durationMs } from '../duration.ts'
import { createOwnerClient } from '../owner-client.ts'
import { table } from '../table.ts'
import { idIn } from '../words.ts'

interface UsageJson extends UsageBytes {
  since: number
}
interface StatementJson {
  usage: EnvelopeJson
  delegation: EnvelopeJson
  operations: EnvelopeJson[]
}

const profileShape = z.object({ id: z.string().regex(/^[0-9a-f]{64}$/) })

const DAY_MS = 86_400_000

export const serviceCommands: Commands = {
  usage: {
    usage: '[--since T]',
    summary:
      'Bytes stored, served and fetched for you since T: a date, milliseconds since 1970, or such as 30d, so long ago',
    options: { since: { type: 'string' } },
    takes: [0, 0],
    run: usage,
  },
  readers: {
    usage: '[--add KEY]… [--remove KEY]…',
    summary: 'The keys, such as your provider’s, that may read what you use, day by day; adds and removes some',
    options: { add: { type: 'string', multiple: true }, remove: { type: 'string', multiple: true } },
    takes: [0, 0],
    run: readers,
  },
  bill: {
    usage: 'URL [--month YYYY-MM]',
    summary: 'As a provider: what the agent at URL says, signed, that its owner used in a month, day by day',
    options: { month: { type: 'string' } },
    takes: [1, 1],
    run: bill,
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

async function readers(call: Call): Promise<Answer> {
  const [more, fewer] = [call.all('add').map((key) => idIn(key, 'a key')), new Set(call.all('remove'))]
  const agent = await call.agent()
  const known = await agent.ask<{ readers: string[] }>('GET', '/v1/usage/readers')
  const wanted = [...known.readers, ...more].filter((key) => !fewer.has(key))
  const isChange = more.length > 0 || fewer.size > 0
  const json = isChange ? await agent.ask<typeof known>('PUT', '/v1/usage/readers', { readers: wanted }) : known
  return { json, text: json.readers.join('\n') || '(none)' }
}

/** The statement is kept whole in the document: it can be shown. */
async function bill(call: Call): Promise<Answer> {
  const { from, to } = monthOf(call)
  const url = (call.args[0] as string).replace(/\/+$/, '')
  if (!URL.canParse(url)) throw new UsageError(`'${url}' is no URL of an agent.`)
  const { environment } = call
  const profile = await createHttpClient(environment, url)
    .json({ method: 'GET', path: '/.well-known/raincheck', attempts: 1 }, profileShape)
    .catch(() => {
      throw new Problem('peer-failed', `No agent answers at ${url}.`)
    })
  const client = createOwnerClient({ environment, url, owner: fromHex(profile.id), signer: await call.signer() })
  const shown = await client.ask<StatementJson>('GET', `/v1/statements/usage?from=${dateOf(from)}&to=${dateOf(to)}`)
  const statement = parseUsage(envelopeFromJson(shown.usage))
  const state = replay(shown.operations.map(operationFromJson), environment.clock.now())
  requireCounter(statement, state, envelopeFromJson(shown.delegation))
  if (statement.from !== from || statement.to !== to || toHex(statement.by) !== profile.id)
    throw new Problem('peer-failed', 'The agent answered with another statement.')
  const totals = sumOf(statement.days)
  const rows = statement.days.map(({ day, ...bytes }) => [dateOf(day), ...cells(bytes)])
  const days = statement.days.map(({ day, ...bytes }) => ({ date: dateOf(day), ...bytes }))
  return {
    json: { id: profile.id, from: dateOf(from), to: dateOf(to), ...totals, days, ...shown },
    text: table([...rows, ['in all', ...cells(totals)]], ['day', 'stored', 'served', 'fetched']),
  }
}

const cells = ({ stored, served, fetched }: UsageBytes): string[] => [stored, served, fetched].map(formatBytes)

const dateOf = (day: number): string => new Date(day * DAY_MS).toISOString().slice(0, 10)

/** This month unless another is named. */
function monthOf(call: Call): { from: number; to: number } {
  const text = call.text('month') ?? new Date(call.environment.clock.now()).toISOString().slice(0, 7)
  const [, year, month] = /^(\d{4})-(0[1-9]|1[0-2])$/.exec(text) ?? []
  if (!year || !month) throw new UsageError(`--month takes a month such as 2027-01, not '${text}'.`)
  const [from, next] = [Date.UTC(Number(year), Number(month) - 1), Date.UTC(Number(year), Number(month))]
  return { from: from / DAY_MS, to: next / DAY_MS - 1 }
}

/** Days are counted whole, from midnight UTC on. */
function sinceMs(call: Call): number {
  const text = call.text('since') ?? '0'
  const ago = durationMs(text)
  if (ago !== undefined) return Math.max(0, call.environment.clock.now() - ago)
  const ms = /^\d+$/.test(text) ? Number(text) : Date.parse(text)
  if (Number.isSafeInteger(ms) && ms >= 0) return ms
  throw new UsageError(`--since takes a date, milliseconds since 1970, or an age such as 30d, not '${text}'.`)
}
