import { toHex } from '../../../protocol/bytes.ts'
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
      const ledger = await call.ledger()
      const id = toHex((await call.owner()).id)
      const json: Record<string, unknown>[] = []
      for (let after: number | undefined; ;) {
        const { entries } = await ledger.entries(id, after)
        json.push(...entries)
        const last = entries.at(-1)
        if (!last || last.index === after) break
        after = last.index
      }
      return { json, text: table(json.map((entry) => Object.values(entry).map(String))) }
    },
  },
}

function balanceAnswer(json: BalanceJson): Answer {
  return { json, text: table(Object.entries(json).map(([name, credits]) => [name, credits])) }
}
