import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { NODE, nodeStart, npmStart, start, type Child, type ChildOptions } from './child.ts'
import { close, freePort, listen } from './ports.ts'
import { scratch } from './scratch.ts'

const folder = scratch()

async function network(words: readonly string[], options?: ChildOptions, by = nodeStart) {
  const port = await freePort()
  const child = by(['--port', String(port), '--json', ...words], options)
  onTestFinished(() => void child.process.kill('SIGKILL'))
  return { port, child }
}

async function end(child: Child, signal: NodeJS.Signals = 'SIGTERM') {
  child.process.kill(signal)
  return child.ended
}

const raincheck = (dir: string, ...words: string[]) =>
  start(NODE, ['agent/cli/main.ts', ...words], { env: { RAINCHECK_HOME: dir } }).ended

describe('npm start', () => {
  test('says in one line that all listen, serves, and ends with 0 on SIGTERM', async () => {
    const dir = folder()
    const { port, child } = await network(['--data', dir], {}, npmStart)
    const url = (offset: number) => `http://127.0.0.1:${port + offset}`
    expect(await child.ready()).toEqual({
      event: 'ready',
      agent: url(0),
      ledger: url(1),
      repository: url(2),
      neighbour: url(3),
    })
    for (const offset of [0, 1, 2, 3]) expect((await fetch(`${url(offset)}/healthz`)).status).toBe(200)
    const settings = JSON.parse(readFileSync(join(dir, 'you', 'settings.json'), 'utf8')) as object
    expect(settings).toEqual({ agent: url(0), ledger: url(1), repository: url(2) })
    expect(existsSync(join(dir, 'neighbour', 'files'))).toBe(true)
    expect(await end(child)).toMatchObject({ code: 0, err: '' })
  })

  test('ends with 0 on Ctrl-C, which reaches npm and its child', async () => {
    const { child } = await network(['--data', folder()], { detached: true }, npmStart)
    await child.ready()
    process.kill(-(child.process.pid ?? 0), 'SIGINT')
    expect(await child.ended).toMatchObject({ code: 0, err: '' })
  })

  test('keeps owners, shares and credits through restarts, also after a kill', async () => {
    const dir = folder()
    const first = await network(['--data', dir])
    await first.child.ready()
    writeFileSync(join(dir, 'neighbour', 'files', 'kept.bin'), 'kept')
    await raincheck(join(dir, 'neighbour'), 'share', 'kept.bin', '--price', '4')
    const whoami = (await raincheck(join(dir, 'you'), 'whoami', '--json')).out
    await end(first.child)

    const second = nodeStart(['--data', dir, '--json', '--port', String(first.port)])
    await second.ready()
    const got = await raincheck(join(dir, 'you'), 'search', 'kept', '--json')
    const [found] = JSON.parse(got.out) as { infoHash: string }[]
    expect((await raincheck(join(dir, 'you'), 'get', found?.infoHash ?? '', '--wait')).code).toBe(0)
    second.process.kill('SIGKILL')
    await second.ended

    const third = await network(['--data', dir])
    await third.child.ready()
    expect((await raincheck(join(dir, 'you'), 'whoami', '--json')).out).toBe(whoami)
    const balance = JSON.parse((await raincheck(join(dir, 'you'), 'balance', '--json')).out) as { available: string }
    expect(BigInt(balance.available)).toBe(999_996n)
    expect(await end(third.child)).toMatchObject({ code: 0, err: '' })
  })

  test('takes its stores from LEDGER_STORE, REPOSITORY_STORE and AGENT_STORE', async () => {
    const [dir, stores] = [folder(), folder()]
    const spec = (name: string) => `sqlite:${join(stores, `${name}.sqlite`)}`
    const env = { LEDGER_STORE: spec('ledger'), REPOSITORY_STORE: spec('repository'), AGENT_STORE: spec('agent') }
    const { child } = await network(['--data', dir], { env })
    await child.ready()
    for (const name of ['ledger', 'repository', 'agent']) {
      expect(existsSync(join(stores, `${name}.sqlite`))).toBe(true)
    }
    expect(existsSync(join(dir, 'ledger', 'store.sqlite'))).toBe(false)
    expect(existsSync(join(dir, 'you', 'agent', 'store.sqlite'))).toBe(false)
    expect(existsSync(join(dir, 'neighbour', 'agent', 'store.sqlite'))).toBe(true)
    await end(child)

    const other = await network(['--data', dir])
    await other.child.ready()
    const balance = await raincheck(join(dir, 'you'), 'balance', '--json')
    expect(JSON.parse(balance.out)).toMatchObject({ available: '1000000' })
    await end(other.child)
  })

  test('with --open shows the dashboard in a browser, or says where it is', async () => {
    const bin = folder()
    const opened = join(bin, 'opened')
    const script = `#!/bin/sh\necho "$1" > '${opened}.tmp' && mv '${opened}.tmp' '${opened}'\n`
    for (const name of ['xdg-open', 'open']) writeFileSync(join(bin, name), script, { mode: 0o755 })
    const { port, child } = await network(['--data', folder(), '--open'], {
      env: { PATH: `${bin}:${process.env['PATH']}` },
    })
    await child.ready()
    await vi.waitUntil(() => existsSync(opened), { timeout: 20_000 })
    expect(readFileSync(opened, 'utf8')).toBe(`http://127.0.0.1:${port}\n`)
    await end(child)

    const blind = await network(['--data', folder(), '--open'], { env: { PATH: folder() } })
    await blind.child.ready()
    await vi.waitUntil(() => blind.child.said().err.includes('No browser'), { timeout: 20_000 })
    expect(await end(blind.child)).toMatchObject({
      code: 0,
      err: `No browser could be opened: visit http://127.0.0.1:${blind.port}\n`,
    })
  })

  test('without --json tells a person where everything is', async () => {
    const port = await freePort()
    const child = npmStart(['--data', folder(), '--port', String(port)])
    const shown = new Promise<void>((resolve) => {
      child.process.stderr?.on('data', (chunk: Buffer) => {
        if (chunk.includes('npx raincheck')) resolve()
      })
    })
    await shown
    const { code, err } = await end(child)
    expect(code).toBe(0)
    expect(err).toContain(`agent      http://127.0.0.1:${port}`)
    expect(err).toMatch(/your key {3}\/.*you\/key\n.*npx raincheck\n$/)
  })
})

describe('npm start says in one line, and exit code 1, that', () => {
  async function refusal(words: readonly string[], options?: ChildOptions) {
    const { child } = await network(words, options)
    const { code, err, out } = await child.ended
    expect(err.trimEnd().split('\n')).toHaveLength(1)
    expect(out).not.toContain('{')
    return { code, err }
  }

  test.each([0, 1, 2, 3])('one of its ports is taken: the first + %i', async (offset) => {
    const port = await freePort()
    const server = await listen(port + offset)
    const said = await refusal(['--data', folder(), '--port', String(port)])
    await close(server)
    expect(said).toMatchObject({ code: 1, err: expect.stringContaining(`Port ${port + offset} is taken`) })
    expect(said.err).toContain('--port')
  })

  test('its folder is in use by another', async () => {
    const dir = folder()
    const { child } = await network(['--data', dir])
    await child.ready()
    const said = await refusal(['--data', dir])
    expect(said).toMatchObject({ code: 1, err: expect.stringContaining('Another network runs in') })
    await end(child)
  })

  test.each(['/proc/x', '/proc/x/y', '/dev/null/x'])('it cannot write %s', async (dir) => {
    expect(await refusal(['--data', dir])).toMatchObject({ code: 1, err: expect.stringContaining('cannot be written') })
  })

  test('its folder is a file', async () => {
    const file = join(folder(), 'file')
    writeFileSync(file, '')
    const said = await refusal(['--data', file])
    expect(said).toMatchObject({ code: 1, err: expect.stringContaining('cannot be written') })
  })

  test('something else lies where its state should', async () => {
    const dir = folder()
    writeFileSync(join(dir, 'you'), '')
    expect(await refusal(['--data', dir])).toMatchObject({ code: 1, err: expect.stringContaining(join(dir, 'you')) })
  })

  test('its own key is not one', async () => {
    const dir = folder()
    mkdirSync(join(dir, 'ledger'))
    writeFileSync(join(dir, 'ledger', 'key'), 'no key')
    const said = await refusal(['--data', dir])
    expect(said).toMatchObject({ code: 2, err: expect.stringContaining(join(dir, 'ledger', 'key')) })
  })
})

describe('npm start ends with 2 for', () => {
  test.each([
    [['--port', '0'], '--port'],
    [['--port', '65533'], '--port'],
    [['--port', 'http'], '--port'],
    [['--frob'], '--frob'],
    [['extra'], 'extra'],
  ])('%j', async (words, what) => {
    const { code, err } = await nodeStart(words).ended
    expect(code).toBe(2)
    expect(err).toContain(what)
    expect(err).toContain('usage: npm start')
  })

  test('a store of no known kind', async () => {
    const { child } = await network(['--data', folder()], { env: { LEDGER_STORE: 'postgres:x' } })
    const { code, err } = await child.ended
    expect(code).toBe(2)
    expect(err.trimEnd().split('\n')).toHaveLength(1)
  })
})
