/** What an owner does when their key, or the machine that has it, is stolen. */
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { createLedgerClient } from '../../agent/clients/ledger-client.ts'
import { createRepositoryClient } from '../../agent/clients/repository-client.ts'
import { pieceClientNode } from '../../agent/download/piece-client-node.ts'
import { readKeyFile } from '../../agent/secret-file.ts'
import { openHome } from '../../agent/home.ts'
import { openAgent } from '../../agent/open.ts'
import { realEnvironment } from '../../infra/environment.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { fromHex, toHex } from '../../protocol/bytes.ts'
import { parseDelegation } from '../../protocol/delegation.ts'
import { parseOperation } from '../../protocol/identity.ts'
import { signerFrom } from '../../protocol/signed.ts'
import { scratch } from '../local/scratch.ts'
import * as shapes from './shapes.ts'
import { openTown, raincheck, type Said } from './town.ts'

const town = openTown()
const folder = scratch()
const environment = realEnvironment()

interface Changed {
  readonly id: string
  readonly key: string
  readonly keys: readonly string[]
}

const keysAtLedger = async (id: string): Promise<readonly string[]> =>
  (await createLedgerClient({ environment, url: town.network().ledgerUrl }).account(id)).keys
const keysAtRepository = async (id: string): Promise<readonly string[]> => {
  const repository = createRepositoryClient({ environment, url: town.network().repositoryUrl })
  return (await repository.identity(id)).state.keys.map(toHex)
}
const keyIn = (home: string, name: string): string =>
  toHex(signerFrom(fromHex(readFileSync(join(home, name), 'utf8').trim())).key)

/** Ends with 0, and what it printed. */
function done<T>(said: Said): T {
  expect(said).toMatchObject({ code: 0 })
  return said.json<T>()
}

/** All that lies in a home but its recovery key. */
async function steal(home: string): Promise<string> {
  const stolen = folder()
  for (const name of ['key', 'identity.json', 'settings.json']) await cp(join(home, name), join(stolen, name))
  return stolen
}

describe('init', () => {
  test('puts a recovery key above the everyday key', async () => {
    const home = join(folder(), 'home')
    const { key } = shapes.owner.parse((await raincheck(home, ['init', '--json'])).json())
    expect(statSync(join(home, 'recovery')).mode & 0o777).toBe(0o600)
    const [operation] = (JSON.parse(readFileSync(join(home, 'identity.json'), 'utf8')) as { operations: unknown[] })
      .operations
    const { body, key: signer, signature } = operation as Record<'body' | 'key' | 'signature', string>
    const envelope = {
      body: Buffer.from(body, 'base64url'),
      key: Buffer.from(signer, 'base64url'),
      signature: Buffer.from(signature, 'base64url'),
    }
    expect(parseOperation(bytesIn(envelope)).keys.map(toHex)).toEqual([keyIn(home, 'recovery'), key])
  })

  test('writes it where it is told, under a passphrase, and over nothing', async () => {
    const [home, elsewhere] = [join(folder(), 'home'), folder()]
    writeFileSync(join(elsewhere, 'passphrase'), 'correct horse battery staple\n')
    const words = ['--recovery-file', join(elsewhere, 'R'), '--recovery-passphrase-file', join(elsewhere, 'passphrase')]
    const said = await raincheck(home, ['init', ...words])
    expect(said).toMatchObject({ code: 0, out: expect.stringContaining(join(elsewhere, 'R')) })
    expect(existsSync(join(home, 'recovery'))).toBe(false)
    expect(readFileSync(join(elsewhere, 'R'), 'latin1')).toMatch(/^age-encryption\.org\/v1\n/)
    const again = await raincheck(join(folder(), 'other'), ['init', '--recovery-file', join(elsewhere, 'R')])
    expect(again).toMatchObject({ code: 1, err: expect.stringContaining('is there already') })
  })

  test('moves it out of a home that has it, under a passphrase, and over nothing', async () => {
    const [home, elsewhere] = [folder(), folder()]
    const owner = (await raincheck(home, ['init', '--json'])).json()
    const secret = readFileSync(join(home, 'recovery'), 'utf8').trim()
    writeFileSync(join(elsewhere, 'there'), '')
    const taken = await raincheck(home, ['init', '--recovery-file', join(elsewhere, 'there')])
    expect(taken).toMatchObject({ code: 1, err: expect.stringContaining('is there already') })
    expect(existsSync(join(home, 'recovery'))).toBe(true)
    writeFileSync(join(elsewhere, 'passphrase'), 'correct horse battery staple\n')
    const place = { path: join(elsewhere, 'R'), passphrase: 'correct horse battery staple' }
    const words = ['--recovery-file', place.path, '--recovery-passphrase-file', join(elsewhere, 'passphrase')]
    expect((await raincheck(home, ['init', ...words, '--json'])).json()).toEqual(owner)
    expect(existsSync(join(home, 'recovery'))).toBe(false)
    expect(toHex((await readKeyFile(place.path, place.passphrase)) ?? new Uint8Array())).toBe(secret)
  })

  test('does not move one that is gone, or that counts no more', async () => {
    const [home, elsewhere] = [folder(), folder()]
    await raincheck(home, ['init', '--recovery-file', join(elsewhere, 'R')])
    const gone = await raincheck(home, ['init', '--recovery-file', join(elsewhere, 'again')])
    expect(gone).toMatchObject({ code: 3, err: expect.stringContaining('raincheck rotate --recovery-file') })
    writeFileSync(join(home, 'recovery'), `${'11'.repeat(32)}\n`)
    const stale = await raincheck(home, ['init', '--recovery-file', join(elsewhere, 'again')])
    expect(stale).toMatchObject({ code: 3, err: expect.stringContaining('raincheck rotate --recovery-file') })
    expect(existsSync(join(elsewhere, 'again'))).toBe(false)
  })

  test.each([['key'], ['recovery'], ['key.age']])('makes no identity where %s is without one', async (name) => {
    const home = folder()
    writeFileSync(join(home, name), `${'11'.repeat(32)}\n`)
    for (const command of ['init', 'whoami']) {
      const said = await raincheck(home, [command])
      expect(said).toMatchObject({ code: 1, err: expect.stringContaining('raincheck recover') })
    }
    expect(existsSync(join(home, 'identity.json'))).toBe(false)
  })

  test('names the way back to a lost key', async () => {
    const home = folder()
    await raincheck(home, ['init'])
    rmSync(join(home, 'key'))
    const said = await raincheck(home, ['init'])
    expect(said).toMatchObject({ code: 3, err: expect.stringContaining('raincheck recover') })
  })

  test('goes on with the same keys where it was interrupted', async () => {
    const whole = folder()
    const made = (await raincheck(whole, ['init', '--json'])).json()
    const key = keyIn(whole, 'key')
    const interrupted = [
      { 'next-key': 'key', recovery: 'recovery' },
      { 'next-key': 'key', recovery: 'recovery', 'next-identity.json': 'identity.json' },
      { key: 'key', recovery: 'recovery', 'next-identity.json': 'identity.json' },
    ]
    for (const files of interrupted) {
      const home = folder()
      for (const [name, from] of Object.entries(files)) await cp(join(whole, from), join(home, name))
      const owner = (await raincheck(home, ['init', '--json'])).json()
      expect(owner['key']).toBe(key)
      if ('next-identity.json' in files) expect(owner).toEqual(made)
      expect([keyIn(home, 'key'), keyIn(home, 'recovery')]).toEqual([key, keyIn(whole, 'recovery')])
      expect(existsSync(join(home, 'next-key'))).toBe(false)
    }
  })
})

/** As plain bytes. */
const bytesIn = (envelope: Record<'body' | 'key' | 'signature', Uint8Array>) => ({
  body: Uint8Array.from(envelope.body),
  key: Uint8Array.from(envelope.key),
  signature: Uint8Array.from(envelope.signature),
})

describe('a thief with the everyday key', () => {
  test('is put out by the recovery key on another machine, at the ledger and the repository alike', async () => {
    const { id, home } = { id: town.neighbour.id(), home: town.neighbour.home }
    const thief = await steal(home)
    const safe = folder()
    await cp(join(home, 'recovery'), join(safe, 'recovery'))
    const robbed = done<Changed>(await raincheck(thief, ['rotate', '--json']))
    expect(robbed.id).toBe(id)
    expect(await raincheck(home, ['rotate'])).toMatchObject({
      code: 5,
      err: expect.stringContaining('raincheck recover'),
    })
    const { ledgerUrl, repositoryUrl } = town.network()
    const words = ['--recovery-file', join(safe, 'recovery'), '--id', id, '--ledger', ledgerUrl]
    const rescued = done<Changed>(
      await raincheck(join(safe, 'home'), ['recover', ...words, '--repository', repositoryUrl, '--json']),
    )
    expect(rescued.keys).toEqual([keyIn(safe, 'recovery'), rescued.key])
    expect(rescued.key).not.toBe(robbed.key)
    expect(await keysAtLedger(id)).toEqual(rescued.keys)
    expect(await keysAtRepository(id)).toEqual(rescued.keys)
    expect((await raincheck(thief, ['rotate'])).code).toBe(5)
    const agent = 'ab'.repeat(31)
    expect((await raincheck(thief, ['delegate', `${agent}cd`, '--json'])).code).not.toBe(0)
    const whoami = shapes.owner.parse((await raincheck(join(safe, 'home'), ['whoami', '--json'])).json())
    expect(whoami).toEqual({ id, key: rescued.key })
  })
})

describe('an owner', () => {
  test('replaces the key, and the agent goes on under a new delegation once it is started again', async () => {
    const before = parseDelegation(town.network().you.agent.context.delegation)
    const changed = await town.you.ask<Changed>('rotate')
    expect(changed.keys).toEqual([keyIn(town.you.home, 'recovery'), changed.key])
    expect(keyIn(town.you.home, 'key')).toBe(changed.key)
    const early = await town.you.raincheck('balance')
    expect(early).toMatchObject({ code: 5, err: expect.stringContaining('restart the agent') })
    expect((await town.you.raincheck('doctor')).out).toContain('owner: if you changed keys, restart the agent')
    await town.stop()
    await town.start()
    const now = parseDelegation(town.network().you.agent.context.delegation)
    expect([toHex(now.key), toHex(now.agent)]).toEqual([changed.key, toHex(before.agent)])
    expect((await town.you.raincheck('balance')).code).toBe(0)
  })

  test('makes another recovery key, which is then the one that counts', async () => {
    const place = join(folder(), 'new-recovery')
    const changed = await town.you.ask<Changed>('rotate', '--recovery-file', place)
    const [above] = changed.keys
    expect(above).toBe(toHex(signerFrom(fromHex(readFileSync(place, 'utf8').trim())).key))
    expect(await keysAtLedger(town.you.id())).toEqual(changed.keys)
    const old = await town.you.raincheck('recover', '--recovery-file', join(town.you.home, 'recovery'))
    // Within the window the key that stood above may still override what a lower one did.
    expect(old).toMatchObject({ code: 0, out: expect.stringContaining('raincheck revouch') })
  })

  test('takes up a change that was interrupted, and makes no second one', async () => {
    const home = folder()
    await raincheck(home, ['init'])
    const [ledger, repository] = ['http://127.0.0.1:9', town.network().repositoryUrl]
    writeFileSync(join(home, 'settings.json'), JSON.stringify({ ledger, repository }))
    expect((await raincheck(home, ['rotate'])).code).toBe(1)
    rmSync(join(home, 'settings.json'))
    const changed = done<Changed>(await raincheck(home, ['rotate', '--json']))
    expect(existsSync(join(home, 'next-identity.json'))).toBe(false)
    expect(keyIn(home, 'key')).toBe(changed.key)
  })

  test.each([
    ['replaces the key', 'rotate'],
    ['puts a thief out', 'recover'],
  ])('who %s while the clock is ahead does so anew once it is right, with the same key', async (_, command) => {
    const home = folder()
    const words = command === 'rotate' ? ['rotate'] : ['recover', '--recovery-file', join(home, 'recovery')]
    const clock = { ...environment.clock, now: () => environment.clock.now() + 3_600_000 }
    const { id } = shapes.owner.parse((await raincheck(home, ['init', '--json'])).json())
    expect((await raincheck(home, ['register', '--ledger', town.network().ledgerUrl])).code).toBe(0)
    const early = await raincheck(home, words, { environment: { ...environment, clock } })
    expect(early).toMatchObject({ code: 1, err: expect.stringContaining('created in the future') })
    const next = keyIn(home, 'next-key')
    const changed = done<Changed>(await raincheck(home, [...words, '--json']))
    expect(changed.key).toBe(next)
    expect(await keysAtLedger(id)).toEqual(changed.keys)
  })

  test('without a running agent tells the ledger where the account was opened', async () => {
    const home = folder()
    const { id } = shapes.owner.parse((await raincheck(home, ['init', '--json'])).json())
    expect((await raincheck(home, ['register', '--ledger', town.network().ledgerUrl])).code).toBe(0)
    const changed = done<Changed>(await raincheck(home, ['rotate', '--json']))
    expect(await keysAtLedger(id)).toEqual(changed.keys)
  })

  test('is told that no ledger was told, or names one', async () => {
    const home = folder()
    const { id } = shapes.owner.parse((await raincheck(home, ['init', '--json'])).json())
    expect((await raincheck(home, ['rotate'])).out).toContain('No ledger was told')
    const { ledgerUrl, repositoryUrl } = town.network()
    const words = ['rotate', '--ledger', ledgerUrl, '--repository', repositoryUrl]
    const changed = done<Changed & { told: readonly string[] }>(await raincheck(home, [...words, '--json']))
    expect(changed.told).toEqual([ledgerUrl, repositoryUrl])
    expect(await keysAtLedger(id)).toEqual(changed.keys)
    expect((await raincheck(home, words)).out).not.toContain('No ledger was told')
  })

  test('moves to a host that has no key of theirs: the agent says who it is, which file is damaged, and goes on once it is delegated to', async () => {
    const host = folder()
    for (const name of ['identity.json', 'settings.json']) await cp(join(town.you.home, name), join(host, name))
    mkdirSync(join(host, 'agent'))
    const secret = environment.random.bytes(32)
    const open = () =>
      openAgent({
        environment,
        store: openSqlite(':memory:'),
        home: openHome(host),
        secret,
        dir: join(host, 'agent'),
        ledgerUrl: town.network().ledgerUrl,
        repositoryUrl: town.network().repositoryUrl,
        publicUrl: 'http://127.0.0.1:1',
        allowLoopback: true,
        pieceClient: pieceClientNode(() => Promise.reject(new Error('nothing is fetched'))),
        onFault: () => undefined,
      })
    const key = toHex(signerFrom(secret).key)
    await expect(open()).rejects.toThrow(`raincheck delegate ${key} --out`)
    const file = join(host, 'agent', 'delegation.json')
    await town.you.ask('delegate', key, '--out', file)
    const delegation = readFileSync(file)
    for (const half of [delegation.subarray(0, delegation.length / 2), '{}']) {
      writeFileSync(file, half)
      await expect(open()).rejects.toMatchObject({ code: 'bad-encoding', message: expect.stringContaining(file) })
    }
    writeFileSync(file, delegation)
    const { context } = await open()
    expect(toHex(context.signer.key)).toBe(key)
    expect(existsSync(join(host, 'key'))).toBe(false)
  })

  test('lets an agent elsewhere act, and no longer', async () => {
    const { key } = signerFrom(environment.random.bytes(32))
    const out = join(folder(), 'delegation.json')
    const words = [toHex(key), '--day', '5', '--total', '50', '--out', out]
    expect(await town.you.ask('delegate', ...words)).toMatchObject({ agent: toHex(key), day: '5', total: '50' })
    expect(existsSync(out)).toBe(true)
    expect((await town.you.raincheck('delegate', toHex(key), '--none')).code).toBe(0)
    expect((await town.you.raincheck('delegate', 'xyz')).code).toBe(2)
  })
})

test('a recovery key of somebody else, or a wrong file, recovers nothing', async () => {
  const home = folder()
  writeFileSync(join(home, 'R'), `${'11'.repeat(32)}\n`)
  const words = ['recover', '--recovery-file', join(home, 'R'), '--id', town.you.id()]
  const urls = ['--ledger', town.network().ledgerUrl, '--repository', town.network().repositoryUrl]
  expect(await raincheck(home, [...words, ...urls])).toMatchObject({ code: 5 })
  expect(
    await raincheck(home, ['recover', '--recovery-file', join(home, 'none'), ...words.slice(3), ...urls]),
  ).toMatchObject({
    code: 3,
  })
  expect((await raincheck(home, ['recover'])).code).toBe(2)
  expect(existsSync(join(home, 'identity.json'))).toBe(false)
})
