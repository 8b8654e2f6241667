import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fromHex } from '../../protocol/bytes.ts'
import {
  formatVerifierKey,
  noteKey,
  openNote,
  parseCheckpoint,
  parseSignatureLines,
  parseVerifierKey,
  signatureLine,
  signNote,
  type NoteSignature,
} from '../../protocol/checkpoint.ts'
import { cosign, readCosignatures } from '../../protocol/cosignature.ts'
import { limits } from '../../protocol/limits.ts'
import { parseLogPolicy, requireWitnessed } from '../../protocol/log-policy.ts'
import { signerFrom } from '../../protocol/signed.ts'
import vectors from '../vectors/cosignature.json' with { type: 'json' }

const { published, example, made } = vectors
const code = (expected: string) => expect.objectContaining({ code: expected })
const witnessKey = (vkey: string) => parseVerifierKey(vkey, 'cosignature')

describe('cosignatures', () => {
  const keys = published.witnesses.map(witnessKey)
  const opened = openNote(published.note, [parseVerifierKey(published.log)])

  it('verifies those of the public network under the keys that its witnesses publish', () => {
    const found = readCosignatures(opened.text, opened.unknown, keys)
    expect(found.map(({ witness }) => witness)).toEqual(keys)
    expect(new Set(found.map(({ timeSeconds }) => timeSeconds))).toEqual(new Set([published.timeSeconds]))
    expect(parseCheckpoint(opened.text).size).toBe(published.size)
  })

  it('refuses them on any other checkpoint, and at any other time', () => {
    expect(() => readCosignatures(opened.text.replace('1432088532', '1432088533'), opened.unknown, keys)).toThrow(
      code('bad-signature'),
    )
    for (let at = 0; at < 72; at++) {
      const changed = opened.unknown.map((signature) => ({ ...signature, signature: signature.signature.slice() }))
      for (const { signature } of changed) if (signature.length === 72) signature[at] = (signature[at] ?? 0) ^ 1
      expect(() => readCosignatures(opened.text, changed, keys.slice(0, 1))).toThrow(code('bad-signature'))
    }
  })

  it('leaves out whom it does not know, and a name or an id alone', () => {
    const [first] = keys
    if (!first) throw new Error('no key')
    expect(readCosignatures(opened.text, opened.unknown, [{ ...first, name: 'another' }])).toEqual([])
    expect(readCosignatures(opened.text, opened.unknown, [{ ...first, id: 1 }])).toEqual([])
  })

  it('signs what OpenSSL signs, extension lines too', () => {
    const signer = signerFrom(fromHex(made.secret))
    const signature = cosign(made.text, made.timeSeconds, { name: made.name, signer })
    expect(signatureLine(signature)).toBe(made.line)
    expect(formatVerifierKey(noteKey(made.name, signer.key, 'cosignature'))).toBe(made.vkey)
    const witness = witnessKey(made.vkey)
    expect(readCosignatures(made.text, [signature], [witness])).toEqual([{ witness, timeSeconds: made.timeSeconds }])
  })

  it('reads the line of the specification: key id, time, signature', () => {
    const [line] = parseSignatureLines(example.line) as [NoteSignature]
    const time = new DataView(line.signature.buffer).getBigUint64(0)
    expect({ name: line.name, id: line.id.toString(16), time: Number(time), length: line.signature.length }).toEqual({
      name: example.name,
      id: example.id,
      time: example.timeSeconds,
      length: 72,
    })
    expect(signatureLine(line)).toBe(example.line)
  })

  it('does not take a log’s key for a witness’s, nor the other way round', () => {
    expect(() => witnessKey(published.log)).toThrow(code('bad-encoding'))
    expect(() => parseVerifierKey(made.vkey)).toThrow(code('bad-encoding'))
  })

  it('counts a witness that signed twice once, by its later word', () => {
    const by = { name: made.name, signer: signerFrom(fromHex(made.secret)) }
    const lines = [5, 9, 7].map((seconds) => cosign(made.text, seconds, by))
    expect(readCosignatures(made.text, lines, [witnessKey(made.vkey)])).toMatchObject([{ timeSeconds: 9 }])
  })

  it('refuses a signature of another length', () => {
    const by = { name: made.name, signer: signerFrom(fromHex(made.secret)) }
    const whole = cosign(made.text, 5, by)
    for (const length of [1, 8, 64, 71]) {
      const cut = { ...whole, signature: whole.signature.slice(0, length) }
      expect(() => readCosignatures(made.text, [cut], [witnessKey(made.vkey)])).toThrow(code('bad-signature'))
    }
  })

  it('reads any lines of signatures or refuses them as badly encoded', () => {
    const near = fc.tuple(fc.string(), fc.base64String()).map(([name, text]) => `— ${name} ${text}\n`)
    fc.assert(
      fc.property(fc.oneof(near, fc.string()), (text) => {
        try {
          expect(parseSignatureLines(text).map(signatureLine).join('')).toBe(text)
        } catch (error) {
          expect(error).toMatchObject({ code: 'bad-encoding' })
        }
      }),
    )
  })
})

const [W1, W2, W3, W4] = published.witnesses as [string, string, string, string]
const FOUR = `witness W1 ${W1} https://w1.example/\nwitness W2\t${W2}\n witness W3 ${W3}  \nwitness W4 ${W4} http://127.0.0.1:8405/w\n`

describe('a log policy', () => {
  const keysOf = (...vkeys: string[]) => vkeys.map(witnessKey)

  it('knows logs and witnesses, and where they are', () => {
    const { logs, witnesses, isQuorum } = parseLogPolicy(
      `# mine\nlog ${published.log} https://log.example\n\n${FOUR}quorum none\n`,
    )
    expect(logs).toEqual([{ key: parseVerifierKey(published.log), url: 'https://log.example' }])
    expect(witnesses.map(({ key }) => formatVerifierKey(key))).toEqual(published.witnesses)
    expect(witnesses.map(({ url }) => url)).toEqual([
      'https://w1.example',
      undefined,
      undefined,
      'http://127.0.0.1:8405/w',
    ])
    expect(isQuorum([])).toBe(true)
  })

  it.each<[string, boolean[]]>([
    ['group g all W1 W2 W3 W4', [false, false, false, true]],
    ['group g any W1 W2 W3 W4', [true, true, true, true]],
    ['group g 3 W1 W2 W3 W4', [false, false, true, true]],
    ['group x 2 W1 W2 W3\ngroup g all x W4', [false, false, false, true]],
    ['group x any W1 W2\ngroup y any W3 W4\ngroup g all x y', [false, false, true, true]],
    ['group g 1 W4', [false, false, false, true]],
  ])('counts as told: %s', (groups, met) => {
    const { isQuorum } = parseLogPolicy(`${FOUR}${groups}\nquorum g\n`)
    expect([1, 2, 3, 4].map((count) => isQuorum(keysOf(...published.witnesses.slice(0, count))))).toEqual(met)
    expect(isQuorum([])).toBe(false)
    expect(isQuorum(keysOf(W1, W1, W1, W1))).toBe(groups === 'group g any W1 W2 W3 W4')
  })

  it.each([
    ['', 'no quorum'],
    [FOUR, 'no quorum'],
    ['quorum W1', 'not defined'],
    [`${FOUR}quorum W1\nquorum W2`, 'one quorum'],
    [`${FOUR}quorum W1 W2`, 'one quorum'],
    [`${FOUR}witness W5 ${W1}\nquorum W5`, 'there already'],
    [`${FOUR}group W1 any W2\nquorum W1`, 'taken'],
    [`${FOUR}group none any W2\nquorum none`, 'taken'],
    [`${FOUR}group g 0 W1\nquorum g`, 'cannot be asked'],
    [`${FOUR}group g 3 W1 W2\nquorum g`, 'cannot be asked'],
    [`${FOUR}group g 2 W1 W1\nquorum g`, 'in a group already'],
    [`${FOUR}group g all\nquorum g`, 'has a member'],
    [`${FOUR}group g all none\nquorum g`, 'not defined'],
    [`group g all W1\n${FOUR}quorum g`, 'not defined'],
    [`witness W1 ${published.log}\nquorum W1`, 'verifier key'],
    [`log ${W1}\nquorum none`, 'verifier key'],
    [`log ${published.log} ftp://x\nquorum none`, 'no URL'],
    [`log ${published.log} https://x y\nquorum none`, 'after the URL'],
    ['quorum none\r', 'control'],
    ['witnesses none', 'no statement'],
  ])('is refused: %j', (text, why) => {
    expect(() => parseLogPolicy(text)).toThrow(
      expect.objectContaining({ code: 'bad-encoding', message: expect.stringContaining(why) }),
    )
  })

  it('is read from any text, or refused as badly encoded', () => {
    const word = fc.constantFrom('log', 'witness', 'group', 'quorum', 'none', 'any', '2', 'W1', W1, published.log, '#')
    const line = fc.array(word, { maxLength: 5 }).map((words) => words.join(' '))
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(line, { maxLength: 6 }).map((lines) => lines.join('\n')),
        ),
        (text) => {
          try {
            parseLogPolicy(text)
          } catch (error) {
            expect(error).toMatchObject({ code: 'bad-encoding' })
          }
        },
      ),
    )
  })
})

describe('a witnessed checkpoint', () => {
  const signers = [1, 2, 3].map((byte) => ({
    name: `w${byte}.example`,
    signer: signerFrom(new Uint8Array(32).fill(byte)),
  }))
  const vkeys = signers.map(({ name, signer }) => formatVerifierKey(noteKey(name, signer.key, 'cosignature')))
  const policy = parseLogPolicy(
    `${vkeys.map((vkey, i) => `witness W${i} ${vkey}\n`).join('')}group g 2 W0 W1 W2\nquorum g\n`,
  )
  const log = { name: 'log.example', signer: signerFrom(new Uint8Array(32).fill(9)) }
  const text = 'log.example\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n'
  const NOW_MS = 1_800_000_000_000
  /** @param ages of the cosignatures, in milliseconds */
  const check = (...ages: number[]) => {
    const lines = ages.map((ageMs, i) =>
      signatureLine(cosign(text, (NOW_MS - ageMs) / 1000, signers[i] as (typeof signers)[0])),
    )
    const note = signNote(text, log) + lines.join('')
    return requireWitnessed(openNote(note, [noteKey(log.name, log.signer.key)]), policy, NOW_MS)
  }

  it('is taken with enough cosignatures, and says whose', () => {
    expect(check(0, 5000)).toMatchObject({ origin: 'log.example', size: 0 })
    expect(check(0, 5000, 9000).cosignatures.map(({ witness }) => witness.name)).toEqual(
      signers.map(({ name }) => name),
    )
  })

  it('is refused with too few, old ones, or some from the future: unwitnessed', () => {
    expect(() => check(0)).toThrow(expect.objectContaining({ code: 'unwitnessed', members: { fresh: ['w1.example'] } }))
    expect(() => check()).toThrow(code('unwitnessed'))
    expect(() => check(0, limits.cosignatureMs)).toThrow(code('unwitnessed'))
    expect(check(0, limits.cosignatureMs - 1000).size).toBe(0)
    expect(() => check(0, -limits.clockSkewMs - 1000)).toThrow(code('unwitnessed'))
    expect(check(0, -limits.clockSkewMs).size).toBe(0)
  })
})
