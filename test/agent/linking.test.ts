import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createLinking, type Linking } from '../../agent/storage/linking.ts'
import { createLinks, type Links } from '../../agent/storage/links.ts'
import { createSecrets } from '../../agent/storage/secrets.ts'
import { realEnvironment } from '../../infra/environment.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { limits } from '../../protocol/limits.ts'
import type { Store } from '../../protocol/store.ts'
import { DRIVE_CLIENT, DRIVE_FILE_SCOPE, startDrive, type DriveServer } from '../servers/drive.ts'
import { DROPBOX_CLIENT, startDropbox, type DropboxServer } from '../servers/dropbox.ts'
import { dropboxHosts } from './dropbox-world.ts'
import { googleHosts } from './drive-world.ts'

const PUBLIC = 'http://127.0.0.1:8402'
const DRIVE = { kind: 'drive', clientId: DRIVE_CLIENT.id, clientSecret: DRIVE_CLIENT.secret } as const
const DROPBOX = { kind: 'dropbox', clientId: DROPBOX_CLIENT.id } as const

let drive: DriveServer
let dropbox: DropboxServer
let store: Store
let links: Links
let linking: Linking
let aheadMs = 0

beforeEach(async () => {
  ;[drive, dropbox] = await Promise.all([startDrive(), startDropbox()])
  store = openSqlite(':memory:')
  aheadMs = 0
  const real = realEnvironment()
  const environment = { ...real, clock: { ...real.clock, now: () => real.clock.now() + aheadMs } }
  const secrets = createSecrets(environment.random.bytes(32), environment.random)
  const hosts = { ...googleHosts(drive.url), ...pick(dropboxHosts(dropbox.url)) }
  const context = { store, environment, publicUrl: PUBLIC }
  links = createLinks(context, { secrets, hosts })
  linking = createLinking(context, links, { secrets, hosts })
})
afterEach(async () => {
  await links.close()
  await Promise.all([drive.close(), dropbox.close()])
  store.close()
})

const pick = ({ dropboxApi, dropboxContent, dropboxOauth }: ReturnType<typeof dropboxHosts>) => ({
  dropboxApi,
  dropboxContent,
  dropboxOauth,
})

/** The owner's browser: the page is allowed at once. @returns what it brings back */
async function allow(page: string): Promise<{ place: string; state: string; code: string }> {
  const back = new URL((await fetch(page, { redirect: 'manual' })).headers.get('location') as string)
  const { state = '', code = '' } = Object.fromEntries(back.searchParams)
  return { place: back.origin + back.pathname, state, code }
}

describe('linking in the browser', () => {
  test.each([DRIVE, DROPBOX])('asks the provider for the narrowest scope, with PKCE and state: %o', async (options) => {
    const { url, state } = await linking.begin(options)
    const query = Object.fromEntries(new URL(url).searchParams)
    expect(query).toMatchObject({
      response_type: 'code',
      client_id: options.clientId,
      code_challenge_method: 'S256',
      state,
    })
    expect(query['scope']).not.toMatch(/auth\/drive( |$)|team|sharing/)
    expect(url).not.toContain(DRIVE_CLIENT.secret)
    const answer = await allow(url)
    expect(answer).toMatchObject({ place: `${PUBLIC}/v1/oauth/callback`, state })
    expect(await linking.finish(answer.state, answer.code)).toMatchObject({ name: options.kind, kind: options.kind })
  })

  test('takes each answer once', async () => {
    const { code, state } = await allow((await linking.begin(DRIVE)).url)
    await linking.finish(state, code)
    await expect(linking.finish(state, code)).rejects.toMatchObject({ code: 'not-found' })
    expect(await links.list()).toHaveLength(1)
  })

  test('takes no answer to a question that it did not ask, nor one that comes too late', async () => {
    const { code, state } = await allow((await linking.begin(DRIVE)).url)
    await expect(linking.finish('another', code)).rejects.toMatchObject({ code: 'not-found' })
    aheadMs = limits.authorizationMs
    await expect(linking.finish(state, code)).rejects.toMatchObject({ code: 'not-found' })
  })

  test('says that the provider could not be reached', async () => {
    const { code, state } = await allow((await linking.begin(DRIVE)).url)
    await drive.close()
    await expect(linking.finish(state, code)).rejects.toMatchObject({ code: 'storage-unavailable' })
    drive = await startDrive()
  })

  test('a code that was stolen is worth nothing without the verifier', async () => {
    const mine = await allow((await linking.begin(DRIVE)).url)
    const other = await linking.begin(DRIVE)
    await expect(linking.finish(other.state, mine.code)).rejects.toMatchObject({ code: 'storage-denied' })
    expect(await links.list()).toEqual([])
  })

  test('leads back to the agent or to the owner’s own machine, nowhere else', async () => {
    for (const redirectUri of [
      'https://evil.example/',
      'http://127.0.0.1.evil.example:80/',
      'http://127.0.0.1:80/path',
      'http://127.0.0.1:80@evil.example/',
      'http://127.0.0.1:99999/',
      'http://localhost/',
      '',
    ]) {
      await expect(linking.begin({ ...DRIVE, redirectUri }), `to ${redirectUri}`).rejects.toMatchObject({
        code: 'bad-request',
      })
    }
    await linking.begin({ ...DRIVE, redirectUri: 'http://127.0.0.1:53682/' })
  })

  test('keeps nothing in the clear that would let anybody in, and forgets what nobody answered', async () => {
    const { url, state } = await linking.begin(DRIVE)
    const kept = async (): Promise<string> =>
      (await store.list('authorization', { limit: 10 })).map(({ sk, body }) => sk + Buffer.from(body).toString()).join()
    for (const secret of [state, DRIVE_CLIENT.secret]) expect(await kept()).not.toContain(secret)
    await linking.sweep()
    expect(await kept()).not.toBe('')
    aheadMs = limits.authorizationMs
    await linking.sweep()
    expect(await kept()).toBe('')
    const answer = await allow(url)
    await expect(linking.finish(answer.state, answer.code)).rejects.toMatchObject({ code: 'not-found' })
  })
})

describe('unlinking', () => {
  test.each([DRIVE, DROPBOX])('takes the grant back at the provider: %o', async (options) => {
    const { code, state } = await allow((await linking.begin(options)).url)
    const { name } = await linking.finish(state, code)
    const { storage } = await links.open(name)
    await storage.quota()
    expect(await links.remove(name)).toEqual({ revoked: true })
    await expect(storage.quota()).rejects.toMatchObject({ code: 'storage-denied' })
  })

  test('leaves a grant to the other link that lives by it', async () => {
    const { code, state } = await allow((await linking.begin(DROPBOX)).url)
    await linking.finish(state, code)
    const refreshToken = dropbox.oauth.issued.find((token) => token.includes('refresh')) as string
    const secret = { refreshToken }
    await links.add('dropbox', { appKey: DROPBOX_CLIENT.id, folder: 'other', name: 'other', secret })
    expect(await links.remove('dropbox')).toEqual({})
    await (await links.open('other')).storage.quota()
    expect(await links.remove('other')).toEqual({ revoked: true })
  })

  test('of one of two links of a Google account leaves the grant to the other, which one token would end', async () => {
    for (const folder of ['Films', 'Music']) {
      const { code, state } = await allow((await linking.begin({ ...DRIVE, folder })).url)
      await linking.finish(state, code)
    }
    expect(await links.remove('drive')).toEqual({})
    await (await links.open('drive-2')).storage.quota()
    expect(await links.remove('drive-2')).toEqual({ revoked: true })
  })

  test('of a Google account takes its grant back, whatever other accounts are linked by the same client', async () => {
    for (const user of ['ada', 'bob']) {
      const secret = { ...drive.oauth.grant(DRIVE_FILE_SCOPE, user), clientSecret: DRIVE_CLIENT.secret }
      await links.add('drive', { clientId: DRIVE_CLIENT.id, folder: user, name: user, secret })
    }
    expect(await links.remove('ada')).toEqual({ revoked: true })
    await (await links.open('bob')).storage.quota()
  })

  test('of a Drive leaves the grant alone while it cannot be told whose another Drive is', async () => {
    for (const user of ['ada', 'bob']) {
      const secret = { ...drive.oauth.grant(DRIVE_FILE_SCOPE, user), clientSecret: DRIVE_CLIENT.secret }
      await links.add('drive', { clientId: DRIVE_CLIENT.id, folder: user, name: user, secret })
    }
    drive.faults.next('stat', { kind: 'refuse', why: 'denied' })
    expect(await links.remove('ada')).toEqual({})
  })

  test('forgets what the driver kept for the link', async () => {
    const { code, state } = await allow((await linking.begin(DRIVE)).url)
    const { name } = await linking.finish(state, code)
    await (await links.open(name)).storage.begin('file', 10)
    expect(await store.list('drive/drive', { limit: 10 })).not.toEqual([])
    await links.remove(name)
    expect(await store.list('drive/drive', { limit: 10 })).toEqual([])
  })
})
