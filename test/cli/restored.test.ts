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

describe('an owner whose key was stolen', () => {
  beforeAll(async () => {
    await vouchForThief()
    await recover()
    await restart()
  })

  test('replaces the thief’s vouches by the next book, and keeps their own', async () => {
    expect(await you.ask('vouch', ANN)).toMatchObject({ trusted: true })
    expect((await trusted()).toSorted()).toEqual([ANN, BEN, CAROL, DORA, neighbour.id()].toSorted())
    expect((await repository().book(you.id())).vouches).toHaveLength(5)
  })

  test('brings no vouch of the thief’s back by another change of keys', async () => {
    await vouchForThief()
    await recover()
    await you.ask('rotate')
    await loseStore()
    expect(await trusted()).toEqual([])
  })
})
