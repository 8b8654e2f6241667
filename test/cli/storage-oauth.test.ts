import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createOwnerClient } from '../../agent/cli/owner-client.ts'
import { PROVIDER_HOSTS } from '../../agent/storage/providers.ts'
import { realEnvironment } from '../../infra/environment.ts'
import { DRIVE_CLIENT, DRIVE_FILE_SCOPE, startDrive, type DriveServer } from '../servers/drive.ts'
import { bytesContent } from '../servers/s3-content.ts'
import { DROPBOX_CLIENT, DROPBOX_SCOPE, startDropbox, type DropboxServer } from '../servers/dropbox.ts'
import { pattern } from '../pattern.ts'
import * as shapes from './shapes.ts'
import { openTown, type Person, type Said } from './town.ts'

let drive: DriveServer
let dropbox: DropboxServer
beforeAll(async () => {
  drive = await startDrive()
  dropbox = await startDropbox()
})
afterAll(async () => {
  await drive.close()
  await dropbox.close()
})

const town = openTown(() => ({
  ...PROVIDER_HOSTS,
  googleApi: drive.url,
  googleOauth: drive.url,
  googleToken: drive.url,
  dropboxApi: dropbox.url,
  dropboxContent: dropbox.url,
  dropboxOauth: dropbox.url,
}))
const { you, neighbour } = town

const DRIVE = ['drive', '--client-id', DRIVE_CLIENT.id, '--client-secret', DRIVE_CLIENT.secret]
const DROPBOX = ['dropbox', '--app-key', DROPBOX_CLIENT.id]
const driveToken = (): string[] => ['--refresh-token', drive.oauth.grant(DRIVE_FILE_SCOPE).refreshToken]
const dropboxToken = (): string[] => ['--refresh-token', dropbox.oauth.grant(DROPBOX_SCOPE).refreshToken]

const contentOf = (bytes: Uint8Array) => bytesContent(Uint8Array.from(bytes))

async function everythingUnder(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile())
  return Promise.all(files.map(({ parentPath, name }) => readFile(join(parentPath, name), 'latin1')))
}

/** Whatever a person or a program could read of it shows none of these. */
function expectNoToken(...texts: readonly string[]): void {
  const secrets = [...drive.oauth.issued, ...dropbox.oauth.issued, DRIVE_CLIENT.secret].filter(
    (one) => !one.includes('code-'),
  )
  for (const secret of secrets) for (const text of texts) expect(text.includes(secret)).toBe(false)
}

/** In the agent's log. */
function expectDenied(times: number): void {
  const faults = town.takeFaults()
  expect(faults).toEqual(Array.from({ length: times }, () => expect.objectContaining({ code: 'storage-denied' })))
  expectNoToken(...faults.map((fault) => String((fault as Error).stack) + JSON.stringify(fault)))
}

/** The command in the browser: opens the page that it says, and follows the way back. */
async function inBrowser(person: Person, words: readonly string[], change = (url: URL) => url): Promise<Said> {
  const told = Promise.withResolvers<string>()
  const asked = person.with({ onErr: (text) => told.resolve(text) })('link', ...words, '--port', '0', '--json')
  const [page = ''] = /http:\S+/.exec(await Promise.race([told.promise, asked.then(({ err }) => err)])) ?? []
  const consent = await fetch(page, { redirect: 'manual' })
  const back = consent.headers.get('location')
  if (back !== null) await fetch(change(new URL(back)))
  return asked
}

describe('drives', () => {
  test('are linked with tokens, several at once, and listed with their room', async () => {
    const said = await you.raincheck('link', ...DRIVE, ...driveToken(), '--json')
    expect(shapes.link.parse(said.json())).toMatchObject({
      name: 'drive',
      kind: 'drive',
      quota: { total: drive.state.limit },
    })
    const second = await you.raincheck(
      'link',
      ...DROPBOX,
      ...dropboxToken(),
      '--name',
      'box',
      '--folder',
      'in/it',
      '--json',
    )
    expect(shapes.link.parse(second.json())).toMatchObject({ name: 'box', kind: 'dropbox' })
    const listed = await you.raincheck('links', '--json')
    expect(
      z
        .array(shapes.link)
        .parse(listed.json())
        .map(({ name }) => name),
    ).toEqual(['folder', 'drive', 'box'])
    expectNoToken(said.out, said.err, second.out, second.err, listed.out)
  })

  test('are linked in the browser, at each provider', async () => {
    const [one, two] = [await inBrowser(neighbour, DRIVE), await inBrowser(neighbour, DROPBOX)]
    expect(one.json()).toMatchObject({ name: 'drive', kind: 'drive' })
    expect(two.json()).toMatchObject({ name: 'dropbox', kind: 'dropbox' })
    expectNoToken(one.out, one.err, two.out, two.err)
  })

  test('are linked by the agent itself, to whose page the provider sends the browser back', async () => {
    const { url: agentUrl, home, agent } = town.network().neighbour
    const owner = { owner: agent.context.owner, signer: await home.signer() }
    const client = createOwnerClient({ environment: realEnvironment(), url: agentUrl, ...owner })
    const question = { kind: 'drive', clientId: DRIVE_CLIENT.id, clientSecret: DRIVE_CLIENT.secret, name: 'paged' }
    const { url } = await client.ask<{ url: string }>('POST', '/v1/authorizations', question)
    const back = (await fetch(url, { redirect: 'manual' })).headers.get('location') as string
    expect(back.startsWith(`${agentUrl}/v1/oauth/callback?`)).toBe(true)
    const page = await fetch(back)
    expect(page.status).toBe(200)
    expect(page.headers.get('referrer-policy')).toBe('no-referrer')
    expect(await page.text()).toContain('Linked as “paged”')
    const again = await fetch(back)
    expect([again.status, await again.json()]).toMatchObject([
      404,
      { detail: expect.stringContaining('begin the link anew') },
    ])
    for (const query of [
      '',
      '?error=access_denied',
      '?state=x&code=y',
      '?state=%3Cscript%3E',
      `?code=${'x'.repeat(5000)}`,
    ]) {
      const refused = await fetch(`${agentUrl}/v1/oauth/callback${query}`)
      expect(refused.status).toBeGreaterThanOrEqual(400)
      expect(refused.status).toBeLessThan(500)
      expect(await refused.text()).not.toContain('<script>')
    }
    const told = await fetch(`${agentUrl}/v1/oauth/callback?error=access_denied`, { headers: { accept: 'text/html' } })
    expect([told.status, told.headers.get('referrer-policy')]).toEqual([403, 'no-referrer'])
    expect(await told.text()).toContain('<p>Not linked: it was not allowed. You can close this page.</p>')
    const unsigned = await fetch(`${agentUrl}/v1/authorizations`, { method: 'PUT', body: '{}' })
    expect(unsigned.status).toBe(401)
    await neighbour.ask('unlink', 'paged')
  })

  test('are not linked by an answer to another question, and go on waiting for their own', async () => {
    const said = await inBrowser(neighbour, [...DRIVE, '--name', 'again'], (url) => {
      const forged = new URL(url)
      forged.searchParams.set('state', 'another')
      void fetch(forged).then(() => fetch(url))
      return forged
    })
    expect(said.json()).toMatchObject({ name: 'again' })
    await neighbour.ask('unlink', 'again')
  })

  test('are refused with a token that lets nobody in, without showing it', async () => {
    const said = await you.raincheck(
      'link',
      ...DRIVE,
      '--refresh-token',
      '1//no-such-token',
      '--name',
      'wrong',
      '--json',
    )
    expect(said.code).toBe(6)
    expect(said.json()).toMatchObject({ code: 'storage-denied' })
    expect(said.out).not.toContain('no-such-token')
    const secretless = await you.raincheck('link', ...DRIVE.slice(0, 3), ...driveToken(), '--name', 'wrong')
    expect(secretless).toMatchObject({ code: 2, err: expect.stringContaining('--client-secret') })
    expectDenied(1)
  })

  test('without a client of the owner’s own are not linked', async () => {
    expect(await you.raincheck('link', 'drive')).toMatchObject({ code: 2, out: '' })
    expect(await you.raincheck('link', 'dropbox', '--refresh-token', 'x')).toMatchObject({ code: 2, out: '' })
  })
})

test('a paid download goes from a neighbour’s Drive into an own Dropbox', async () => {
  const bytes = pattern(20_000_000)
  const { id } = [...drive.state.files.values()].find(({ name }) => name === 'Raincheck') ?? {
    id: drive.state.create({ name: 'Raincheck', mimeType: 'application/vnd.google-apps.folder' }).id,
  }
  drive.state.create({ name: 'film.bin', parents: [id], content: contentOf(bytes) })
  const share = shapes.share.parse(await neighbour.ask('share', 'film.bin', '--link', 'drive', '--price', '2'))
  expect(share).toMatchObject({ bytes: bytes.length })
  const download = shapes.download.parse(await you.ask('get', share.infoHash, '--link', 'box', '--wait'))
  expect(download).toMatchObject({ state: 'done', file: 'film.bin', paid: String(2 * share.pieces) })
  const stored = dropbox.state.get('/in/it/film.bin')?.content
  expect(stored && Buffer.from(stored.read(0, stored.size)).equals(bytes)).toBe(true)
  expect([...dropbox.state.entries.keys()].filter((path) => path.includes('partial/'))).toEqual([])
  await neighbour.ask('unshare', share.infoHash)
})

test('a paid download goes from a Dropbox into a Drive, in order', async () => {
  const bytes = pattern(20_000_000, 2)
  dropbox.state.write('/in/it/song.bin', contentOf(bytes))
  const share = shapes.share.parse(await you.ask('share', 'song.bin', '--link', 'box', '--price', '1'))
  const download = shapes.download.parse(await neighbour.ask('get', share.infoHash, '--link', 'drive', '--wait'))
  expect(download).toMatchObject({ state: 'done', file: 'song.bin' })
  const stored = [...drive.state.files.values()].find(({ name }) => name === 'song.bin')?.content
  expect(stored && Buffer.from(stored.read(0, stored.size)).equals(bytes)).toBe(true)
  expect(drive.sessions()).toEqual([])
  await you.ask('unshare', share.infoHash)
})

test('a file is copied between an owner’s own drives', async () => {
  const bytes = pattern(10_000_000, 4)
  dropbox.state.write('/in/it/own.bin', contentOf(bytes))
  await you.ask('copy', 'box:own.bin', 'drive:copies/own.bin')
  expect(await you.ask('copy', 'drive:copies/own.bin', 'box')).toMatchObject({
    state: 'done',
    to: { path: 'own (2).bin' },
  })
  const stored = dropbox.state.get('/in/it/own (2).bin')?.content
  expect(stored && Buffer.from(stored.read(0, stored.size)).equals(bytes)).toBe(true)
})

test('a download goes on when Drive has forgotten the upload in its midst', async () => {
  const bytes = pattern(30_000_000, 3)
  dropbox.state.write('/in/it/show.bin', contentOf(bytes))
  const share = shapes.share.parse(await you.ask('share', 'show.bin', '--link', 'box', '--price', '1'))
  drive.faults.next('put', { kind: 'drop-reply' })
  drive.faults.next('put', { kind: 'refuse', why: 'session-gone' })
  const download = shapes.download.parse(await neighbour.ask('get', share.infoHash, '--link', 'drive', '--wait'))
  expect(download).toMatchObject({ state: 'done', file: 'show.bin' })
  expect(drive.faults.left).toBe(0)
  const stored = [...drive.state.files.values()].find(({ name }) => name === 'show.bin')?.content
  expect(stored && Buffer.from(stored.read(0, stored.size)).equals(bytes)).toBe(true)
  await you.ask('unshare', share.infoHash)
})

test('a link whose grant has ended says so, and the doctor what to do', async () => {
  const { refreshToken } = drive.oauth.grant(DRIVE_FILE_SCOPE, 'another')
  await you.ask('link', ...DRIVE, '--refresh-token', refreshToken, '--name', 'ending', '--folder', 'Ending')
  drive.oauth.revoke(refreshToken)
  const links = z.array(shapes.link).parse(await you.ask('links'))
  const ended = links.find(({ name }) => name === 'ending')
  expect(ended).toMatchObject({ kind: 'drive', reason: 'storage-denied' })
  expectNoToken(JSON.stringify(ended))
  const { out, code } = await you.raincheck('doctor')
  expect([code, out]).toEqual([1, expect.stringContaining('raincheck link drive --name ending')])
  await you.raincheck('unlink', 'ending')
})

test('unlinking takes the token back, and says so when it cannot', async () => {
  const { refreshToken } = drive.oauth.grant(DRIVE_FILE_SCOPE, 'another')
  await you.ask('link', ...DRIVE, '--refresh-token', refreshToken, '--name', 'leaving', '--folder', 'Other')
  expect(await you.ask('unlink', 'leaving')).toMatchObject({ name: 'leaving', revoked: true })
  expect((await you.raincheck('link', ...DRIVE, '--refresh-token', refreshToken)).code).toBe(6)
  expectDenied(1)
  expect(await you.ask('unlink', 'box')).toMatchObject({ name: 'box', revoked: true })
  await you.ask('link', ...DROPBOX, ...dropboxToken(), '--name', 'lost')
  dropbox.faults.next('token', { kind: 'refuse', why: 'busy' }, 3)
  const said = await you.raincheck('unlink', 'lost')
  expect(said).toMatchObject({ code: 0 })
  expect(said.out).toContain('could not be taken back')
})

test('no token shows in what the agents keep in the clear', async () => {
  await town.stop()
  const files = await everythingUnder(town.dir)
  expectNoToken(...files)
  await town.start()
})
