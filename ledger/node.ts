/**
 * Entry point of the ledger on Node (`npm run ledger`). LEDGER_STORE names the store and LEDGER_KEY_FILE a file with the
 * 32-byte key in hex, made when it is not there; LEDGER_ORIGIN names the log. PORT, HOST, LEDGER_FAUCET and
 * LEDGER_UNIT_PRICE have defaults; the last two count for a new log only.
 * LEDGER_ISSUER, LEDGER_FEDERATION and LEDGER_AUTHORITY are public keys in hex, for a new log: who sells credits, who
 * decides, who says who may have an account.
 * LEDGER_WITNESSES names a file with the witnesses to ask, LEDGER_TILES where to put the log as plain objects.
 */
import { readFile } from 'node:fs/promises'
import { realEnvironment } from '../infra/environment.ts'
import { openObjects } from '../infra/objects.ts'
import { listen } from '../infra/serve.ts'
import { openServiceKey } from '../infra/service-key.ts'
import { SettingError, settings, untilTerminated } from '../infra/service-process.ts'
import { openStore } from '../infra/store/open.ts'
import type { Policy } from '../protocol/arbiter/items.ts'
import { fromHex, type Bytes } from '../protocol/bytes.ts'
import { parseLogPolicy } from '../protocol/log-policy.ts'
import { createLedger } from './ledger.ts'
import type { WitnessPlace } from '../protocol/witness-client.ts'

await untilTerminated('ledger', async (report) => {
  const set = settings(process.env)
  const environment = realEnvironment()
  const secret = await openServiceKey(set.required('LEDGER_KEY_FILE'), environment.random)
  const faucet = credits('LEDGER_FAUCET', set.optional('LEDGER_FAUCET', '0'))
  const unitPrice = credits('LEDGER_UNIT_PRICE', set.optional('LEDGER_UNIT_PRICE', '1'))
  const store = await openStore(set.required('LEDGER_STORE'), {
    createTable: set.optional('RAINCHECK_CREATE_TABLE', '') === '1',
  })
  const origin = set.required('LEDGER_ORIGIN')
  const witnesses = await readWitnesses(set.optional('LEDGER_WITNESSES', ''))
  const policy = { faucet, unitPrice, ...readRoles((name) => set.optional(name, '')) }
  const tiles = set.optional('LEDGER_TILES', '')
  const replica = set.optional('LEDGER_REPLICA', '')
  const replicaStore = replica === '' ? undefined : await openStore(replica, { synchronous: 'normal' })
  const shown = {
    ...(replicaStore && { replicaStore }),
    witnesses,
    ...(tiles !== '' && { objects: await openObjects(tiles) }),
  }
  const ledger = createLedger({ environment, store, secret, origin, policy, ...shown, onFault: report })
  await ledger.start()
  const [port, hostname] = [Number(set.optional('PORT', '8403')), set.optional('HOST', '127.0.0.1')]
  const server = await listen({ fetch: ledger.app.fetch, port, hostname })
  return {
    url: `http://${hostname}:${server.port}`,
    async stop() {
      await server.close()
      await ledger.stop()
      store.close()
      replicaStore?.close()
    },
  }
})

/** @param path of a file that names them, with their URLs (C2SP tlog-policy); none when empty */
async function readWitnesses(path: string): Promise<WitnessPlace[]> {
  if (path === '') return []
  const { witnesses } = parseLogPolicy(await readFile(path, 'utf8'))
  return witnesses.map(({ key, url }) => {
    if (url === undefined) throw new SettingError(`${path} names no URL of the witness ${key.name}`)
    return { key, url }
  })
}

/** Who sells credits, who decides and who admits; nobody, the ledger itself and everybody when empty. */
function readRoles(optional: (name: string) => string): Pick<Policy, 'federation' | 'issuer'> {
  const issuer = optional('LEDGER_ISSUER')
  const [federation, authority] = [optional('LEDGER_FEDERATION'), optional('LEDGER_AUTHORITY')]
  if (authority !== '' && federation === '') throw new SettingError('LEDGER_AUTHORITY takes a LEDGER_FEDERATION')
  return {
    ...(issuer !== '' && { issuer: publicKey('LEDGER_ISSUER', issuer) }),
    ...(federation !== '' && {
      federation: {
        keys: federation.split(',').map((key) => publicKey('LEDGER_FEDERATION', key.trim())),
        ...(authority !== '' && { authority: publicKey('LEDGER_AUTHORITY', authority) }),
      },
    }),
  }
}

function publicKey(name: string, text: string): Bytes {
  if (!/^[0-9a-f]{64}$/.test(text)) throw new SettingError(`${name} is made of public keys, 64 hex digits each`)
  return fromHex(text)
}

function credits(name: string, text: string): bigint {
  if (!/^[0-9]{1,18}$/.test(text)) throw new SettingError(`${name} is a whole number of credits`)
  return BigInt(text)
}
