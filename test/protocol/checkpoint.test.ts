import { encodeBase64 } from '#primitives'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fromHex, utf8 } from '../../protocol/bytes.ts'
import {
  addSignature,
  formatCheckpoint,
  formatVerifierKey,
  noteKey,
  noteText,
  openNote,
  parseCheckpoint,
  parseVerifierKey,
  signNote,
} from '../../protocol/checkpoint.ts'
import { limits } from '../../protocol/limits.ts'
import { leafHash } from '../../protocol/merkle.ts'
import { Problem, type ProblemCode } from '../../protocol/problem.ts'
import { signerFrom } from '../../protocol/signed.ts'
import vectors from '../vectors/checkpoint.json' with { type: 'json' }

const { text } = vectors
const [peter, enoch] = vectors.keys as [(typeof vectors.keys)[0], (typeof vectors.keys)[0]]
const peterSigner = { name: peter.name, signer: signerFrom(fromHex(vectors.secret)) }
const code = (expected: ProblemCode) => expect.objectContaining({ code: expected })

describe('verifier keys', () => {
  it.each([peter.vkey, enoch.vkey, vectors.foo.vkey])('reads and writes %s', (vkey) => {
    expect(formatVerifierKey(parseVerifierKey(vkey))).toBe(vkey)
  })

  it('derives the published id of a name and a key', () => {
    expect(formatVerifierKey(noteKey(peter.name, peterSigner.signer.key))).toBe(peter.vkey)
    expect(parseVerifierKey(enoch.vkey)).toMatchObject({ name: 'EnochRoot', id: 0xaf0cfe78 })
  })

  it.each(vectors.badKeys)('refuses %s', (vkey) => {
    expect(() => parseVerifierKey(vkey)).toThrow(code('bad-encoding'))
  })

  it('refuses every part of a verifier key, and every one with a character changed', () => {
    for (let i = 0; i < peter.vkey.length; i++) {
      const changed = String.fromCharCode(peter.vkey.charCodeAt(i) + 1)
      expect(() => parseVerifierKey(peter.vkey.slice(0, i))).toThrow(code('bad-encoding'))
      expect(() => parseVerifierKey(peter.vkey.slice(i + 1))).toThrow(code('bad-encoding'))
      expect(() => parseVerifierKey(peter.vkey.slice(0, i) + changed + peter.vkey.slice(i + 1))).toThrow(
        code('bad-encoding'),
      )
    }
  })

  it.each(['', 'a b', 'a+b', 'a\u2003b', 'a\nb', 'a\u0001b'])('refuses %j as the name of a key', (name) => {
    expect(() => noteKey(name, peterSigner.signer.key)).toThrow(code('bad-encoding'))
  })
})

describe('signed notes', () => {
  const note = `${text}\n${peter.line}${enoch.line}`

  it('signs the published text as published', () => {
    expect(signNote(text, peterSigner)).toBe(`${text}\n${peter.line}`)
  })

  it('reads what a known key signed and sets the other signatures aside', () => {
    const opened = openNote(note, [parseVerifierKey(peter.vkey)])
    expect(opened.text).toBe(text)
    expect(opened.signatures.map(({ name }) => name)).toEqual(['PeterNeumann'])
    expect(opened.unknown.map(({ name }) => name)).toEqual(['EnochRoot'])
  })

  it('verifies the signatures of all known keys', () => {
    const opened = openNote(note, [parseVerifierKey(enoch.vkey), parseVerifierKey(peter.vkey)])
    expect(opened.signatures).toHaveLength(2)
    expect(openNote(vectors.foo.note, [parseVerifierKey(vectors.foo.vkey)]).text).toBe('This is an example message.\n')
  })

  it('refuses a note that no known key has signed', () => {
    expect(() => openNote(note, [parseVerifierKey(vectors.foo.vkey)])).toThrow(code('bad-signature'))
    expect(() => openNote(note, [])).toThrow(code('bad-signature'))
  })

  it('ignores a signature that has the name or the id of a known key, not both', () => {
    const misnamed = `${text}\n${peter.line.replace('PeterNeumann', 'CarmenSandiego')}`
    expect(() => openNote(misnamed, [parseVerifierKey(peter.vkey)])).toThrow(code('bad-signature'))
    const both = `${misnamed}${peter.line.replace('x08g', 'xxxx')}${peter.line}`
    expect(openNote(both, [parseVerifierKey(peter.vkey)]).unknown).toHaveLength(2)
  })

  it('refuses a note whose known signature does not verify, whatever else is on it', () => {
    const changed = note.replace('cryptography', 'cryptographY')
    expect(() => openNote(changed, [parseVerifierKey(peter.vkey)])).toThrow(code('bad-signature'))
    const spoiled = note.replace('ZJkuBS', 'ZJkuBT')
    expect(() => openNote(spoiled, [parseVerifierKey(peter.vkey), parseVerifierKey(enoch.vkey)])).toThrow(
      code('bad-signature'),
    )
  })

  it.each(vectors.badNotes)('refuses %j as malformed', (bad) => {
    expect(() => openNote(bad, [parseVerifierKey(peter.vkey)])).toThrow(code('bad-encoding'))
  })

  it('accepts 16 signatures and refuses a flood of them', () => {
    const keys = [parseVerifierKey(peter.vkey)]
    expect(openNote(`${text}\n${enoch.line.repeat(15)}${peter.line}`, keys).unknown).toHaveLength(15)
    expect(() => openNote(`${text}\n${peter.line.repeat(101)}`, keys)).toThrow(code('bad-encoding'))
  })

  it('refuses a note that is too long', () => {
    const keys = [parseVerifierKey(peter.vkey)]
    const long = (characters: number) => () => openNote(signNote(`${'x'.repeat(characters)}\n`, peterSigner), keys)
    expect(long(limits.noteBytes - 1000)).not.toThrow()
    expect(long(limits.noteBytes)).toThrow(code('bad-encoding'))
  })

  it('takes another signature later, as a witness adds it', () => {
    const alone = signNote(text, peterSigner)
    const { unknown } = openNote(note, [parseVerifierKey(peter.vkey)])
    expect(unknown.reduce(addSignature, alone)).toBe(note)
  })

  it('separates the text at the last empty line', () => {
    const verses = 'one\n\ntwo\n'
    expect(openNote(signNote(verses, peterSigner), [parseVerifierKey(peter.vkey)]).text).toBe(verses)
  })

  it('signs no text that could not be read back', () => {
    for (const bad of ['', 'no newline', 'a\u0000\n', 'a\t\n', '\ud800\n']) {
      expect(() => signNote(bad, peterSigner)).toThrow(code('bad-encoding'))
    }
  })

  it('opens any note it signs, and nothing that was changed', () => {
    const line = fc
      .string({ unit: 'grapheme' })
      .filter((each) => !Array.from(each).some((character) => character < ' '))
    fc.assert(
      fc.property(fc.array(line, { minLength: 1 }), fc.nat(), (lines, at) => {
        const signed = signNote(`${lines.join('\n')}\n`, peterSigner)
        expect(openNote(signed, [parseVerifierKey(peter.vkey)]).text).toBe(`${lines.join('\n')}\n`)
        const spoiled = signed.slice(0, at % signed.length) + signed.slice((at % signed.length) + 1)
        expect(() => openNote(spoiled, [parseVerifierKey(peter.vkey)])).toThrow(Problem)
      }),
    )
  })
})

describe('checkpoints', () => {
  it.each(vectors.checkpoints)(
    'reads and writes the published text of $origin',
    ({ text: checkpoint, ...expected }) => {
      const { origin, size, rootHash } = parseCheckpoint(checkpoint)
      expect({ origin, size }).toEqual({ origin: expected.origin, size: expected.size })
      expect(rootHash).toEqual(leafHash(utf8(expected.leafOfRoot)))
      expect(formatCheckpoint({ origin, size, rootHash })).toBe(checkpoint)
    },
  )

  it('reads the checkpoint out of the example of the specification', () => {
    const { note, origin, size, rootHash } = vectors.witnessed
    const parsed = parseCheckpoint(noteText(note))
    expect({ ...parsed, rootHash: encodeBase64(parsed.rootHash) }).toEqual({ origin, size, rootHash })
  })

  it('ignores extension lines', () => {
    const checkpoint = vectors.checkpoints[0]?.text as string
    expect(parseCheckpoint(`${checkpoint}JOE\nJOE\n`)).toEqual(parseCheckpoint(checkpoint))
  })

  it.each(vectors.badCheckpoints)('refuses %j', (bad) => {
    expect(() => parseCheckpoint(bad)).toThrow(code('bad-encoding'))
  })

  it('reads any text or refuses it as badly encoded', () => {
    const near = fc.tuple(fc.string(), fc.integer(), fc.base64String()).map((lines) => `${lines.join('\n')}\n`)
    fc.assert(
      fc.property(fc.oneof(near, fc.string()), (bad) => {
        try {
          parseCheckpoint(bad)
        } catch (error) {
          expect(error).toMatchObject({ code: 'bad-encoding' })
        }
      }),
    )
  })
})
