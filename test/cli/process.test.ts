/** The command as a process: its streams, its exit code, its signals, its home. */
import { mkdirSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { NODE, ROOT, start } from '../local/child.ts'
import { scratch } from '../local/scratch.ts'
import * as shapes from './shapes.ts'
import { eventually, openTown, raincheck } from './town.ts'

const town = openTown()
const { you, neighbour } = town
const folder = scratch()
const MAIN = join(ROOT, 'agent/cli/main.ts')

const npx = (words: readonly string[], home = you.home) =>
  start('npx', ['raincheck', ...words], { env: { RAINCHECK_HOME: home } }).ended

describe('npx raincheck', () => {
  test('speaks to the agent of the home it is given, and warns of nothing', async () => {
    const { code, out, err } = await npx(['balance', '--json'])
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(shapes.balance.parse(JSON.parse(out)).available).toBe('1000000')
    expect(await npx(['audit'])).toMatchObject({ code: 0, err: '' })
  })

  test.each([
    [['nonsense'], 2],
    [['get', 'nothing'], 3],
    [['share', '../key'], 6],
  ])('hands on the exit code of %j', async (words, code) => {
    const ended = await npx(words)
    expect(ended).toMatchObject({ code, out: '' })
    expect(ended.err.split('\n')).toHaveLength(2)
  })
})

describe('the home', () => {
  const whoami = (cwd: string, env: Readonly<Record<string, string>>) =>
    start(NODE, [MAIN, 'whoami', '--json'], { cwd, env: { RAINCHECK_HOME: '', ...env } }).ended

  test('is RAINCHECK_HOME, else .raincheck/you where that is, else in the XDG config folder', async () => {
    const [cwd, config, given] = [folder(), folder(), folder()]
    const xdg = await raincheck(join(config, 'raincheck'), ['init', '--json'])
    expect((await whoami(cwd, { XDG_CONFIG_HOME: config })).out).toBe(xdg.out)
    mkdirSync(join(cwd, '.raincheck', 'you'), { recursive: true })
    const local = await raincheck(join(cwd, '.raincheck', 'you'), ['init', '--json'])
    expect((await whoami(cwd, { XDG_CONFIG_HOME: config })).out).toBe(local.out)
    const own = await raincheck(given, ['init', '--json'])
    expect((await whoami(cwd, { XDG_CONFIG_HOME: config, RAINCHECK_HOME: given })).out).toBe(own.out)
  })
})

describe('signals and streams', () => {
  test('SIGINT ends get --wait with 130, and the download goes on', async () => {
    await neighbour.put('waited-for.bin', 1000)
    const { infoHash } = shapes.share.parse(await neighbour.ask('share', 'waited-for.bin'))
    unlinkSync(join(neighbour.files, 'waited-for.bin'))
    const child = start(NODE, [MAIN, 'get', infoHash, '--wait'], { env: { RAINCHECK_HOME: you.home } })
    const [download] = await eventually(
      () => you.ask<{ id: string; state: string }[]>('downloads'),
      ([newest]) => newest?.state === 'waiting',
    )
    child.process.kill('SIGINT')
    child.process.kill('SIGINT')
    expect(await child.ended).toEqual({ code: 130, out: '', err: '' })
    expect(await you.ask('downloads')).toMatchObject([{ id: download?.id, state: 'waiting' }])
  })

  test('a reader that leaves early is no fault', async () => {
    const child = start(NODE, [MAIN, 'help'])
    child.process.stdout?.destroy()
    const { code, err } = await child.ended
    expect({ code, err }).toEqual({ code: 0, err: '' })
  })

  test('a reader of its errors that leaves early changes no exit code', async () => {
    const child = start(NODE, [MAIN, 'nonsense'])
    child.process.stderr?.destroy()
    expect(await child.ended).toMatchObject({ code: 2 })
  })

  test('an answer that cannot be written, as on a full disk, is a failure', async () => {
    const { code, err } = await start('sh', ['-c', '"$0" "$1" help 1<"$1"', NODE, MAIN]).ended
    expect(code).toBe(6)
    expect(err).toMatch(/^raincheck: the answer could not be written: EBADF.*\n$/)
  })
})
