import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import fc from 'fast-check'
import { delegateTo, USUAL_CAPS } from '../../agent/adopt.ts'
import { formatCount } from '../../agent/dashboard/figures.js'
import { bencode, delegationTo, makeOwner, type NewOwner } from '../../agent/dashboard/identity.js'
import { freshNonce, openKey, signedRequest, type Signer } from '../../agent/dashboard/signed-requests.js'
import { openHome } from '../../agent/home.ts'
import { fromHex, toHex } from '../../protocol/bytes.ts'
import { encode } from '../../protocol/encoding.ts'
import { signRequest, verifyRequest } from '../../protocol/http-signature.ts'
import { genesis } from '../../protocol/identity.ts'
import { envelopeToJson, objectId, signerFrom, type Signer as ProtocolSigner } from '../../protocol/signed.ts'
import { realEnvironment } from '../../infra/environment.ts'
import { openTown } from '../cli/town.ts'
import { startNewAgent } from './new-agent.ts'

const SECRET = new Uint8Array(32).map((_, i) => i + 1)
const AUDIENCE = 'ab'.repeat(32)
const NOW_MS = 1_800_000_000_123

describe('a request signed in the page', () => {
  let signer: Signer
  beforeAll(async () => {
    signer = await openKey(`${toHex(SECRET)}\n`)
  })

  test('is byte for byte the one that the command sends', async () => {
    const ask = { method: 'POST', body: '{"path":"ä.txt"}' }
    const nonce = freshNonce()
    const url = 'http://127.0.0.1:8402/v1/shares?x=%20y'
    const ours = await signedRequest(url, ask, { signer, audience: AUDIENCE, nowMs: NOW_MS, nonce })
    const request = new Request(url, { ...ask, headers: { 'content-type': 'application/json' } })
    const options = { signer: signerFrom(SECRET), audience: AUDIENCE, nowMs: NOW_MS, nonce }
    const theirs = await signRequest(request, options)
    expect(Object.fromEntries(ours.headers)).toEqual(Object.fromEntries(theirs.headers))
    expect(await ours.text()).toBe(ask.body)
  })

  test('verifies, whatever is asked', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.webPath(),
        fc.webQueryParameters(),
        fc.option(fc.json(), { nil: undefined }),
        async (path, query, body) => {
          const url = `https://agent.example${path || '/'}${query && `?${query}`}`
          const ask = body === undefined ? { method: 'GET' } : { method: 'PUT', body }
          const nonce = freshNonce()
          const request = await signedRequest(url, ask, { signer, audience: AUDIENCE, nowMs: NOW_MS, nonce })
          const options = { authorities: ['agent.example'], audience: AUDIENCE, nowMs: NOW_MS }
          const verified = await verifyRequest(request, options)
          expect([toHex(verified.key), verified.nonce]).toEqual([signer.keyId, nonce])
        },
      ),
      { numRuns: 50 },
    )
  })

  test('needs a plain key', async () => {
    await expect(openKey('age-encryption.org/v1\n-> scrypt')).rejects.toThrow('passphrase')
    for (const text of [
      '',
      'key',
      toHex(SECRET).slice(1),
      `${toHex(SECRET)}00`,
      toHex(SECRET).toUpperCase().replace('0', 'G'),
    ]) {
      await expect(openKey(text)).rejects.toThrow('not a key file')
    }
  })
})

test('an amount is told to its last digit', () => {
  expect(formatCount('999999999999999999', 'credit')).toBe('999999999999999999 credits')
  expect(formatCount('1', 'credit')).toBe('1 credit')
})

describe('the page', () => {
  const town = openTown()
  const get = (path: string, init?: RequestInit) => fetch(town.network().you.url + path, init)

  test('is at the agent’s address, and asks nothing of anyone else', async () => {
    const page = await get('/')
    expect([page.status, page.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8'])
    const policy = page.headers.get('content-security-policy') ?? ''
    expect(policy).toContain("default-src 'none'")
    expect(policy).not.toMatch(/unsafe|https?:|\*/)
    expect([page.headers.get('x-content-type-options'), page.headers.get('referrer-policy')]).toEqual([
      'nosniff',
      'no-referrer',
    ])
    const html = await page.text()
    expect(html).not.toMatch(/https?:\/\//)
    expect(html).not.toMatch(/ (?:on\w+|style)=/)
    const files = Array.from(html.matchAll(/(?:src|href)="(\/[^"]*)"/g), ([, path = '']) => path)
    expect(files.length).toBeGreaterThan(3)
    for (const path of files) expect([path, (await get(path)).status]).toEqual([path, 200])
  })

  test('comes with every module that it imports', async () => {
    const waiting = ['/dashboard/app.js']
    const loaded = new Set<string>()
    for (const path of waiting) {
      const response = await get(path)
      expect([path, response.status, response.headers.get('content-type')]).toEqual([path, 200, 'text/javascript'])
      loaded.add(path)
      const source = await response.text()
      expect(source).not.toMatch(/innerHTML|insertAdjacentHTML|document\.write|eval\(/)
      const imported = Array.from(
        source.matchAll(/from '(\.[^']*)'/g),
        ([, name = '']) => new URL(name, `http://x${path}`),
      )
      waiting.push(...imported.map(({ pathname }) => pathname).filter((one) => !loaded.has(one)))
    }
    expect(loaded.size).toBe(13)
  })

  test('lets the owner search through the agent, and nobody else', async () => {
    await town.neighbour.put('needle.bin', 100)
    const share = await town.neighbour.ask<{ infoHash: string }>('share', 'needle.bin', '--price', '3')
    const path = '/v1/search?query=needle'
    expect((await get(path)).status).toBe(401)
    const { home, url } = town.network().you
    const signer = await openKey(readFileSync(join(town.you.home, 'key'), 'utf8'))
    const envelope = { signer, audience: toHex((await home.owner()).id), nowMs: Date.now(), nonce: freshNonce() }
    const answer = await fetch(await signedRequest(url + path, { method: 'GET' }, envelope))
    expect(await answer.json()).toEqual([
      { infoHash: share.infoHash, name: 'needle.bin', bytes: 100, pieces: 1, sellers: 1, price: '3' },
    ])
  })

  test('claims a new agent for an owner made in it, whose keys the command can use', async () => {
    const agent = await startNewAgent(realEnvironment(), town.network(), (fault) => {
      throw fault
    })
    const claim = async (owner: NewOwner, secret: string) => {
      const offer = (await (await fetch(`${agent.url}/v1/claim`)).json()) as { key: string; ledgerId: string }
      const delegation = await delegationTo(owner, offer, Date.now())
      const body = JSON.stringify({ secret, operations: owner.operations, delegation })
      const headers = { 'content-type': 'application/json' }
      const answer = await fetch(`${agent.url}/v1/claim`, { method: 'POST', headers, body })
      return (await answer.json()) as { id?: string; code?: string }
    }
    const [owner, thief] = [await makeOwner(Date.now()), await makeOwner(Date.now())]
    expect((await fetch(`${agent.url}/`)).status).toBe(200)
    expect(await claim(owner, 'a wrong secret')).toMatchObject({ code: 'forbidden' })
    // The answer may be lost: the same again is the same.
    for (let i = 0; i < 2; i++) expect(await claim(owner, agent.claimSecret)).toEqual({ id: owner.id })
    expect(await claim(thief, agent.claimSecret)).toMatchObject({ code: 'conflict' })
    const profile = (await (await fetch(`${agent.url}/.well-known/raincheck`)).json()) as { id: string }
    expect(profile.id).toBe(owner.id)
    const envelope = { signer: owner.signer, audience: owner.id, nowMs: Date.now(), nonce: freshNonce() }
    const asked = await signedRequest(`${agent.url}/v1/guard`, { method: 'GET' }, envelope)
    expect(await (await fetch(asked)).json()).toMatchObject({ stopped: false })
    await agent.stop()
  })

  test('is no way into the folder that it lies in', async () => {
    for (const path of ['/dashboard/dashboard.ts', '/dashboard/', '/dashboard/../agent.ts', '/index.html']) {
      expect([path, (await get(path)).status]).toEqual([path, 404])
    }
    expect((await get('/', { method: 'POST' })).status).toBe(405)
  })
})

describe('an owner made in the page', () => {
  const secrets = ['21'.repeat(32), '43'.repeat(32)]
  const made = () => {
    const fresh = [...secrets]
    return makeOwner(NOW_MS, () => fresh.shift() ?? '')
  }
  const [recovery, everyday] = secrets.map((hex) => signerFrom(fromHex(hex)))

  test('is byte for byte the one that the command makes, in the files of a home', async () => {
    const { id, operations, files } = await made()
    const first = genesis([recovery as ProtocolSigner, everyday as ProtocolSigner], NOW_MS)
    expect(operations).toEqual([envelopeToJson(first)])
    expect(id).toBe(toHex(objectId('identity', first.body)))
    const dir = mkdtempSync(join(tmpdir(), 'raincheck-home-'))
    for (const [name, content] of Object.entries(files)) writeFileSync(join(dir, name), content, { mode: 0o600 })
    const home = openHome(dir)
    expect(toHex((await home.owner()).id)).toBe(id)
    expect((await home.signer()).key).toEqual(everyday?.key)
    expect(files['recovery']).toBe(`${secrets[0]}\n`)
    rmSync(dir, { recursive: true, force: true })
  })

  test('delegates as the command does, unless it is told otherwise', async () => {
    const owner = await made()
    const agent = { key: 'ab'.repeat(32), ledgerId: 'cd'.repeat(32) }
    const theirs = delegateTo({
      owner: fromHex(owner.id),
      signer: everyday as ProtocolSigner,
      agent: fromHex(agent.key),
      ledgerId: agent.ledgerId,
      caps: USUAL_CAPS,
      nowMs: NOW_MS,
    })
    expect(await delegationTo(owner, agent, NOW_MS)).toEqual(envelopeToJson(theirs))
  })

  test('has other keys each time', async () => {
    const [one, other] = [await makeOwner(NOW_MS), await makeOwner(NOW_MS)]
    expect(new Set([one, other].flatMap(({ files }) => [files['key'], files['recovery']])).size).toBe(4)
  })

  test('is encoded as the protocol encodes, whatever is in it', () => {
    const value = fc.oneof(
      fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }),
      fc.nat(),
      fc.string({ unit: 'grapheme' }),
      fc.uint8Array({ maxLength: 40 }),
      fc.array(fc.uint8Array({ maxLength: 40 })),
    )
    fc.assert(
      fc.property(
        fc.dictionary(fc.stringMatching(/^[a-zA-Z]{1,8}$/), value, { noNullPrototype: true }),
        (dictionary) => {
          expect(toHex(bencode(dictionary))).toBe(toHex(encode(dictionary)))
        },
      ),
    )
  })
})
