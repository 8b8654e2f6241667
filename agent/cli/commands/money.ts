import { toHex } from '../../../protocol/bytes.ts'
import { statementOf } from '../../ledger-client.ts'
import type { Answer, Command } from '../command.ts'
import { table } from '../format.ts'

interface BalanceJson {
  available: string
  frozen: string
  earned: string
  outstanding: string
}

export const moneyCommands: Readonly<Record<string, Command>> = {
  balance: {
    usage: '',
    summary: 'Credits: available, frozen for downloads, earned on open lanes, and not yet redeemed',
    takes: [0, 0],
    run: async (call) => balanceAnswer(await (await call.agent()).ask<BalanceJson>('GET', '/v1/balance')),
  },
  redeem: {
    usage: '[--all]',
    summary: 'Redeem accepted ticks at the ledger; --all also makes available what idle lanes earned',
    options: { all: { type: 'boolean' } },
    takes: [0, 0],
    run: async (call) =>
      balanceAnswer(await (await call.agent()).ask<BalanceJson>('POST', '/v1/redemptions', { all: call.flag('all') })),
  },
  statement: {
    usage: '',
    summary: 'The ledger’s entries about your account',
    takes: [0, 0],
    async run(call) {
      const rows = await statementOf(await call.ledger(), toHex((await call.owner()).id))
      const header = ['entry', 'time', 'kind', 'available', 'frozen', 'earned']
      const lines = rows.map((row) => [
        String(row.index),
        new Date(row.time).toISOString(),
        row.kind,
        row.available,
        row.frozen,
        row.earned,
      ])
      return { json: rows, text: table([header, ...lines]) }
    },
  },
}

function balanceAnswer(json: BalanceJson): Answer {
  return { json, text: table(Object.entries<string>({ ...json })) }
}
