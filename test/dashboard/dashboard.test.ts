import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import fc from 'fast-check'
import { freshNonce, openKey, signedRequest, type Signer } from '../../agent/dashboard/signed-requests.js'
import { toHex } from '../../protocol/bytes.ts'
import { signRequest, verifyRequest } from '../../protocol/http-signature.ts'
import { signerFrom } from '../../protocol/signed.ts'
import { openTown } from '../cli/town.ts'

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
    expect(loaded.size).toBe(5)
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
      { infoHash: share.infoHash, name: 'needle.bin', bytes: 100, sellers: 1, price: '3' },
    ])
  })

  test('is no way into the folder that it lies in', async () => {
    for (const path of ['/dashboard/dashboard.ts', '/dashboard/', '/dashboard/../agent.ts', '/index.html']) {
      expect([path, (await get(path)).status]).toEqual([path, 404])
    }
    expect((await get('/', { method: 'POST' })).status).toBe(405)
  })
})
