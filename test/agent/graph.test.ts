import { createReadStream } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { graph, type GraphArgs, type GraphReport } from '../../agent/cli/graph.ts'
import { readVouchCsv } from '../../agent/cli/vouch-csv.ts'
import { utf8 } from '../../protocol/bytes.ts'
import { Problem } from '../../protocol/problem.ts'

async function* chunksOf(bytes: Uint8Array, length = bytes.length): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length)
}

/** By a clock that goes on a quarter of a millisecond each time it is read. */
const run = async (csv: string, args: Omit<GraphArgs, 'path'>): Promise<GraphReport> => {
  let ms = 0
  const io = { read: () => chunksOf(utf8(csv)), monotonicMs: () => (ms += 0.25) }
  return (await graph({ path: 'edges.csv', ...args }, io)).json
}

const SMALL = `issuer,subject,depth,credit
ann,bob,4,16
ann,cid,2,8
bob,dan,4,4
cid,dan,4,4
dan,eve,4,4
bob,fay,4,1
`

describe('raincheck graph', () => {
  test('counts agents, vouches and the trusted by residual depth', async () => {
    expect(await run(SMALL, { root: 'ann' })).toEqual({
      agents: 6,
      vouches: 6,
      trusted: 5,
      byDepth: { 0: 0, 1: 1, 2: 3, 3: 1 },
      lost: [],
      evaluateMs: 0.25,
      pruneMs: 0.25,
    })
  })

  test('a distrusted agent is lost with all that has no other path', async () => {
    const report = await run(SMALL, { root: 'ann', distrust: ['bob', 'nobody knows'] })
    expect(report.lost.toSorted()).toEqual(['bob', 'fay'])
    expect(report).toMatchObject({ trusted: 3, byDepth: { 0: 1, 1: 1, 2: 1, 3: 0 } })
  })

  test('withdrawn vouches lose only those they held', async () => {
    const report = await run(SMALL, { root: 'ann', unvouch: ['bob,dan', 'cid,dan'] })
    expect(report.lost.toSorted()).toEqual(['dan', 'eve'])
  })

  test('a smaller depth of the root reaches less far', async () => {
    const depths = async (depth: number) => (await run(SMALL, { root: 'ann', depth })).byDepth
    expect(await depths(1)).toEqual({ 0: 2 })
    expect(await depths(0)).toEqual({})
  })

  test.each([
    ['a root that is not in the graph', { root: 'zoe' }, 'not-found'],
    ['a vouch that is not in the graph', { root: 'ann', unvouch: ['eve,ann'] }, 'not-found'],
    ['a pair that is none', { root: 'ann', unvouch: ['eve'] }, 'bad-request'],
    ['a depth beyond the limit', { root: 'ann', depth: 5 }, 'bad-request'],
    ['a root that is to distrust itself', { root: 'ann', distrust: ['ann'] }, 'bad-request'],
  ])('refuses %s', async (_, args, code) => {
    await expect(run(SMALL, args)).rejects.toMatchObject({ code })
  })
})

describe('a file', () => {
  test('that cannot be read is named', async () => {
    const args = { path: '/nowhere/edges.csv', root: 'ann' }
    const reading = graph(args, { read: (path) => createReadStream(path), monotonicMs: () => 0 })
    await expect(reading).rejects.toMatchObject({ code: 'not-found', message: expect.stringContaining(args.path) })
  })
})

describe('the CSV', () => {
  const edges = async (csv: string, chunk?: number): Promise<string[]> => {
    const { vouches, names } = await readVouchCsv(chunksOf(utf8(csv), chunk))
    return Array.from(vouches.issuers, (issuer, i) =>
      [names.nameOf(issuer), names.nameOf(vouches.subjects[i] as number), vouches.depths[i]].join(' '),
    )
  }

  test('may lack a header, end without a line feed, and have blanks, quotes, CRLF and empty lines', async () => {
    expect(await edges('a,b,1,2\r\n\r\n "c" , d ,3,4\n\ne,f,0,0')).toEqual(['a b 1', 'c d 3', 'e f 0'])
  })

  test('takes the columns in the order of the header', async () => {
    expect(await edges('\ufeffcredit,Depth,note,subject,issuer\n9,2,x,b,a\n')).toEqual(['a b 2'])
  })

  test('is the same however it is cut into chunks', async () => {
    const whole = await edges(SMALL)
    for (const chunk of [1, 2, 3, 7, 50]) expect(await edges(SMALL, chunk)).toEqual(whole)
  })

  test('knows many names apart', async () => {
    const csv = Array.from({ length: 5000 }, (_, i) => `n${i},n${i * 7},1,1\n`).join('')
    const { vouches, names } = await readVouchCsv(chunksOf(utf8(csv), 1000))
    expect(new Set(Array.from({ length: vouches.agents }, (_, i) => names.nameOf(i))).size).toBe(vouches.agents)
    expect(names.nameOf(vouches.subjects[4321] as number)).toBe(`n${4321 * 7}`)
  })

  test.each(['a,b', 'a,b,x,1', 'a,b,5,1', 'a,b,-1,1', 'a,,1,1', 'a,b,1,', '"a,b",c,1,1', 'a,b,1,99999999999999999999'])(
    'refuses the line %j and names it',
    async (line) => {
      await expect(edges(`x,y,1,1\n${line}\n`)).rejects.toMatchObject({ code: 'bad-request' })
    },
  )

  test('may not have a line of unbounded length', async () => {
    const long = `${'a'.repeat(10_000)},b,1,1\n`
    for (const chunk of [100, 20_000]) await expect(edges(long, chunk)).rejects.toMatchObject({ code: 'bad-request' })
  })

  test('never fails but with a problem', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(fc.uint8Array({ maxLength: 60 }), fc.stringMatching(/^[ab,"0-9\n]*$/).map(utf8)),
        async (bytes) => {
          await readVouchCsv(chunksOf(bytes, 7)).catch((error: unknown) => {
            expect(error).toBeInstanceOf(Problem)
          })
        },
      ),
    )
  })
})
