/** What an auditor says of a ledger that serves something else than what happened. */
import { beforeAll, describe, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { auditLedger } from '../../agent/cli/audit.ts'
import { createLedgerClient } from '../../agent/clients/ledger-client.ts'
import { realEnvironment } from '../../infra/environment.ts'
import { utf8, type Bytes } from '../../protocol/bytes.ts'
import { genesis } from '../../protocol/identity.ts'
import { leafHash } from '../../protocol/merkle.ts'
import { signerFrom } from '../../protocol/signed.ts'
import { decodeBundle, encodeBundle } from '../../protocol/tile.ts'
import { expectAccepted, openLedger, ORIGIN, START_MS, type TestLedger } from '../ledger/kit.ts'

/** Enough for a tile above the entries' own. */
const SIZE = 300
let ledger: TestLedger

beforeAll(async () => {
  ledger = openLedger()
  for (let i = 1; i < SIZE; i++) {
    const identity = genesis([signerFrom(sha256(utf8(`person ${i}`)))], START_MS)
    await expectAccepted(ledger.post('/v1/accounts', { identity }))
    ledger.clock.advance(1)
  }
  await ledger.sequence()
})

type Lies = Readonly<Record<string, (body: Bytes) => Bytes>>

/** @param lies what is served instead, by path */
const audit = (lies: Lies = {}) => {
  const transport = async (request: Request): Promise<Response> => {
    const response = await ledger.app.request(request)
    const lie = lies[new URL(request.url).pathname]
    if (!lie) return response
    const body = lie(new Uint8Array(await response.arrayBuffer()))
    return new Response(body, { status: body.length > 0 ? response.status : 404, headers: response.headers })
  }
  const environment = realEnvironment({ transport })
  return auditLedger(createLedgerClient({ environment, url: 'http://ledger.test' }))
}

const flipped =
  (at: number) =>
  (bytes: Bytes): Bytes =>
    bytes.map((byte, i) => (i === (at < 0 ? bytes.length + at : at) ? byte ^ 1 : byte))
const bundle =
  (change: (entries: Bytes[]) => Bytes[], width = 256) =>
  (bytes: Bytes): Bytes =>
    encodeBundle(change(decodeBundle(bytes, width)))
const swapped = <T>([first, second, third, ...rest]: T[]): T[] => [first, third, second, ...rest] as T[]
const swappedHashes = (bytes: Bytes): Bytes => {
  const hashes = Array.from({ length: bytes.length / 32 }, (_, i) => bytes.slice(i * 32, i * 32 + 32))
  return new Uint8Array(swapped(hashes).flatMap((hash) => [...hash]))
}

test('a ledger that serves what happened is found right', async () => {
  const report = await audit()
  expect(report).toMatchObject({ ok: true, origin: ORIGIN, size: SIZE, problems: [] })
})

describe('an audit finds', () => {
  test.each<[string, Lies, RegExp]>([
    ['a checkpoint that nobody signed', { '/checkpoint': flipped(-5) }, /^the checkpoint is not signed by the ledger/],
    ['a checkpoint that is none', { '/checkpoint': () => utf8('raincheck\n') }, /^the checkpoint is not signed/],
    [
      'an entry that was changed',
      { '/tile/entries/000': flipped(400) },
      /^entry \d+: tile\/0\/000 does not hold its hash|entries from 0/,
    ],
    [
      'two entries that changed places',
      { '/tile/entries/001.p/44': bundle(swapped, 44), '/tile/0/001.p/44': swappedHashes },
      /^entry \d+: |root of the checkpoint/,
    ],
    [
      'an entry that was made up, and its hash with it',
      {
        '/tile/entries/001.p/44': bundle((entries) => [utf8('d0:'), ...entries.slice(1)], 44),
        '/tile/0/001.p/44': (bytes) => new Uint8Array([...leafHash(utf8('d0:')), ...bytes.slice(32)]),
      },
      /^entry 256: /,
    ],
    [
      'an entry that is missing',
      { '/tile/entries/001.p/44': bundle((all) => all.slice(1), 44) },
      /entries from 256 on/,
    ],
    [
      'entries that are not there',
      { '/tile/entries/000': () => new Uint8Array(0) },
      /^the entries from 0 on cannot be read/,
    ],
    [
      'a hash that is not of its entry',
      { '/tile/0/001.p/44': flipped(40) },
      /^entry 257: tile\/0\/001\.p\/44 does not hold its hash/,
    ],
    ['a hash above that is not of those below', { '/tile/1/000.p/1': flipped(3) }, /^tile\/1\/000\.p\/1 does not hold/],
    ['a tile that is not there', { '/tile/1/000.p/1': () => new Uint8Array(0) }, /^tile\/1\/000\.p\/1 cannot be read/],
  ])('%s', async (_, lies, problem) => {
    const report = await audit(lies)
    expect(report.ok).toBe(false)
    expect(report.problems).toEqual([expect.stringMatching(problem)])
  })
})
