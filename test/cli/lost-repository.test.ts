/** A repository that lost what it had, or was put back as it had been, under the same address. */
import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { noteText, parseCheckpoint } from '../../protocol/checkpoint.ts'
import { scratch } from '../local/scratch.ts'
import { eventually, openTown } from './town.ts'

const town = openTown()
const folder = scratch()
const { you, neighbour } = town
const [ANN, BEN] = ['a'.repeat(64), 'b'.repeat(64)]

interface Report {
  readonly checks: readonly {
    readonly name: string
    readonly ok: boolean
    readonly detail: string
    readonly fix?: string
  }[]
}

const chains = async () => {
  const said = await you.raincheck('doctor', '--json')
  return said.json<Report>().checks.find(({ name }) => name === 'chains')
}

test.each(['put back as it had been', 'lost'])(
  'a repository whose store was %s: the doctor says what to do',
  async (what) => {
    const store = join(town.dir, 'repository')
    const copy = folder()
    await you.ask('vouch', neighbour.id(), '--depth', '1')
    await town.stop()
    cpSync(store, copy, { recursive: true })
    await town.start()
    await neighbour.ask('vouch', ANN)
    await neighbour.ask('vouch', BEN)
    const note = await (await fetch(`${town.network().repositoryUrl}/checkpoint`)).text()
    const { size } = parseCheckpoint(noteText(note))
    await eventually(chains, (one) => one?.detail.includes(` ${size} entries`) === true)
    await town.stop()
    rmSync(store, { recursive: true })
    if (what !== 'lost') cpSync(copy, store, { recursive: true })
    await town.start()
    expect(await chains()).toMatchObject({ ok: false, fix: expect.stringContaining('another URL') })
    // As it was, for whoever comes next.
    await town.stop()
    rmSync(store, { recursive: true })
    cpSync(copy, store, { recursive: true })
    for (const { home } of [you, neighbour])
      for (const file of ['', '-wal', '-shm']) rmSync(join(home, 'agent', `store.sqlite${file}`), { force: true })
    await town.start()
  },
)
