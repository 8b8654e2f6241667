/** A witness as a log meets it: what it cosigns, and what it never does. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { sha256 } from '#primitives'
import { openSqlite } from '../../../infra/store/sqlite.ts'
import { utf8 } from '../../../protocol/bytes.ts'
import { noteKey, openNote, parseSignatureLines, signNote } from '../../../protocol/checkpoint.ts'
import { readCosignatures } from '../../../protocol/cosignature.ts'
import { limits } from '../../../protocol/limits.ts'
import { signerFrom } from '../../../protocol/signed.ts'
import { formatAddCheckpoint, parseAddCheckpoint, parseSize } from '../../../protocol/witness-request.ts'
import { createFaultyStore, WRITE_FAULTS } from '../../faults/faulty-store.ts'
import { START_MS } from '../kit.ts'
import { openWitness, testLog, type TestWitness } from './kit.ts'

const log = testLog()

async function expectCosigned(witness: TestWitness, oldSize: number, size: number, by = log): Promise<void> {
  const { status, body } = await witness.ask(by.request(oldSize, size))
  expect({ status, body }).toEqual({ status: 200, body: expect.stringMatching(/^— witness\.example\/w1 \S+\n$/) })
  const found = readCosignatures(by.text(size), parseSignatureLines(body), [witness.key])
  expect(found).toEqual([{ witness: witness.key, timeSeconds: Math.floor(witness.clock.now() / 1000) }])
}

async function expectSize(witness: TestWitness, request: string, size: number): Promise<void> {
  expect(await witness.ask(request)).toEqual({ status: 409, type: 'text/x.tlog.size', body: `${size}\n` })
}

describe('a witness', () => {
  test('cosigns a log from any size on, step by step, and the same checkpoint again at a later time', async () => {
    const witness = openWitness()
    await expectCosigned(witness, 0, 5)
    await expectCosigned(witness, 5, 6)
    await expectCosigned(witness, 6, 300)
    witness.clock.advance(90_000)
    await expectCosigned(witness, 300, 300)
  })

  test('cosigns an empty log', async () => {
    await expectCosigned(openWitness(), 0, 0)
  })

  test('says which size it cosigned last when asked from another: 409', async () => {
    const witness = openWitness()
    await expectSize(witness, log.request(3, 5), 0)
    await expectCosigned(witness, 0, 5)
    await expectSize(witness, log.request(0, 9), 5)
    await expectSize(witness, log.request(6, 9), 5)
    await expectSize(witness, log.request(3, 4), 5)
  })

  test('answers 404 for a log that it does not follow', async () => {
    const witness = openWitness()
    expect((await witness.ask(testLog('log.example/two').request(0, 5))).status).toBe(404)
  })

  test('answers 403 for a checkpoint that no known key of the log signed', async () => {
    const witness = openWitness()
    const thief = signerFrom(sha256(utf8('thief')))
    const forged = signNote(log.text(5), { name: log.origin, signer: thief })
    expect((await witness.ask(formatAddCheckpoint({ oldSize: 0, proof: [], note: forged }))).status).toBe(403)
    const spoiled = log.note(5).replace(/.{6}\n$/, 'AAAAA=\n')
    expect((await witness.ask(formatAddCheckpoint({ oldSize: 0, proof: [], note: spoiled }))).status).toBeOneOf([
      400, 403,
    ])
    await expectCosigned(witness, 0, 5)
  })

  test('takes a checkpoint that others have signed as well, and one by any of the log’s keys', async () => {
    const second = signerFrom(sha256(utf8('second key')))
    const witness = openWitness({ logs: [log.key, noteKey(log.origin, second.key)] })
    const others = { name: 'elsewhere.example', signer: signerFrom(sha256(utf8('elsewhere'))) }
    const both = signNote(log.text(5), others, { name: log.origin, signer: log.signer })
    expect((await witness.ask(formatAddCheckpoint({ oldSize: 0, proof: [], note: both }))).status).toBe(200)
    const rotated = signNote(log.text(7), { name: log.origin, signer: second })
    const request = formatAddCheckpoint({ oldSize: 5, proof: log.proof(5, 7), note: rotated })
    expect((await witness.ask(request)).status).toBe(200)
  })

  test('answers 400 when the old size is greater than the checkpoint’s', async () => {
    const witness = openWitness()
    await expectCosigned(witness, 0, 5)
    expect((await witness.ask(log.request(5, 4))).status).toBe(400)
  })

  test('answers 422 for a proof that does not lead from the last checkpoint to this one', async () => {
    const witness = openWitness()
    const note = log.note(9)
    expect((await witness.ask(formatAddCheckpoint({ oldSize: 0, proof: log.proof(5, 9), note }))).status).toBe(422)
    await expectCosigned(witness, 0, 5)
    for (const proof of [[], log.proof(4, 9), log.proof(5, 9).slice(1), [...log.proof(5, 9), log.root(3)]]) {
      expect((await witness.ask(formatAddCheckpoint({ oldSize: 5, proof, note }))).status).toBe(422)
    }
    await expectCosigned(witness, 5, 9)
  })

  test('never signs another history: 409 for another root of the size, 422 for one that goes on from it', async () => {
    const witness = openWitness()
    const fork = testLog(log.origin, ' otherwise', 3)
    await expectCosigned(witness, 0, 5)
    await expectSize(witness, fork.request(5, 5), 5)
    await expectSize(witness, fork.request(0, 5), 5)
    expect((await witness.ask(fork.request(5, 9))).status).toBe(422)
    await expectCosigned(witness, 5, 9)
    expect(witness.faults).toEqual([
      expect.objectContaining({ message: expect.stringContaining('two checkpoints') }),
      expect.anything(),
    ])
    const kept = await Promise.all(
      ['latest', 'fork'].map((sk) =>
        witness.store.get(`log/${Buffer.from(sha256(utf8(log.origin))).toString('hex')}`, sk),
      ),
    )
    expect(openNote(Buffer.from(kept[1]?.body ?? []).toString(), [log.key]).text).toBe(fork.text(5))
  })

  test('follows each log for itself', async () => {
    const other = testLog('log.example/two')
    const witness = openWitness({ logs: [log.key, other.key] })
    await expectCosigned(witness, 0, 5)
    await expectCosigned(witness, 0, 3, other)
    await expectCosigned(witness, 5, 6)
  })

  test('takes a note of the largest size, and refuses a larger one', async () => {
    const witness = openWitness()
    expect((await witness.ask(`old 0\n\n${'x'.repeat(limits.noteBytes)}`)).status).toBe(413)
  })
})

describe('of many at once', () => {
  /** Two witnesses on one store, as two processes with the same key. */
  test('each next size is cosigned once from the size before, whichever process is asked', async () => {
    const store = openSqlite(':memory:')
    const pair = [openWitness({ store }), openWitness({ store })] as const
    const fork = testLog(log.origin, ' otherwise', 5)
    await expectCosigned(pair[0], 0, 5)
    const requests = [log, fork].flatMap((each) => [6, 7, 8, 9].map((size) => each.request(5, size)))
    const answers = await Promise.all(
      requests.map(async (request, i) => ({ request, ...(await (pair[i % 2] as TestWitness).ask(request)) })),
    )
    const signed = answers.filter(({ status }) => status === 200)
    expect(signed).toHaveLength(1)
    expect(answers.filter(({ status }) => status === 409 || status === 422)).toHaveLength(requests.length - 1)
  })

  test('two checkpoints that it cosigned never contradict each other', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            fork: fc.boolean(),
            from: fc.nat(8),
            by: fc.nat(4),
            fault: fc.option(fc.constantFrom(...WRITE_FAULTS)),
          }),
          {
            minLength: 4,
            maxLength: 24,
          },
        ),
        async (steps) => {
          const store = createFaultyStore(openSqlite(':memory:'))
          const histories = [log, testLog(log.origin, ' otherwise', 2)]
          const faults = steps.map(({ fault }) => fault ?? undefined)
          store.setFaults((write) => faults[write])
          const witness = openWitness({ store })
          const answers = await Promise.all(
            steps.map(async ({ fork, from, by }) => {
              const each = histories[Number(fork)] as typeof log
              const { status } = await witness.ask(each.request(from, from + by))
              return { status, size: from + by, root: each.root(from + by) }
            }),
          )
          const signed = answers.filter(({ status }) => status === 200)
          const isOf = (which: number) =>
            signed.every(({ root, size }) => Buffer.compare(root, histories[which]?.root(size) ?? root) === 0)
          expect(isOf(0) || isOf(1)).toBe(true)
          store.close()
        },
      ),
      { numRuns: 60 },
    )
  })

  test.each(WRITE_FAULTS)('a write that is %s is answered with no signature', async (fault) => {
    const store = createFaultyStore(openSqlite(':memory:'))
    const witness = openWitness({ store })
    store.setFaults(() => fault)
    expect((await witness.ask(log.request(0, 5))).status).toBe(503)
    store.setFaults(() => undefined)
    if (fault === 'lost') await expectCosigned(witness, 0, 5)
    else await expectSize(witness, log.request(0, 5), 5)
  })
})

describe('a request', () => {
  test('is read as it is written', () => {
    const request = { oldSize: 5, proof: log.proof(5, 9), note: log.note(9) }
    expect(parseAddCheckpoint(formatAddCheckpoint(request))).toEqual(request)
    const first = { oldSize: 0, proof: [], note: log.note(9) }
    expect(parseAddCheckpoint(formatAddCheckpoint(first))).toEqual(first)
  })

  const HASH = '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='
  test.each([
    '',
    'old 5',
    'old 5\n',
    '\n\nnote',
    'old 05\n\nnote',
    'old -1\n\nnote',
    'old 1.0\n\nnote',
    'old 9007199254740992\n\nnote',
    'Old 5\n\nnote',
    'old  5\n\nnote',
    'old 5\r\n\nnote',
    'old 5\nAAAA\n\nnote',
    `old 5\n${HASH} \n\nnote`,
    `old 5\n${HASH.slice(0, -1)}\n\nnote`,
    `old 5\n${`${HASH}\n`.repeat(64)}\nnote`,
  ])('of another form is refused: %j', async (text) => {
    expect(() => parseAddCheckpoint(text)).toThrow(expect.objectContaining({ code: 'bad-encoding' }))
    expect((await openWitness().ask(text)).status).toBe(400)
  })

  test('of any bytes is answered with a 4xx', async () => {
    const witness = openWitness()
    const near = fc
      .tuple(fc.nat(9), fc.array(fc.base64String()), fc.string())
      .map(([size, proof, note]) => `old ${size}\n${proof.map((line) => `${line}\n`).join('')}\n${note}`)
    await fc.assert(
      fc.asyncProperty(fc.oneof(near, fc.string()), async (text) => {
        const { status } = await witness.ask(text)
        expect(status).toBeGreaterThanOrEqual(400)
        expect(status).toBeLessThan(500)
      }),
    )
  })

  test('a size is a decimal and a newline', () => {
    expect(parseSize('20852163\n')).toBe(20_852_163)
    for (const bad of ['', '5', '05\n', '-5\n', '5\n\n', ' 5\n', '9007199254740992\n'])
      expect(() => parseSize(bad)).toThrow(expect.objectContaining({ code: 'bad-encoding' }))
  })
})

test('the clock of a witness is in its word', async () => {
  const witness = openWitness()
  const { body } = await witness.ask(log.request(0, 5))
  const [{ timeSeconds } = { timeSeconds: 0 }] = readCosignatures(log.text(5), parseSignatureLines(body), [witness.key])
  expect(timeSeconds).toBe(START_MS / 1000)
})
