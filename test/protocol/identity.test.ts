import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { equal, fromHex, toHex, type Bytes } from '../../protocol/bytes.ts'
import { encode } from '../../protocol/encoding.ts'
import {
  applyOperation,
  decodeIdentity,
  encodeIdentity,
  genesis,
  identityOf,
  parseOperation,
  replay,
  rotate,
  speaksFor,
  wroteFor,
  type IdentityState,
} from '../../protocol/identity.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import { objectId, seal, signerFrom, type Envelope, type Signer } from '../../protocol/signed.ts'
import { coded } from '../problems.ts'
import vectors from '../vectors/identity.json' with { type: 'json' }

const START = 1_700_000_000_000
const HOUR = 3_600_000
const signers = [1, 2, 3, 4, 5].map((n) => signerFrom(new Uint8Array(32).fill(n)))
const [recovery, host, spare, fresh, stranger] = signers as [Signer, Signer, Signer, Signer, Signer]
const first = genesis([recovery, host, spare], START)
const keysOf = (...of: readonly Signer[]): Bytes[] => of.map(({ key }) => key)
const start = (): IdentityState => applyOperation(undefined, first, START)
const rotateBy = (state: IdentityState, signer: Signer, keys: readonly Signer[], after = state.seq): Envelope =>
  rotate(state, keysOf(...keys), START, signer, after)

describe('an identity', () => {
  it('is named by its first operation, whatever follows', () => {
    const state = start()
    expect(state.id).toEqual(objectId('identity', first.body))
    const rotated = applyOperation(state, rotateBy(state, host, [recovery, fresh]), START + HOUR)
    expect(rotated.id).toEqual(state.id)
    expect(rotated.seq).toBe(1)
    expect(identityOf(parseOperation(first))).toEqual(state.id)
    expect(identityOf(parseOperation(rotateBy(state, host, [host])))).toEqual(state.id)
  })

  it('is spoken for by the keys of its last operation alone', () => {
    const state = start()
    const rotated = applyOperation(state, rotateBy(state, host, [recovery, fresh]), START)
    expect([recovery, host, spare, fresh].map(({ key }) => speaksFor(state, key))).toEqual([true, true, true, false])
    expect([recovery, host, spare, fresh].map(({ key }) => speaksFor(rotated, key))).toEqual([true, false, false, true])
  })

  it('follows the steps of the vectors', () => {
    let state: IdentityState | undefined
    for (const { body, key, signature, atMs, ...outcome } of vectors.steps) {
      const envelope = { body: fromHex(body), key: fromHex(key), signature: fromHex(signature) }
      if ('problem' in outcome) {
        expect(() => applyOperation(state, envelope, atMs)).toThrow(coded(outcome.problem))
        continue
      }
      state = applyOperation(state, envelope, atMs)
      expect({ id: toHex(state.id), seq: state.seq, head: toHex(state.head) }).toEqual(outcome.state)
    }
  })

  it('is the same from its log as from its operations one by one, up to as many as a log may have', () => {
    const rotated = applyOperation(start(), rotateBy(start(), host, [recovery, fresh]), START)
    const log = rotated.operations.map(({ envelope }) => envelope)
    expect(replay(log, START)).toEqual(rotated)
    expect(replay(log.slice(1), START, start())).toEqual(rotated)
    const long = Array.from({ length: limits.operationsPerIdentity + 1 }, () => first)
    for (const none of [[], long]) expect(() => replay(none, START)).toThrow(coded('bad-request'))
  })
})

describe('a vouch book counts by its number', () => {
  const turned = (state: IdentityState, by: Signer, to: Signer, since?: number) =>
    applyOperation(state, rotate(state, keysOf(to), START, by, state.seq, since), START)
  const counts = (state: IdentityState, { key }: Signer, ...books: readonly number[]) =>
    books.map((book) => wroteFor(state, key, book))

  it('whatever it is from a key of now, below what the owner names from one of before, none from a stranger', () => {
    const state = turned(start(), host, fresh, 5)
    expect(counts(state, fresh, 0, 5, 99)).toEqual([true, true, true])
    expect(counts(state, host, 0, 4, 5)).toEqual([true, true, false])
    expect(counts(state, stranger, 0, 4)).toEqual([false, false])
  })

  it('below the lowest number that was named since, and none where none was', () => {
    const state = turned(start(), host, fresh, 5)
    expect(counts(turned(state, fresh, spare, 3), host, 2, 3)).toEqual([true, false])
    const unnamed = turned(state, fresh, stranger)
    expect(counts(unnamed, host, 4, 5)).toEqual([true, false])
    expect(counts(unnamed, fresh, 0, 4)).toEqual([false, false])
  })
})

describe('an operation is refused when', () => {
  it.each<[string, string, (state: IdentityState) => Envelope]>([
    ['a stranger signed it', 'unknown-key', (state) => rotateBy(state, stranger, [stranger])],
    [
      'it follows nothing in force',
      'conflict',
      (state) =>
        rotateBy({ ...state, operations: [{ ...operation(state), hash: state.id.map((byte) => byte ^ 1) }] }, host, [
          host,
        ]),
    ],
    ['it skips a number', 'conflict', (state) => sealed({ id: state.id, prev: state.head, seq: 2 })],
    ['it is of another identity', 'conflict', (state) => sealed({ id: new Uint8Array(32), prev: state.head, seq: 1 })],
    ['it is the first of another identity', 'conflict', () => genesis([stranger], START)],
    ['it is made in the future', 'bad-request', (state) => rotate(state, keysOf(host), START + HOUR, host)],
    ['it names no key', 'bad-encoding', (state) => rotateBy(state, host, [])],
    ['it names nine keys', 'bad-encoding', (state) => rotateBy(state, host, manySigners(9))],
    ['it names a key twice', 'bad-encoding', (state) => rotateBy(state, host, [host, recovery, host])],
    ['it names a key of small order', 'bad-encoding', (state) => rotate(state, [new Uint8Array(32)], START, host)],
    ['it has no prev', 'bad-encoding', (state) => sealed({ id: state.id, seq: 1 })],
    ['it is the first and has a prev', 'bad-encoding', (state) => sealed({ id: state.id, prev: state.head, seq: 0 })],
    [
      'its signature is another’s',
      'bad-signature',
      (state) => ({ ...rotateBy(state, host, [host]), key: recovery.key }),
    ],
  ])('%s', (_, code, make) => {
    const state = start()
    expect(() => applyOperation(state, make(state), START)).toThrow(coded(code))
  })

  it('the identity is not known', () => {
    expect(() => applyOperation(undefined, rotateBy(start(), host, [host]), START)).toThrow(coded('not-found'))
  })

  it('it is a first operation that none of its keys signed', () => {
    const forged = seal('identity', { created: START, keys: keysOf(recovery), seq: 0 }, stranger)
    expect(() => applyOperation(undefined, forged, START)).toThrow(coded('unknown-key'))
  })

  it('the identity has as many as it may have', () => {
    let state = start()
    while (state.seq < limits.operationsPerIdentity - 1) {
      state = applyOperation(state, rotate(state, keysOf(recovery, host), START + state.seq, host), START + HOUR)
    }
    expect(encodeIdentity(state).length).toBeLessThan(limits.itemBytes)
    expect(() => applyOperation(state, rotateBy(state, host, [host]), START)).toThrow(coded('limit-reached'))
    const override = rotateBy(state, recovery, [recovery], 0)
    expect(applyOperation(state, override, START + HOUR).seq).toBe(1)
  })
})

describe('the recovery window', () => {
  const stolenAt = START + HOUR
  const stolen = (): IdentityState => {
    const taken = applyOperation(start(), rotateBy(start(), host, [stranger]), stolenAt)
    return applyOperation(taken, rotateBy(taken, stranger, [stranger, fresh]), stolenAt + HOUR)
  }

  it('lets a key of higher priority replace an operation and what followed', () => {
    const override = rotateBy(stolen(), recovery, [recovery, fresh], 0)
    const state = applyOperation(stolen(), override, stolenAt + limits.recoveryWindowMs)
    expect(state.seq).toBe(1)
    expect(state.keys).toEqual(keysOf(recovery, fresh))
    expect(speaksFor(state, stranger.key)).toBe(false)
  })

  it('closes 72 hours after the operation was taken', () => {
    const override = rotateBy(stolen(), recovery, [recovery], 0)
    const late = stolenAt + limits.recoveryWindowMs + 1
    expect(() => applyOperation(stolen(), override, late)).toThrow(coded('conflict'))
  })

  it.each([
    ['the same key', host],
    ['a key of lower priority', spare],
  ])('is not for %s', (_, signer) => {
    expect(() => applyOperation(stolen(), rotateBy(stolen(), signer, [signer], 0), stolenAt)).toThrow(coded('conflict'))
  })

  it('does not bring the replaced operation back', () => {
    const theft = rotateBy(start(), host, [stranger])
    const state = applyOperation(stolen(), rotateBy(stolen(), recovery, [recovery], 0), stolenAt + HOUR)
    expect(() => applyOperation(state, theft, stolenAt + HOUR)).toThrow(coded('conflict'))
  })

  it('survives a restart: the stored state still knows what may be overridden', () => {
    const stored = decodeIdentity(encodeIdentity(stolen()))
    expect(stored).toEqual(stolen())
    const override = rotateBy(stored, recovery, [recovery], 0)
    expect(() => applyOperation(stored, override, stolenAt + limits.recoveryWindowMs + 1)).toThrow(coded('conflict'))
    expect(applyOperation(stored, override, stolenAt + HOUR).keys).toEqual(keysOf(recovery))
  })
})

describe('any history', () => {
  interface Attempt {
    readonly by: number
    readonly keys: readonly number[]
    readonly back: number
    readonly hours: number
  }
  const attempts = fc.array(
    fc.record<Attempt>({
      by: fc.nat(signers.length - 1),
      keys: fc.uniqueArray(fc.nat(signers.length - 1), { minLength: 1, maxLength: 4 }),
      back: fc.nat(3),
      hours: fc.nat(60),
    }),
    { maxLength: 12 },
  )

  it('keeps the id, links every operation, and lets no lower key override', () => {
    fc.assert(
      fc.property(attempts, (history) => {
        let state = start()
        let atMs = START
        for (const attempt of history) {
          atMs += attempt.hours * HOUR
          const before = state
          state = tryApply(state, envelopeOf(state, attempt), atMs)
          expectLinked(state)
          expect(state.id).toEqual(start().id)
          if (state !== before) expectRightToReplace(before, state, atMs)
        }
      }),
      { numRuns: 150 },
    )
  })

  it('is left as it is by deliveries that repeat, in any order', () => {
    fc.assert(
      fc.property(attempts, fc.infiniteStream(fc.nat()), (history, picks) => {
        let state = start()
        for (const attempt of history) state = tryApply(state, envelopeOf(state, attempt), START + HOUR)
        for (const pick of picks.take(10)) {
          const { envelope } = state.operations[pick % state.operations.length] as { envelope: Envelope }
          expect(applyOperation(state, envelope, START + 99 * limits.recoveryWindowMs)).toBe(state)
        }
      }),
      { numRuns: 100 },
    )
  })

  it('ends the same within the window, in whatever order rivals arrive, as long as each is sent until it settles', () => {
    const root = start()
    const byHost = applyOperation(root, rotateBy(root, host, [recovery, host, spare]), START)
    const bySpare = applyOperation(root, rotateBy(root, spare, [spare]), START)
    const rivals = [
      ...[byHost, bySpare].map((state) => (state.operations[1] as { envelope: Envelope }).envelope),
      rotateBy(byHost, spare, [spare, fresh]),
      rotateBy(byHost, recovery, [fresh, spare]),
      rotateBy(bySpare, spare, [stranger]),
    ]
    const settled = applyOperation(byHost, rivals[3] as Envelope, START)
    fc.assert(
      fc.property(
        fc.array(fc.shuffledSubarray(rivals, { minLength: rivals.length }), { minLength: 4, maxLength: 4 }),
        (rounds) => {
          let state = root
          for (const envelope of rounds.flat()) state = tryApply(state, envelope, START)
          expect(state).toEqual(settled)
        },
      ),
      { numRuns: 60 },
    )
  })

  it('comes back from storage as it was', () => {
    fc.assert(
      fc.property(attempts, (history) => {
        let state = start()
        for (const attempt of history) state = tryApply(state, envelopeOf(state, attempt), START + HOUR)
        expect(decodeIdentity(encodeIdentity(state))).toEqual(state)
      }),
      { numRuns: 50 },
    )
  })

  function envelopeOf(state: IdentityState, { by, keys, back }: Attempt): Envelope {
    const after = Math.max(0, state.seq - back)
    return rotateBy(
      state,
      signers[by] as Signer,
      keys.map((key) => signers[key] as Signer),
      after,
    )
  }

  function expectLinked(state: IdentityState): void {
    state.operations.forEach((step, i) => {
      const previous = state.operations[i - 1]
      expect(step.seq).toBe(i)
      expect(step.prev).toEqual(previous?.hash)
      expect((previous ?? step).keys).toContainEqual(step.envelope.key)
    })
    expect(state.head).toEqual(state.operations.at(-1)?.hash)
  }

  function expectRightToReplace(before: IdentityState, after: IdentityState, atMs: number): void {
    const replaced = before.operations[after.seq]
    if (!replaced) return
    const keys = before.operations[after.seq - 1]?.keys ?? []
    const rank = ({ envelope }: { envelope: Envelope }): number => keys.findIndex((key) => equal(key, envelope.key))
    expect(rank(after.operations[after.seq] as typeof replaced)).toBeLessThan(rank(replaced))
    expect(atMs - replaced.atMs).toBeLessThanOrEqual(limits.recoveryWindowMs)
  }
})

describe('hostile operations and states', () => {
  it('throws nothing but problems for any body that is signed', () => {
    const member = fc.oneof(
      fc.bigInt({ min: -9n, max: 300n }),
      fc.uint8Array({ minLength: 31, maxLength: 33 }),
      fc.constant(START),
    )
    const value = fc.record(
      {
        created: member,
        id: member,
        keys: fc.oneof(member, fc.array(fc.oneof(member, fc.constant(host.key)))),
        prev: member,
        seq: member,
        more: member,
      },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(value, (body) => {
        expectProblemOrState(() => applyOperation(start(), seal('identity', body, host), START))
      }),
    )
  })

  it('throws nothing but problems for any stored bytes', () => {
    const stored = encodeIdentity(start())
    fc.assert(
      fc.property(fc.nat(stored.length - 1), fc.nat(255), (at, byte) => {
        const bytes = Uint8Array.from(stored)
        bytes[at] = byte
        expectProblemOrState(() => decodeIdentity(bytes))
      }),
    )
    expect(() => decodeIdentity(encode({ operations: [] }))).toThrow(coded('bad-encoding'))
  })
})

function operation(state: IdentityState): IdentityState['operations'][number] {
  return state.operations.at(-1) as IdentityState['operations'][number]
}

function sealed(body: { readonly id?: Bytes; readonly prev?: Bytes; readonly seq: number }): Envelope {
  return seal('identity', { created: START, keys: keysOf(host), ...body }, host)
}

function manySigners(count: number): Signer[] {
  return Array.from({ length: count }, (_, i) => signerFrom(new Uint8Array(32).fill(100 + i)))
}

function tryApply(state: IdentityState, envelope: Envelope, atMs: number): IdentityState {
  try {
    return applyOperation(state, envelope, atMs)
  } catch (error) {
    if (error instanceof Problem) return state
    throw error
  }
}

function expectProblemOrState(run: () => IdentityState): void {
  try {
    expect(run().operations.length).toBeGreaterThan(0)
  } catch (error) {
    expect(error).toBeInstanceOf(Problem)
  }
}
