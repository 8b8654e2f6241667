/** What a ledger's variables say, the same wherever it runs. */
import type { LedgerOptions } from '../ledger/context.ts'
import { fromHex, type Bytes } from '../protocol/bytes.ts'
import { limits } from '../protocol/limits.ts'
import { SettingError, type Settings } from './service-process.ts'

/**
 * The policy of a new log: LEDGER_FAUCET, LEDGER_UNIT_PRICE; LEDGER_ISSUER, LEDGER_FEDERATION and LEDGER_AUTHORITY are
 * public keys in hex: who sells credits, who decides, who admits; nobody, the ledger itself and everybody when empty.
 * LEDGER_LOG_SHARDS is how many shards the log has: fixed when the log begins.
 * @throws SettingError
 */
export function ledgerPolicy({ optional }: Pick<Settings, 'optional'>): LedgerOptions['policy'] {
  const [issuer, keys, authority] = [
    optional('LEDGER_ISSUER', ''),
    optional('LEDGER_FEDERATION', ''),
    optional('LEDGER_AUTHORITY', ''),
  ]
  if (authority !== '' && keys === '') throw new SettingError('LEDGER_AUTHORITY takes a LEDGER_FEDERATION')
  return {
    faucet: credits('LEDGER_FAUCET', optional('LEDGER_FAUCET', '0')),
    unitPrice: credits('LEDGER_UNIT_PRICE', optional('LEDGER_UNIT_PRICE', '1')),
    ...shards(optional('LEDGER_LOG_SHARDS', '1')),
    ...(issuer !== '' && { issuer: publicKey('LEDGER_ISSUER', issuer) }),
    ...(keys !== '' && {
      federation: {
        keys: keys.split(',').map((key) => publicKey('LEDGER_FEDERATION', key.trim())),
        ...(authority !== '' && { authority: publicKey('LEDGER_AUTHORITY', authority) }),
      },
    }),
  }
}

function publicKey(name: string, text: string): Bytes {
  if (!/^[0-9a-f]{64}$/.test(text)) throw new SettingError(`${name} is made of public keys, 64 hex digits each`)
  return fromHex(text)
}

function shards(text: string): Pick<LedgerOptions['policy'], 'shards'> {
  const count = /^[1-9][0-9]?$/.test(text) ? Number(text) : 0
  if (count < 1 || count > limits.logShards)
    throw new SettingError(`LEDGER_LOG_SHARDS is a number from 1 to ${limits.logShards}`)
  return count === 1 ? {} : { shards: count }
}

function credits(name: string, text: string): bigint {
  if (!/^[0-9]{1,18}$/.test(text)) throw new SettingError(`${name} is a whole number of credits`)
  return BigInt(text)
}
