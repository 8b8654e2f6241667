import { chmodSync } from 'node:fs'
import { mkdir, rename, rm, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { realEnvironment } from '../../infra/environment.ts'
import { startNewAgent } from '../dashboard/new-agent.ts'
import * as shapes from './shapes.ts'
import { eventually, openTown, raincheck, type Said } from './town.ts'

const town = openTown()
const { you, neighbour } = town

const report = z.strictObject({
  ok: z.boolean(),
  checks: z.array(
    z.strictObject({
      name: z.string(),
      ok: z.boolean(),
      detail: z.string(),
      fix: z.string().optional(),
      isSkipped: z.literal(true).optional(),
    }),
  ),
})
/** What is wrong, and what to do about it. */
const wrong = (said: Said): Record<string, string | undefined> =>
  Object.fromEntries(
    report.parse(said.json()).checks.flatMap(({ name, ok, isSkipped, fix }) => (ok || isSkipped ? [] : [[name, fix]])),
  )

test('finds nothing wrong with a new network', async () => {
  const said = await you.raincheck('doctor', '--json')
  expect(said.code).toBe(0)
  const { ok, checks } = report.parse(said.json())
  expect(ok).toBe(true)
  expect(checks.map(({ name }) => name)).toEqual([
    'key',
    'agent',
    'settings',
    'owner',
    'clock',
    'delegation',
    'guard',
    'storage',
    'ledger',
    'log',
    'reach',
    'funds',
    'repository',
    'chains',
    'shares',
    'downloads',
  ])
  expect((await you.raincheck('doctor')).out).not.toContain('What to do')
})

test('says which file of the home cannot be read', async () => {
  const home = join(you.home, 'identity.json')
  const { checks } = report.parse((await raincheck(home, ['doctor', '--json'])).json())
  expect(checks[0]).toMatchObject({ name: 'key', ok: false, detail: expect.stringMatching(/ENOTDIR: .*identity/) })
})

test('says that a key lies open', async () => {
  chmodSync(join(you.home, 'key'), 0o644)
  const said = await you.raincheck('doctor', '--json')
  expect(said.code).toBe(1)
  expect(wrong(said)).toEqual({ key: `chmod 600 ${join(you.home, 'key')}` })
  chmodSync(join(you.home, 'key'), 0o600)
})

test('says what a share, a download or a missing storage needs', async () => {
  await neighbour.put('gone.bin', 1000)
  const share = shapes.share.parse(await neighbour.ask('share', 'gone.bin', '--price', '5'))
  const { id } = shapes.download.parse(await you.ask('get', share.infoHash, '--max-price', '1'))
  const waiting = await eventually(
    () => you.raincheck('doctor', '--json'),
    ({ code }) => code === 1,
  )
  expect(wrong(waiting)['downloads']).toContain(`raincheck cancel ${id}`)
  await you.ask('cancel', id)

  await unlink(join(neighbour.files, 'gone.bin'))
  await you.raincheck('get', share.infoHash)
  const withdrawn = await eventually(
    () => neighbour.raincheck('doctor', '--json'),
    ({ code }) => code === 1,
  )
  expect(wrong(withdrawn)['shares']).toContain(`raincheck unshare ${share.infoHash}`)
  expect((await neighbour.raincheck('shares')).out).toContain('withdrawn: "gone.bin" is missing')

  await neighbour.ask('unlink', 'folder')
  expect(wrong(await neighbour.raincheck('doctor', '--json'))['storage']).toContain('raincheck link folder')
})

test('says of a share that the repository found too large that nobody finds it', async () => {
  await you.put('wide.bin', 1000)
  await you.ask('share', 'wide.bin', '--price', '5')
  const refused = 'https://repository.example takes no request of 5000000 bytes.'
  const real = realEnvironment()
  const transport = async (request: Request): Promise<Response> => {
    const answer = await real.transport(request)
    if (!request.url.endsWith('/v1/shares')) return answer
    return Response.json(((await answer.json()) as object[]).map((share) => ({ ...share, refused })))
  }
  const said = you.with({ environment: { ...real, transport } })
  expect((await said('shares')).out).toContain(`not in the repository: ${refused}`)
  expect(wrong(await said('doctor', '--json'))['shares']).toContain('raincheck share wide.bin')
})

test('says that the agent is stopped, or that a cap of today is reached', async () => {
  await you.ask('stop')
  expect(wrong(await you.raincheck('doctor', '--json'))['guard']).toBe('`raincheck start`')
  await you.ask('start')
  await you.ask('caps', '--spend', '0')
  expect(wrong(await you.raincheck('doctor', '--json'))['guard']).toContain('--spend')
  await you.ask('caps', '--spend', 'none', '--serve', '1KiB')
  expect(wrong(await you.raincheck('doctor', '--json'))['guard']).toContain('--serve')
  await you.ask('caps', '--serve', 'none')
})

test.each([
  ['ledger', 3600],
  ['repository', -3600],
])('says that the clock of the agent is not that of its %s', async (service, aheadS) => {
  const { ledgerUrl, repositoryUrl } = town.network()
  const url = service === 'ledger' ? ledgerUrl : repositoryUrl
  const real = realEnvironment()
  const transport = async (request: Request): Promise<Response> => {
    const { body, status, headers } = await real.transport(request)
    const date = new Date(Date.now() + (request.url.startsWith(url) ? aheadS * 1000 : 0)).toUTCString()
    return new Response(body, { status, headers: { ...Object.fromEntries(headers), date } })
  }
  const said = await you.with({ environment: { ...real, transport } })('doctor')
  expect(said).toMatchObject({
    code: 1,
    out: expect.stringMatching(`WRONG +clock +the ${service}’s is 3[56]\\d\\d s away`),
  })
})

test('says that a linked folder is gone, that settings name other services, and that an agent is nobody’s yet', async () => {
  const folder = join(town.dir, 'passing')
  await mkdir(folder)
  await you.ask('link', 'folder', folder, '--name', 'passing')
  await rm(folder, { recursive: true })
  expect(wrong(await you.raincheck('doctor', '--json'))['storage']).toContain('raincheck unlink passing')
  await you.ask('unlink', 'passing')

  const { home } = town.network().you
  const settings = await home.settings()
  await home.saveSettings({ ...settings, repository: town.network().ledgerUrl })
  expect(wrong(await you.raincheck('doctor', '--json'))['settings']).toContain('settings.json')
  await home.saveSettings(settings)

  const agent = await startNewAgent(realEnvironment(), town.network(), (fault) => {
    throw fault
  })
  const said = await you.with({ agentUrl: agent.url })('doctor', '--json')
  expect(wrong(said)).toEqual({ agent: expect.stringContaining(`raincheck claim ${agent.url} --secret`) })
  await agent.stop()
})

test('says how a linked folder that moved is linked again, so that its shares go on', async () => {
  const [old, now] = [join(town.dir, 'old'), join(town.dir, 'now')]
  await mkdir(old)
  await writeFile(join(old, 'kept.bin'), new Uint8Array(1000))
  await neighbour.ask('link', 'folder', old, '--name', 'place')
  const share = shapes.share.parse(await neighbour.ask('share', 'kept.bin', '--link', 'place', '--price', '1'))
  await rename(old, now)
  const fix = wrong(await neighbour.raincheck('doctor', '--json'))['storage']
  expect(fix).toContain('raincheck link folder … --name place')
  await neighbour.ask('unlink', 'place')
  await neighbour.ask('link', 'folder', now, '--name', 'place')
  expect(shapes.download.parse(await you.ask('get', share.infoHash, '--wait'))).toMatchObject({ state: 'done' })
  await neighbour.ask('unshare', share.infoHash)
  await neighbour.ask('unlink', 'place')
})

test('says that something else answers where the agent should', async () => {
  const said = await you.with({ agentUrl: town.network().ledgerUrl })('doctor', '--json')
  expect(wrong(said)).toEqual({ agent: expect.stringContaining('npm start') })
})

test('says what to start when nothing answers, and looks at nothing that needs it', async () => {
  await town.stop()
  const said = await you.raincheck('doctor', '--json')
  expect(said.code).toBe(1)
  expect(Object.keys(wrong(said))).toEqual(['agent', 'ledger', 'repository'])
  expect((await you.raincheck('doctor')).out).toContain('agent: start it: `npm start`')
  const { checks } = report.parse(said.json())
  expect(checks.filter(({ isSkipped }) => isSkipped)).toHaveLength(12)
  await town.start()
})

test('sends a newcomer to init', async () => {
  const home = join(town.dir, 'nobody')
  const said = await raincheck(home, ['doctor', '--json'])
  expect(wrong(said)['key']).toContain('raincheck init')
  await rm(home, { recursive: true, force: true })
})
