import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { pieceClientOver } from '../../agent/download/piece-client.ts'
import type { Transport } from '../../protocol/environment.ts'
import { bytesOf } from './bazaar-content.ts'

const url = 'https://anna.example/v1/pieces/ab/0'
const signal = new AbortController().signal
const never = new Promise<never>(() => undefined)

const streamOf = (...chunks: readonly Uint8Array[]) =>
  new ReadableStream({ start: (c) => (chunks.forEach((chunk) => c.enqueue(chunk)), c.close()) })
const answering =
  (body: BodyInit | null, init?: ResponseInit): Transport =>
  async () =>
    new Response(body, init)
const ask = (transport: Transport, length: number, onChunk?: (chunk: Uint8Array) => void) => {
  const into = new Uint8Array(length)
  const asked = pieceClientOver(transport).get({
    url,
    headers: { 'x-a': 'b' },
    into,
    signal,
    ...(onChunk && { onChunk }),
  })
  return asked.then((answer) => ({ ...answer, into }))
}

describe('the portable piece client', () => {
  it('reads a body of any chunks into the buffer, and tells of each as it lies there', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(50), { maxLength: 8 }), async (lengths) => {
        const whole = bytesOf(lengths.reduce((sum, length) => sum + length, 0))
        let at = 0
        const chunks = lengths.map((length) => whole.slice(at, (at += length)))
        const heard: number[] = []
        const answer = await ask(answering(streamOf(...chunks)), whole.length, (chunk) => heard.push(...chunk))
        expect(answer).toMatchObject({ status: 200, length: whole.length })
        expect(answer.into).toEqual(whole)
        expect(heard).toEqual([...whole])
      }),
    )
  })

  it.each([
    ['is shorter', 9],
    ['is longer', 11],
    ['is empty', 0],
  ])('refuses a body that %s than the piece', async (_, length) => {
    await expect(ask(answering(streamOf(bytesOf(length))), 10)).rejects.toMatchObject({ code: 'peer-failed' })
    const said = { headers: { 'content-length': String(length) } }
    await expect(ask(answering(bytesOf(length), said), 10)).rejects.toMatchObject({ code: 'peer-failed' })
  })

  it('takes no more of an endless body than the piece has', async () => {
    let pulls = 0
    const endless = new ReadableStream(
      { pull: (c) => (pulls++, c.enqueue(new Uint8Array(1000))) },
      { highWaterMark: 0 },
    )
    await expect(ask(answering(endless), 5000)).rejects.toMatchObject({ code: 'peer-failed' })
    expect(pulls).toBeLessThan(10)
  })

  it('hands back other statuses with their problem, and follows no redirect', async () => {
    const problem = { code: 'tick-replayed', detail: 'The tick was already spent.' }
    expect(await ask(async () => Response.json(problem, { status: 409 }), 10)).toMatchObject({
      status: 409,
      length: 0,
      problem,
    })
    const elsewhere = { status: 307, headers: { location: 'https://elsewhere.example' } }
    expect(await ask(answering('no json', elsewhere), 10)).toMatchObject({ status: 307, length: 0, problem: undefined })
    const huge = answering('"' + 'x'.repeat(200_000) + '"', { status: 402 })
    expect(await ask(huge, 10)).toMatchObject({ status: 402, problem: undefined })
  })

  it('says something in JSON, and hears the answer, whatever its status', async () => {
    const said: Request[] = []
    const transport: Transport = async (request) => {
      said.push(request)
      return new Response('{"key":"abc"}', { status: said.length === 1 ? 200 : 409 })
    }
    const client = pieceClientOver(transport)
    const message = { url, json: { tick: 'é' }, signal }
    expect(await client.post(message)).toEqual({ status: 200, document: { key: 'abc' } })
    expect(await client.post(message)).toEqual({ status: 409, document: { key: 'abc' } })
    expect(said[0]).toMatchObject({ method: 'POST', url, redirect: 'manual' })
    expect(said[0]?.headers.get('content-type')).toBe('application/json')
    expect(await said[0]?.json()).toEqual({ tick: 'é' })
    await expect(pieceClientOver(() => Promise.reject(new TypeError())).post(message)).rejects.toMatchObject({
      code: 'peer-failed',
    })
  })

  it('calls every failure of the network by one name', async () => {
    await expect(ask(() => Promise.reject(new TypeError('refused')), 1)).rejects.toMatchObject({ code: 'peer-failed' })
    const torn = new ReadableStream({ pull: (c) => c.error(new Error('reset')) })
    await expect(ask(answering(torn), 1)).rejects.toMatchObject({ code: 'peer-failed' })
  })

  it.each<[string, Transport]>([
    ['before the answer', () => never],
    ['in the midst of a body', answering(new ReadableStream({ pull: () => never }))],
    ['in the midst of a refusal', answering(new ReadableStream({ pull: () => never }), { status: 409 })],
  ])('stops when told to %s, also where the transport does not', async (_, transport) => {
    const abort = new AbortController()
    const reason = new Error('enough')
    const asked = pieceClientOver(transport).get({ url, headers: {}, into: new Uint8Array(5), signal: abort.signal })
    setImmediate(() => abort.abort(reason))
    await expect(asked).rejects.toBe(reason)
    const late = pieceClientOver(transport).get({ url, headers: {}, into: new Uint8Array(5), signal: abort.signal })
    await expect(late).rejects.toBe(reason)
  })
})
