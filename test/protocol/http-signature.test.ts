import fc from 'fast-check'
import { parseDictionary, type InnerList } from 'structured-headers'
import { describe, expect, it } from 'vitest'
import { fromBase64url, fromHex, utf8 } from '../../protocol/bytes.ts'
import { signatureBase, signRequest, verifyRequest, type SignRequestOptions } from '../../protocol/http-signature.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import { verify } from '../../protocol/signature.ts'
import { signerFrom } from '../../protocol/signed.ts'
import vectors from '../vectors/http-signature.json' with { type: 'json' }

const NOW = 1_700_000_000_000
const audience = 'ab'.repeat(32)
const nonce = 'AAECAwQFBgcICQoLDA0ODw'
const authorities = ['agent.example', 'localhost:8402']
const signer = signerFrom(new Uint8Array(32).fill(1))
const sign = (request: Request, changes: Partial<SignRequestOptions> = {}): Promise<Request> =>
  signRequest(request, { signer, audience, nowMs: NOW, nonce, ...changes })
const check = (request: Request, nowMs = NOW): ReturnType<typeof verifyRequest> =>
  verifyRequest(request, { authorities, audience, nowMs })
const get = (url = 'https://agent.example/v1/shares?state=all'): Request => new Request(url)
const post = (body: BodyInit = '{"path":"film.mkv"}'): Request =>
  new Request('https://agent.example/v1/shares', {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json' },
  })

/** The request again with some headers replaced, or dropped when undefined; as an intermediary might. */
function altered(request: Request, headers: Readonly<Record<string, string | undefined>>, url = request.url): Request {
  const changed = new Headers(request.headers)
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined) changed.delete(name)
    else changed.set(name, value)
  }
  return new Request(url, { method: request.method, headers: changed })
}

const header = (request: Request, name: string): string => request.headers.get(name) ?? ''
const rejects = (request: Request, code: string, nowMs = NOW): Promise<void> =>
  expect(check(request, nowMs)).rejects.toMatchObject({ code })

describe('the signature base', () => {
  it.each(vectors.bases)('is that of $name', ({ components, input, base, key, secret, signature }) => {
    const parsed = [...parseDictionary(input).values()][0] as InnerList
    const built = signatureBase(components as [string, string][], parsed)
    expect(built).toBe(base.join('\n'))
    expect(verify(fromBase64url(signature), utf8(built), fromBase64url(key))).toBe(true)
    expect(signerFrom(fromBase64url(secret)).sign(utf8(built))).toEqual(fromBase64url(signature))
  })
})

describe('a signed request', () => {
  it.each(vectors.requests)(
    '$name has the headers of the vector',
    async ({ method, url, body, headers, ...options }) => {
      const request = new Request(url, { method, ...(body === undefined ? {} : { body }) })
      const signed = await signRequest(request, { ...options, signer: signerFrom(fromHex(options.secret)) })
      for (const [name, value] of Object.entries(headers)) expect(header(signed, name)).toBe(value)
    },
  )

  it('names its signer, its nonce and its time', async () => {
    expect(await check(await sign(get()))).toEqual({ key: signer.key, nonce, createdMs: NOW })
    expect((await check(await sign(get(), { nowMs: NOW + 999 }))).createdMs).toBe(NOW)
  })

  it('keeps method, headers and body, and the body can be read after the check', async () => {
    const signed = await sign(post())
    await check(signed)
    expect(signed.method).toBe('POST')
    expect(header(signed, 'content-type')).toBe('application/json')
    expect(await signed.json()).toEqual({ path: 'film.mkv' })
  })

  it('may have any body, also none', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 2000 }), async (bytes) => {
        const signed = await sign(post(new Uint8Array(bytes)))
        await check(signed)
        expect(new Uint8Array(await signed.arrayBuffer())).toEqual(new Uint8Array(bytes))
      }),
      { numRuns: 25 },
    )
  })

  it.each([
    'https://agent.example/',
    'https://agent.example',
    'https://AGENT.example:443/v1/shares',
    'http://localhost:8402/v1/downloads/a%20b',
    'http://agent.example:80/v1/shares?',
    'https://agent.example/v1/shares?a=1&a=2&b=%2F',
  ])('is accepted at %s', async (url) => {
    await expect(check(await sign(get(url)))).resolves.toMatchObject({ nonce })
  })

  it('stays fresh for as long as the limits say', async () => {
    const signed = await sign(get())
    await expect(check(signed, NOW + limits.requestAgeMs)).resolves.toBeDefined()
    await expect(check(signed, NOW - limits.clockSkewMs)).resolves.toBeDefined()
    await rejects(signed, 'stale-request', NOW + limits.requestAgeMs + 1)
    await rejects(signed, 'stale-request', NOW - limits.clockSkewMs - 1)
  })

  it('may bear others’ signatures too', async () => {
    const signed = await sign(get())
    const both = altered(signed, {
      'signature-input': `proxy=("@method");created=1;keyid="gw", ${header(signed, 'signature-input')}`,
      signature: `proxy=:AAAA:, ${header(signed, 'signature')}`,
    })
    await expect(check(both)).resolves.toMatchObject({ nonce })
  })
})

describe('a request is refused when', () => {
  it('nobody signed it', async () => {
    await rejects(get(), 'bad-signature')
  })

  it('it is for another audience', async () => {
    await rejects(await sign(get(), { audience: 'cd'.repeat(32) }), 'bad-signature')
  })

  it.each([
    'https://other.example/v1/shares',
    'https://agent.example:8443/',
    'http://localhost/',
    'https://agent.example.evil.example/',
  ])('it was signed for %s', async (url) => {
    await rejects(await sign(get(url)), 'bad-signature')
  })

  it.each([
    ['authority', 'http://localhost:8402/v1/shares?state=all'],
    ['path', 'https://agent.example/v1/links?state=all'],
    ['query', 'https://agent.example/v1/shares?state=none'],
    ['query, dropped', 'https://agent.example/v1/shares'],
  ])('it is moved to another %s', async (_, url) => {
    await rejects(altered(await sign(get()), {}, url), 'bad-signature')
  })

  it('its method is changed', async () => {
    const signed = await sign(get())
    await rejects(new Request(signed.url, { method: 'DELETE', headers: signed.headers }), 'bad-signature')
  })

  it('its body is changed, dropped, added, or given another digest', async () => {
    const signed = await sign(post())
    const again = (body: string | undefined, headers: HeadersInit): Request =>
      new Request(signed.url, { method: 'POST', headers, ...(body === undefined ? {} : { body }) })
    await rejects(again('{"path":"other"}', signed.headers), 'bad-signature')
    await rejects(again(undefined, signed.headers), 'bad-signature')
    const digest = header(await sign(post('{"path":"other"}')), 'content-digest')
    const swapped = new Headers(signed.headers)
    swapped.set('content-digest', digest)
    await rejects(again('{"path":"other"}', swapped), 'bad-signature')
    const empty = await sign(new Request(signed.url, { method: 'POST' }))
    await rejects(again('{"path":"film.mkv"}', empty.headers), 'bad-signature')
  })

  it('its body is longer than allowed, without reading on', async () => {
    const signed = await sign(post('x'.repeat(limits.jsonBytes + 1)))
    await rejects(signed, 'too-large')
    const options = { authorities, audience, nowMs: NOW, maxBodyBytes: limits.jsonBytes + 1 }
    await expect(verifyRequest(await sign(post('x'.repeat(limits.jsonBytes + 1))), options)).resolves.toBeDefined()
  })

  it('a stranger sends a body: it is not read before the signature holds, nor before its key is known', async () => {
    let pulled = 0
    const body = new ReadableStream(
      {
        pull(controller) {
          pulled++
          controller.enqueue(new Uint8Array(1000))
        },
      },
      { highWaterMark: 0 },
    )
    const signed = await sign(post())
    const init: RequestInit & { duplex: 'half' } = { method: 'POST', body, duplex: 'half', headers: signed.headers }
    const requireKey = async (): Promise<never> => {
      throw new Problem('unknown-key', 'Nobody knows it.')
    }
    const asked = verifyRequest(new Request(signed.url, init), { authorities, audience, nowMs: NOW, requireKey })
    await expect(asked).rejects.toMatchObject({ code: 'unknown-key' })
    init.headers = new Headers(signed.headers)
    init.headers.set('signature', `raincheck=:${btoa('\0'.repeat(64))}:`)
    await rejects(new Request(signed.url, init), 'bad-signature')
    expect(pulled).toBe(0)
  })

  it.each<[string, (input: string) => string]>([
    ['covers the date alone', (input) => input.replace(/\(.*?\)/, '("date")')],
    ['covers nothing', (input) => input.replace(/\(.*?\)/, '()')],
    ['does not cover the method', (input) => input.replace('"@method" ', '')],
    ['does not cover the query', (input) => input.replace(' "@query"', '')],
    ['covers more', (input) => input.replace('"@query"', '"@query" "date"')],
    ['covers a component twice', (input) => input.replace('"@query"', '"@query" "@query"')],
    ['covers the components of the request before', (input) => input.replace('"@path"', '"@path";req')],
    ['names another algorithm', (input) => input.replace('alg="ed25519"', 'alg="hmac-sha256"')],
    ['names the algorithm by a token', (input) => input.replace('alg="ed25519"', 'alg=ed25519')],
    ['names no algorithm', (input) => input.replace(';alg="ed25519"', '')],
    ['has no time', (input) => input.replace(/;created=\d+/, '')],
    ['has a time in fractions', (input) => input.replace(/created=(\d+)/, 'created=$1.5')],
    ['has a time as text', (input) => input.replace(/created=(\d+)/, 'created="$1"')],
    ['has no nonce', (input) => input.replace(/;nonce="[^"]*"/, '')],
    ['has a short nonce', (input) => input.replace(/nonce="[^"]*"/, 'nonce="abc"')],
    ['has a huge nonce', (input) => input.replace(/nonce="[^"]*"/, `nonce="${'a'.repeat(65)}"`)],
    ['has no key', (input) => input.replace(/;keyid="[^"]*"/, '')],
    ['has a key of small order', (input) => input.replace(/keyid="[^"]*"/, `keyid="${'00'.repeat(32)}"`)],
    [
      'has a key in upper case',
      (input) => input.replace(/keyid="([^"]*)"/, (_, key: string) => `keyid="${key.toUpperCase()}"`),
    ],
    ['has another tag', (input) => input.replace('raincheck/', 'other/')],
    ['has a parameter more', (input) => `${input};expires=1800000000`],
  ])('its signature %s, though it verifies', async (_, change) => {
    const signed = await sign(get())
    const input = change(header(signed, 'signature-input'))
    await rejects(resigned(signed, input), 'bad-signature')
  })

  it('it bears two signatures for this audience', async () => {
    const signed = await sign(get())
    const [input, signature] = [header(signed, 'signature-input'), header(signed, 'signature')]
    const second = { 'signature-input': `${input}, b${input}`, signature: `${signature}, b${signature}` }
    await rejects(altered(signed, second), 'bad-signature')
  })

  it.each<[string, Record<string, string | undefined>]>([
    ['there is no signature', { signature: undefined }],
    ['the signature has another label', { signature: `other=:${'A'.repeat(86)}==:` }],
    ['the signature is a text', { signature: 'raincheck="text"' }],
    ['the signature is too short', { signature: 'raincheck=:AAAA:' }],
    ['the input is an item', { 'signature-input': 'raincheck=1' }],
    ['the input is no dictionary', { 'signature-input': '((((' }],
    ['the input is empty', { 'signature-input': '' }],
    ['the digest is no dictionary', { 'content-digest': ':::' }],
  ])('%s', async (_, headers) => {
    await rejects(altered(await sign(get()), headers), 'bad-signature')
  })

  it('its headers are garbage: nothing but problems comes of it', async () => {
    const signed = await sign(get())
    const input = header(signed, 'signature-input')
    const ascii = fc.string({
      unit: fc.integer({ min: 32, max: 126 }).map((code) => String.fromCharCode(code)),
      maxLength: 80,
    })
    const spliced = fc
      .tuple(fc.nat(input.length), fc.nat(4), ascii)
      .map(([at, cut, text]) => input.slice(0, at) + text + input.slice(at + cut))
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(ascii, spliced),
        fc.oneof(ascii, fc.constant(header(signed, 'signature'))),
        async (text, signature) => {
          try {
            await check(altered(signed, { 'signature-input': text, signature }))
            expect(text.trim()).toBe(input)
          } catch (error) {
            expect(error).toBeInstanceOf(Problem)
          }
        },
      ),
      { numRuns: 300 },
    )
  })
})

/** Signs anew what the changed input says, where it can be: so that the policy refuses, not the signature. */
function resigned(request: Request, input: string): Request {
  const list = parseDictionary(input).get('raincheck') as InnerList
  const url = new URL(request.url)
  const values: Record<string, string> = {
    '@method': request.method,
    '@authority': url.host,
    '@path': url.pathname,
    '@query': url.search,
    date: 'Tue, 20 Apr 2021 02:07:55 GMT',
  }
  const components = list[0].map(([item]) => {
    const name = typeof item === 'string' ? item : ''
    return [name, values[name] ?? ''] as const
  })
  const signature = signer.sign(utf8(signatureBase(components, list)))
  return altered(request, {
    date: values['date'],
    'signature-input': input,
    signature: `raincheck=:${btoa(String.fromCharCode(...signature))}:`,
  })
}
