/** An owner who leaves the agent that one provider runs for the agent of another. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { realEnvironment } from '../../infra/environment.ts'
import { startNewAgent, type NewAgent } from '../dashboard/new-agent.ts'
import { scratch } from '../local/scratch.ts'
import { eventually, openTown, raincheck, type Said } from './town.ts'

const town = openTown()
const folder = scratch()
const faults: unknown[] = []
const home = join(folder(), 'ada')
let before: NewAgent
let after: NewAgent

const ada = (...words: string[]): Promise<Said> => raincheck(home, words)
async function done(...words: string[]): Promise<string> {
  const said = await ada(...words)
  expect({ words, ...said }).toMatchObject({ words, code: 0 })
  return said.out
}

beforeAll(async () => {
  const start = () => startNewAgent(realEnvironment(), town.network(), (fault) => faults.push(fault))
  ;[before, after] = [await start(), await start()]
})
afterAll(async () => {
  await before.stop()
  await after.stop()
})

const keyOf = async (url: string): Promise<string> => {
  const profile = (await (await fetch(`${url}/.well-known/raincheck`)).json()) as { key: string }
  return profile.key
}

test('claims the first, and uses it', async () => {
  await done('init')
  await done('claim', before.url, '--secret', before.claimSecret)
  await mkdir(join(home, '..', 'drive'))
  await writeFile(join(home, '..', 'drive', 'film.bin'), new Uint8Array(100_000))
  await done('link', 'folder', join(home, '..', 'drive'), '--name', 'drive')
  await done('share', 'film.bin', '--price', '2')
  await done('vouch', town.neighbour.id())
  expect(await done('doctor')).not.toContain('WRONG')
})

test('is told that nobody else has it, and what a wrong secret is', async () => {
  const other = join(folder(), 'eve')
  await raincheck(other, ['init'])
  const [taken, wrong] = [
    await raincheck(other, ['claim', before.url, '--secret', before.claimSecret]),
    await raincheck(other, ['claim', after.url, '--secret', before.claimSecret]),
  ]
  expect(taken).toMatchObject({ code: 1, err: expect.stringContaining('has an owner already') })
  expect(wrong.err).toContain('not the secret')
})

test('leaves it, and goes on at the second with credits and vouches', async () => {
  const old = await keyOf(before.url)
  const credits = JSON.parse(await done('balance', '--json')) as object
  for (const words of [['stop'], ['redeem', '--all'], ['unlink', 'drive']]) await done(...words)
  await done('claim', after.url, '--secret', after.claimSecret)
  expect(await done('delegate', old, '--none')).toContain('acts for you no more')
  expect(JSON.parse(await done('balance', '--json'))).toEqual(credits)
  expect(await done('trust', town.neighbour.id())).toContain('trusted, depth 0')
  await done('link', 'folder', join(home, '..', 'drive'), '--name', 'drive')
  await done('share', 'film.bin', '--price', '3')
  expect(await done('vouch', 'f'.repeat(64))).toContain('trusted')
})

test('keeps the old one from announcing by a new key, which the new one is told of by another claim', async () => {
  await done('rotate')
  expect(await ada('balance')).toMatchObject({ code: 5, err: expect.stringContaining('`raincheck claim` it again') })
  await done('claim', after.url)
  await eventually(
    () => ada('balance'),
    ({ code }) => code === 0,
  )
  expect(await done('doctor')).not.toContain('WRONG')
  expect(await done('trust', town.neighbour.id())).toContain('trusted, depth 0')
  expect(await announcedBy(before.url)).toBe('unknown-key')
  expect(faults).toEqual([])
})

test('who has lost the device takes the agent up on another one, with the recovery key alone', async () => {
  const other = join(folder(), 'new')
  const { id } = JSON.parse(await done('whoami', '--json')) as { id: string }
  const { ledgerUrl, repositoryUrl } = town.network()
  const where = ['--id', id, '--ledger', ledgerUrl, '--repository', repositoryUrl]
  const said = (...words: string[]) => raincheck(other, words)
  expect(await said('recover', '--recovery-file', join(home, 'recovery'), ...where)).toMatchObject({ code: 0 })
  expect(await said('claim', after.url)).toMatchObject({ code: 0, out: `The agent at ${after.url} is yours.\n` })
  await eventually(
    () => said('balance'),
    ({ code }) => code === 0,
  )
  expect(await ada('balance')).toMatchObject({ code: 5 })
  expect((await said('revouch', '--all')).out).toContain(town.neighbour.id())
  expect((await said('vouch', town.neighbour.id())).out).toContain('trusted')
  expect((await said('doctor')).out).not.toContain('WRONG')
})

/** What the repository says to what the agent there goes on to announce. */
async function announcedBy(url: string): Promise<string> {
  const profile = (await (await fetch(`${url}/.well-known/raincheck`)).json()) as { delegation: object }
  const [share] = JSON.parse(await done('shares', '--json')) as { infoHash: string }[]
  const swarm = await fetch(`${url}/v1/contents/${share?.infoHash}/swarm`)
  const { sellers } = (await swarm.json()) as { sellers: { announcement: object }[] }
  const body = JSON.stringify({ announcement: sellers[0]?.announcement, delegation: profile.delegation })
  const headers = { 'content-type': 'application/json' }
  const said = await fetch(`${town.network().repositoryUrl}/v1/announcements`, { method: 'POST', headers, body })
  return ((await said.json()) as { code: string }).code
}
