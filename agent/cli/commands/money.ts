import { toHex } from '../../../protocol/bytes.ts'
import type { Answer, Call, Commands } from '../command.ts'
import { table } from '../table.ts'
import { timeText } from '../time-text.ts'

interface BalanceJson {
  available: string
  frozen: string
  earned: string
  bonds: string
  outstanding: string
}

export const moneyCommands: Commands = {
  balance: {
    usage: '',
    summary: 'Credits: available, frozen for downloads, earned on open lanes, put up as bonds, and not yet redeemed',
    takes: [0, 0],
    run: async (call) => balanceAnswer(await balance(call)),
  },
  redeem: {
    usage: '[--all]',
    summary: 'Redeem accepted ticks at the ledger; --all also makes available what idle lanes earned',
    options: { all: { type: 'boolean' } },
    takes: [0, 0],
    run: async (call) =>
      balanceAnswer(await (await call.agent()).ask<BalanceJson>('POST', '/v1/redemptions', { all: call.flag('all') })),
  },
  release: {
    usage: '[--now] [--ledger URL]',
    summary:
      'Take back what a lost agent left frozen at the ledger, once it has expired; --now: what no seller has claimed at once, if no agent of yours runs',
    options: { ledger: { type: 'string' }, now: { type: 'boolean' } },
    takes: [0, 0],
    run: async (call) => (await import('../release.ts')).release(call),
  },
  send: {
    usage: 'ID CREDITS [--to-ledger URL]',
    summary:
      'Give credits to another owner, here or at another ledger; the same words again take up what was interrupted',
    options: { 'to-ledger': { type: 'string' } },
    takes: [2, 2],
    run: async (call) => (await import('../send.ts')).send(call),
  },
  statement: {
    usage: '',
    summary: 'Your balance, and what each entry of the ledger moved on your account',
    takes: [0, 0],
    run: statement,
  },
}

const balance = async (call: Call): Promise<BalanceJson> => (await call.agent()).ask<BalanceJson>('GET', '/v1/balance')

async function statement(call: Call): Promise<Answer> {
  const { statementOf } = await import('../../clients/ledger-client.ts')
  const entries = await statementOf(await call.ledger(), toHex((await call.owner()).id))
  const now = await balance(call)
  const rows = entries.map((row) => [
    row.shard === undefined ? String(row.index) : `${row.shard}/${row.index}`,
    timeText(row.time),
    row.kind,
    row.available,
    row.frozen,
    row.earned,
    row.bonds,
  ])
  const sums = ['', '', 'now', now.available, now.frozen, now.earned, now.bonds]
  return {
    json: { ...now, entries },
    text: table([...rows, sums], ['entry', 'time', 'kind', 'available', 'frozen', 'earned', 'bonds']),
  }
}

function balanceAnswer(json: BalanceJson): Answer {
  return { json, text: table(Object.entries<string>({ ...json })) }
}
