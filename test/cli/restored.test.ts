/** An agent that has not what its owner said last: its store was lost, or put back as it had been, or others spoke for the owner. */
import { cpSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { createRepositoryClient } from '../../agent/clients/repository-client.ts'
import { realEnvironment } from '../../infra/environment.ts'
import { fromHex, fromUtf8, toHex } from '../../protocol/bytes.ts'
import { limits } from '../../protocol/limits.ts'
import { signerFrom } from '../../protocol/signed.ts'
import { parseHead, writeBook } from '../../protocol/vouch.ts'
import { scratch } from '../local/scratch.ts'
import { openTown } from './town.ts'

const town = openTown()
const folder = scratch()
const { you, neighbour } = town
const [ANN, BEN, CAROL, DORA, THIEF] = ['a', 'b', 'c', 'd', 'f'].map((digit) => digit.repeat(64)) as [
  string,
  string,
  string,
  string,
  string,
]

const STORE_FILES = ['store.sqlite', 'store.sqlite-wal', 'store.sqlite-shm']

async function loseStore(): Promise<void> {
  await town.stop()
  for (const file of STORE_FILES) rmSync(join(you.home, 'agent', file), { force: true })
  await town.start()
}

const trusted = async (): Promise<string[]> => {
  const all = await you.ask<{ id: string; trusted: boolean }[]>('trust')
  return all.filter((one) => one.trusted).map(({ id }) => id)
}

const repository = () => createRepositoryClient({ environment: realEnvironment(), url: town.network().repositoryUrl })

const keyIn = (home: string) => signerFrom(fromHex(fromUtf8(readFileSync(join(home, 'key'))).trim(), 32))

describe('an agent whose store was lost', () => {
  beforeAll(async () => {
    await you.ask('vouch', neighbour.id())
    await you.ask('vouch', ANN)
    await loseStore()
  })

  test('trusts whom its owner vouched for, and lets the owner vouch on', async () => {
    expect(await you.ask('trust', ANN)).toMatchObject({ trusted: true })
    expect(await you.ask('vouch', BEN)).toMatchObject({ trusted: true })
    expect((await trusted()).toSorted()).toEqual([ANN, BEN, neighbour.id()].toSorted())
  })
})

describe('an agent whose store was put back as it had been', () => {
  beforeAll(async () => {
    const copy = folder()
    await town.stop()
    cpSync(join(you.home, 'agent'), copy, { recursive: true })
    await town.start()
    await you.ask('vouch', CAROL)
    await you.ask('unvouch', ANN)
    await loseStore()
    await town.stop()
    cpSync(copy, join(you.home, 'agent'), { recursive: true })
    await town.start()
  })

  test('goes on with what its owner said last, and lets the owner vouch on', async () => {
    expect(await you.ask('vouch', DORA)).toMatchObject({ trusted: true })
    expect((await trusted()).toSorted()).toEqual([BEN, CAROL, DORA, neighbour.id()].toSorted())
  })
})

/** Whoever has the owner's key vouches for their mate beside whomever the owner vouches for. */
async function vouchForThief(): Promise<void> {
  const { head, vouches } = await repository().book(you.id())
  const others = vouches.filter(({ subject }) => toHex(subject) !== THIEF)
  const newest = parseHead(head)
  const nowMs = Date.now()
  const expires = nowMs + limits.bookMs
  const vouch = {
    subject: fromHex(THIEF),
    depth: 4,
    credit: 64,
    scope: '',
    salt: new Uint8Array(16),
    notBefore: nowMs,
    expires,
  }
  const terms = { issuer: fromHex(you.id()), seq: newest.seq + 1, prev: newest.id, issued: nowMs, expires }
  await repository().putBook(you.id(), writeBook(terms, [...others, vouch], keyIn(you.home)))
}

const recover = () => you.ask('recover', '--recovery-file', join(you.home, 'recovery'))

async function restart(): Promise<void> {
  await town.stop()
  await town.start()
}

const published = async (): Promise<string[]> =>
  (await repository().book(you.id())).vouches.map(({ subject }) => toHex(subject)).toSorted()

const revouchable = async (): Promise<string[]> =>
  (await you.ask<{ id: string }[]>('revouch')).map(({ id }) => id).toSorted()

describe('an owner whose key was stolen', () => {
  const own = () => [BEN, CAROL, DORA, neighbour.id()].toSorted()
  let seen: string[]

  beforeAll(async () => {
    await vouchForThief()
    await restart()
    seen = await trusted()
    await recover()
    await restart()
  })

  test('had an agent that took the thief’s book for theirs', () => expect(seen).toContain(THIEF))

  test.each([['vouch'], ['unvouch']])('signs nothing of it again by %s', async (command) => {
    const said = await you.raincheck(command, ANN)
    expect(said).toMatchObject({ code: 5, err: expect.stringContaining('`raincheck revouch`') })
    expect(await trusted()).toEqual([])
  })

  test('is shown whom it vouched for, on which terms, and signs nothing by looking', async () => {
    const shown = await you.ask<{ id: string }[]>('revouch')
    expect(shown.map(({ id }) => id).toSorted()).toEqual([...own(), THIEF].toSorted())
    expect(shown).toContainEqual({
      id: THIEF,
      depth: 4,
      credit: 64,
      since: expect.any(Number),
      expires: expect.any(Number),
    })
    const { out } = await you.raincheck('revouch')
    expect(out).toContain(THIEF)
    expect(out).toContain('raincheck revouch --all --except ID')
    expect(await trusted()).toEqual([])
  })

  test.each([[['--except', BEN]], [['--all', BEN]], [['--all', '--none']], [['--none', BEN]], [['BEN']]])(
    'signs nothing for words that contradict each other: %j',
    async (words) => {
      expect(await you.raincheck('revouch', ...words)).toMatchObject({ code: 2 })
    },
  )

  test.each([[[ANN]], [['--all', '--except', ANN]]])('signs nothing where an id is none of them: %j', async (words) => {
    expect(await you.raincheck('revouch', ...words)).toMatchObject({ code: 3, err: expect.stringContaining(ANN) })
    expect(await trusted()).toEqual([])
  })

  test('is offered nobody again whom they distrust since', async () => {
    await you.ask('distrust', DORA)
    expect(await revouchable()).toEqual([BEN, CAROL, THIEF, neighbour.id()].toSorted())
    await you.ask('undistrust', DORA)
    expect(await revouchable()).toEqual([...own(), THIEF].toSorted())
  })

  test('keeps all but whom they except, and vouches on', async () => {
    await you.ask('revouch', '--all', '--except', THIEF)
    expect((await trusted()).toSorted()).toEqual(own())
    expect(await you.ask('vouch', ANN)).toMatchObject({ trusted: true })
    expect(await published()).toEqual([...own(), ANN].toSorted())
  })

  test('has nothing to sign again then', async () => {
    expect(await revouchable()).toEqual([])
    expect(await you.raincheck('revouch', '--all')).toMatchObject({ code: 3 })
  })
})

describe('an owner whose key was stolen, and who recovers on a machine whose agent knows nothing', () => {
  beforeAll(async () => {
    await vouchForThief()
    await recover()
    await loseStore()
  })

  test('is shown whom the newest book vouched for, and keeps those they name', async () => {
    expect(await you.raincheck('vouch', ANN)).toMatchObject({ code: 5 })
    expect(await revouchable()).toEqual([ANN, BEN, CAROL, DORA, THIEF, neighbour.id()].toSorted())
    await you.ask('revouch', BEN, CAROL)
    expect(await published()).toEqual([BEN, CAROL])
    expect((await trusted()).toSorted()).toEqual([BEN, CAROL])
  })
})

describe('an owner whose key was stolen before the agent saw the thief’s book', () => {
  beforeAll(async () => {
    await restart()
    await you.ask('vouch', ANN)
    await vouchForThief()
    await recover()
    await restart()
  })

  test('is shown what the agent had, and may sign none of it', async () => {
    expect(await revouchable()).toEqual([ANN, BEN, CAROL])
    await you.ask('revouch', '--none')
    expect(await published()).toEqual([])
    await you.ask('vouch', DORA)
    expect(await published()).toEqual([DORA])
  })
})

describe('an owner who changes keys again after a recovery', () => {
  test('has no vouch of the thief’s brought back by it', async () => {
    await vouchForThief()
    await recover()
    await you.ask('rotate')
    await loseStore()
    expect(await trusted()).toEqual([])
    expect(await revouchable()).toEqual([DORA, THIEF])
  })

  test('is asked once, and not after the next change', async () => {
    await you.ask('revouch', DORA)
    await you.ask('rotate')
    await restart()
    expect(await revouchable()).toEqual([])
    expect(await you.ask('vouch', ANN)).toMatchObject({ trusted: true })
    expect(await trusted()).toEqual([ANN, DORA])
  })
})
