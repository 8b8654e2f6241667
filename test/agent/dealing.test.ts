import { expect, test } from 'vitest'
import { dealing } from '../../agent/dealing.ts'
import { coded } from '../problems.ts'

const read = (variables: Readonly<Record<string, string>>) => dealing((name, otherwise) => variables[name] || otherwise)

test('an agent sells in every mode and stakes what it must, unless its variables say otherwise', () => {
  expect(read({})).toEqual({ modes: ['credit', 'prepaid', 'sealed'] })
  expect(read({ SELL_MODES: 'sealed,credit', STAKE_MOST: '0' })).toEqual({ modes: ['credit', 'sealed'], stakeMost: 0n })
})

test.each([{ SELL_MODES: 'gift' }, { SELL_MODES: 'credit, sealed' }, { STAKE_MOST: '-1' }, { STAKE_MOST: '1.5' }])(
  'refuses %o',
  (variables) => {
    expect(() => read(variables)).toThrow(coded('bad-request'))
  },
)
