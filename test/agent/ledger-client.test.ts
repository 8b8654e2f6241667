import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { sha256 } from '#primitives'
import { createLedgerClient, statementOf } from '../../agent/clients/ledger-client.ts'
import { toBase64url, toHex, utf8 } from '../../protocol/bytes.ts'
import type { Transport } from '../../protocol/environment.ts'
import { limits } from '../../protocol/limits.ts'
import { issueReceipt } from '../../protocol/receipt.ts'
import { envelopeToJson, signerFrom, type Signer } from '../../protocol/signed.ts'
import { transfer } from '../../protocol/settlement.ts'
import { codeOf } from '../problems.ts'
import { handClock } from './hand-clock.ts'

const signer = signerFrom(sha256(utf8('ledger')))
const other = signerFrom(sha256(utf8('another ledger')))
const id = (key: Signer) => sha256(key.key)
const info = {
  id: toHex(id(signer)),
  origin: 'ledger.test',
  key: toHex(signer.key),
  vkey: 'ledger.test+00000000+AAAA',
  network: toHex(id(signer).subarray(0, 16)),
  unitPrice: '1',
  faucet: '1000',
  mergeDelayMs: 10_000,
}
const terms = { amount: 1n, from: id(other), ledger: id(signer), nonce: new Uint8Array(16), to: id(signer) }
const order = transfer(terms, other)
const receiptOf = (issuer: Signer, ledger = id(issuer)) =>
  envelopeToJson(issueReceipt({ entry: sha256(utf8('entry')), ledger, mergeDelay: 10_000, time: 1 }, issuer))

const json = (value: unknown, status = 200) => Response.json(value, { status })
const problem = (status: number, document: object) =>
  new Response(JSON.stringify(document), { status, headers: { 'content-type': 'application/problem+json' } })

/** A ledger that answers `GET /v1/ledger` and, to all else, what the test says. */
function clientOf(answer: (request: Request, attempt: number) => Response | Promise<Response>) {
  const clock = handClock()
  const requests: Request[] = []
  const transport: Transport = async (request) => {
    if (new URL(request.url).pathname === '/v1/ledger') return json(info)
    requests.push(request)
    return answer(request, requests.length)
  }
  const environment = { clock, random: { bytes: (n: number) => new Uint8Array(n) }, transport }
  return { clock, requests, ledger: createLedgerClient({ environment, url: 'http://ledger.test' }) }
}

describe('the ledger client', () => {
  it('reads money as bigint', async () => {
    const account = {
      id: info.id,
      keys: [info.key],
      available: '9007199254740993',
      frozen: '0',
      earned: '7',
      bonds: '2',
      declarations: [],
      lanes: [],
    }
    const { ledger } = clientOf(() => json({ ...account, more: 'is ignored' }))
    expect(await ledger.account(info.id)).toEqual({
      ...account,
      available: 9007199254740993n,
      frozen: 0n,
      earned: 7n,
      bonds: 2n,
    })
  })

  it('reads no statement that goes back, so that it comes to an end', async () => {
    const row = { kind: 'claim', time: 1, entry: info.id, available: '0', frozen: '0', earned: '0', bonds: '0' }
    const page = (...indexes: number[]) => json({ entries: indexes.map((index) => ({ ...row, index })) })
    const { ledger } = clientOf((request) => page(...(request.url.includes('after=9') ? [9] : [3, 9])))
    expect((await ledger.entries(info.id)).entries.map(({ index }) => index)).toEqual([3, 9])
    expect(await codeOf(statementOf(ledger, info.id))).toBe('peer-failed')
    expect(await codeOf(clientOf(() => page(4, 4)).ledger.entries(info.id, 3))).toBe('peer-failed')
  })

  it('asks who the ledger is once, and again after a failure', async () => {
    let asked = 0
    const transport: Transport = async () => (++asked === 1 ? json({ ...info, id: toHex(id(other)) }) : json(info))
    const environment = { clock: handClock(), random: { bytes: (n: number) => new Uint8Array(n) }, transport }
    const ledger = createLedgerClient({ environment, url: 'http://ledger.test' })
    expect(await codeOf(ledger.info())).toBe('peer-failed')
    expect((await ledger.info()).unitPrice).toBe(1n)
    await ledger.info()
    expect(asked).toBe(2)
  })

  it('asks for the price anew each time, and goes by what it knows where the ledger is away', async () => {
    let answer: () => Response = () => json(info)
    const environment = { clock: handClock(), random: { bytes: (n: number) => new Uint8Array(n) } }
    const transport: Transport = async () => answer()
    const ledger = createLedgerClient({ environment: { ...environment, transport }, url: 'http://ledger.test' })
    const price = { seq: 1, unitPrice: '2', effective: 5 }
    expect(await ledger.info()).toMatchObject({ unitPrice: 1n })
    answer = () => json({ ...info, unitPrice: '2', price })
    expect(await ledger.prices()).toMatchObject({ unitPrice: 2n, price: { seq: 1, unitPrice: 2n, effective: 5 } })
    expect((await ledger.info()).unitPrice).toBe(1n)
    answer = () => problem(404, { type: 'urn:x', code: 'not-found', title: 'Gone', status: 404 })
    expect((await ledger.prices()).unitPrice).toBe(1n)
    const stranger = createLedgerClient({ environment: { ...environment, transport }, url: 'http://ledger.test' })
    expect(await codeOf(stranger.prices())).toBe('not-found')
  })

  it('takes a receipt of this ledger only', async () => {
    const answers = [receiptOf(signer), receiptOf(other), receiptOf(other, id(signer)), receiptOf(signer, id(other))]
    const codes = await Promise.all(
      answers.map((receipt) => codeOf(clientOf(() => json({ receipt })).ledger.transfer(order))),
    )
    expect(codes).toEqual(['done', 'peer-failed', 'peer-failed', 'peer-failed'])
  })

  it('refuses a receipt whose signature does not verify', async () => {
    const receipt = { ...receiptOf(signer), signature: toBase64url(new Uint8Array(64)) }
    expect(await codeOf(clientOf(() => json({ receipt })).ledger.transfer(order))).toBe('peer-failed')
  })

  it('passes on what the ledger refuses, with its members', async () => {
    const { ledger, requests } = clientOf(() =>
      problem(409, {
        type: 'urn:x',
        code: 'lane-taken',
        title: 'Taken',
        status: 409,
        detail: 'By another.',
        commitment: 'proof',
      }),
    )
    await expect(ledger.transfer(order)).rejects.toMatchObject({
      code: 'lane-taken',
      message: 'By another.',
      members: { commitment: 'proof' },
    })
    expect(requests).toHaveLength(1)
  })

  it('never takes a fault of the ledger for one of ours', async () => {
    const replies = [
      problem(507, { code: 'storage-full' }),
      problem(400, { code: 'storage-full' }),
      problem(404, { code: 'made-up' }),
    ]
    for (const reply of replies) {
      const { ledger, clock } = clientOf(() => reply.clone())
      expect(await clock.until(codeOf(ledger.account(info.id)))).toBe('peer-failed')
    }
  })

  it('asks again after a lost reply or a 5xx, with the same object', async () => {
    const { ledger, clock, requests } = clientOf((_, attempt) => {
      if (attempt === 1) throw new TypeError('fetch failed')
      return attempt === 2 ? problem(503, { code: 'store-unavailable' }) : json({ receipt: receiptOf(signer) })
    })
    await clock.until(ledger.transfer(order))
    const bodies = await Promise.all(requests.map((request) => request.text()))
    expect(new Set(bodies).size).toBe(1)
    expect(bodies).toHaveLength(3)
  })

  it('waits for as long as a busy ledger says, and no longer than the limit', async () => {
    const elapsed = async (...waits: unknown[]): Promise<number> => {
      const { ledger, clock } = clientOf((_, attempt) =>
        attempt > waits.length
          ? json({ receipt: receiptOf(signer) })
          : problem(503, { code: 'ledger-busy', retryAfterMs: waits[attempt - 1] }),
      )
      const startMs = clock.now()
      await clock.until(ledger.transfer(order))
      return clock.now() - startMs
    }
    expect(await elapsed(1500, 1500, 1500)).toBe(4500)
    expect(await elapsed(1e12)).toBe(limits.callWaitMs)
    expect(await elapsed(-1)).toBe(await elapsed('soon'))
  })

  it('gives up after a number of tries', async () => {
    const { ledger, clock, requests } = clientOf(() => Promise.reject(new TypeError('fetch failed')))
    expect(await clock.until(codeOf(ledger.account(info.id)))).toBe('peer-failed')
    expect(requests).toHaveLength(limits.callAttempts)
  })

  it('does not wait for ever for an answer, nor for the rest of one', async () => {
    const silent = () => new Promise<Response>(() => undefined)
    const stalled = () => new Response(new ReadableStream({ pull: () => new Promise(() => undefined) }))
    for (const answer of [silent, stalled]) {
      const { ledger, clock } = clientOf(answer)
      expect(await clock.until(codeOf(ledger.account(info.id)))).toBe('peer-failed')
    }
  })

  it('reads no more than the limit', async () => {
    let pulled = 0
    const endless = () =>
      new Response(
        new ReadableStream({
          pull(controller) {
            pulled++
            controller.enqueue(new Uint8Array(1024 * 1024))
          },
        }),
      )
    const { ledger, clock } = clientOf(endless)
    expect(await clock.until(codeOf(ledger.checkpoint()))).toBe('peer-failed')
    expect(pulled).toBeLessThan(limits.callAttempts * (limits.replyBytes / (1024 * 1024) + 4))
  })

  it('answers whatever comes with a problem', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(fc.json(), fc.string()),
        fc.constantFrom(200, 201, 301, 400, 404, 418),
        async (text, status) => {
          const { ledger } = clientOf(() => new Response(text, { status }))
          expect(await codeOf(ledger.lane(info.id))).toBeTypeOf('string')
          expect(await codeOf(ledger.transfer(order))).toBe('peer-failed')
        },
      ),
    )
  })
})
