/** The three services as processes of their own, as docs/SERVICES.md runs them. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { NODE, start, type Child, type ChildOptions } from './child.ts'
import { freePort } from './ports.ts'
import { scratch } from './scratch.ts'

const folder = scratch()
const running: Child[] = []
afterAll(() => running.forEach(({ process }) => process.kill('SIGKILL')))

type Variables = NonNullable<ChildOptions['env']>

function service(name: string, env: Variables): Child {
  const child = start(NODE, ['--disable-warning=ExperimentalWarning', `${name}/node.ts`], { env })
  running.push(child)
  return child
}

const raincheck = (env: Variables, ...words: string[]) => start(NODE, ['agent/cli/main.ts', ...words], { env }).ended

test('make a network of their own, with an owner whose key is under a passphrase', async () => {
  const [dir, port] = [folder(), await freePort()]
  const url = (offset: number) => `http://127.0.0.1:${port + offset}`
  const ledger = service('ledger', {
    PORT: String(port + 1),
    LEDGER_STORE: `sqlite:${join(dir, 'ledger', 'store.sqlite')}`,
    LEDGER_KEY_FILE: join(dir, 'ledger', 'key'),
    LEDGER_ORIGIN: 'ledger.example/log',
    LEDGER_FAUCET: '1000',
  })
  const repository = service('repository', {
    PORT: String(port + 2),
    REPOSITORY_STORE: `sqlite:${join(dir, 'repository.sqlite')}`,
    REPOSITORY_ALLOW_LOOPBACK: '1',
  })
  expect(await ledger.ready()).toEqual({ event: 'ready', service: 'ledger', url: url(1) })
  expect(await repository.ready()).toEqual({ event: 'ready', service: 'repository', url: url(2) })

  const [home, passphrase] = [join(dir, 'ada'), join(dir, 'passphrase')]
  writeFileSync(passphrase, 'correct horse\n')
  expect((await raincheck({ RAINCHECK_HOME: home }, 'init', '--passphrase-file', passphrase)).code).toBe(0)
  const variables = {
    PORT: String(port),
    RAINCHECK_HOME: home,
    LEDGER_URL: url(1),
    REPOSITORY_URL: url(2),
    RAINCHECK_ALLOW_LOOPBACK: '1',
  }
  const locked = await service('agent', variables).ended
  expect(locked).toMatchObject({ code: 1, err: expect.stringMatching(/^raincheck agent: The key is encrypted.*\n$/) })
  const agent = service('agent', { ...variables, RAINCHECK_PASSPHRASE_FILE: passphrase })
  expect(await agent.ready()).toEqual({ event: 'ready', service: 'agent', url: url(0) })

  const balance = await raincheck({ RAINCHECK_HOME: home }, 'balance', '--json', '--passphrase-file', passphrase)
  expect(JSON.parse(balance.out)).toMatchObject({ available: '1000' })
  for (const child of [agent, repository, ledger]) {
    child.process.kill('SIGTERM')
    expect(await child.ended).toMatchObject({ code: 0, err: '' })
  }
  // The delegation holds: from now on the agent needs its own key alone.
  const again = service('agent', { ...variables, PORT: String(port + 3), HOST: 'localhost' })
  expect(await again.ready()).toMatchObject({ url: `http://localhost:${port + 3}` })
  const settings = () => JSON.parse(readFileSync(join(home, 'settings.json'), 'utf8')) as Record<string, string>
  // Whoever gave it another port means that agent from now on.
  expect(settings()).toEqual({ agent: url(3), ledger: url(1), repository: url(2) })
  again.process.kill('SIGTERM')
  expect((await again.ended).code).toBe(0)

  const elsewhere = { ...settings(), agent: 'https://agent.example' }
  writeFileSync(join(home, 'settings.json'), JSON.stringify(elsewhere))
  const other = service('agent', variables)
  await other.ready()
  expect(settings()).toEqual(elsewhere)
  other.process.kill('SIGTERM')
  expect((await other.ended).code).toBe(0)
})

test.each([
  ['ledger', {}, 2, /^raincheck ledger: set LEDGER_/],
  ['repository', {}, 2, /^raincheck repository: set REPOSITORY_STORE\n$/],
  ['repository', { REPOSITORY_STORE: 'file:x' }, 2, /^raincheck repository: A store is named /],
  [
    'repository',
    { REPOSITORY_STORE: 'sqlite::memory:', PORT: 'abc' },
    2,
    /^raincheck repository: PORT takes a number from 0 to 65535\n$/,
  ],
  ['agent', { RAINCHECK_HOME: '' }, 2, /^raincheck agent: set RAINCHECK_HOME\n$/],
  [
    'agent',
    {
      RAINCHECK_HOME: '/nowhere/at/all',
      LEDGER_URL: 'http://127.0.0.1:1',
      REPOSITORY_URL: 'http://127.0.0.1:1',
      AGENT_STORE: 'sqlite::memory:',
    },
    1,
    /^raincheck agent: No identity in .*: run `raincheck init` first\.\n$/,
  ],
])('the %s with %j cannot start, and says why in one line', async (name, variables, code, line) => {
  const ended = await service(name, variables).ended
  expect(ended).toMatchObject({ code, out: '', err: expect.stringMatching(line) })
})
