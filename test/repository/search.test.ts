import { describe, expect, it } from 'vitest'
import { limits } from '../../protocol/limits.ts'
import { firstLetter, searchTerms, wordsOf } from '../../repository/words.ts'
import { content, contentOf, testRepository, type TestRepository } from './kit.ts'
import { DAY, NOW, person } from './people.ts'

const [ann, bob] = [person(1), person(2)]

async function stocked(...names: readonly string[]): Promise<TestRepository> {
  const repository = testRepository()
  await repository.register(ann, bob)
  for (const [i, name] of names.entries()) {
    const each = contentOf(name, content(1000 + i))
    await repository.putTorrent(each)
    expect(await repository.announce(ann, each)).toMatchObject({ status: 201 })
  }
  return repository
}

const namesFor = async (repository: TestRepository, query: string): Promise<string[]> =>
  (await repository.search(query)).map((found) => String((found as { name: unknown }).name))

describe('search', () => {
  it('finds a content by a word of its name, with its size, its sellers and the lowest price', async () => {
    const repository = await stocked('Big Buck Bunny.mkv')
    const bunny = contentOf('Big Buck Bunny.mkv', content(1000))
    await repository.announce(bob, bunny, { price: 3n })
    expect(await repository.search('bunny')).toEqual([
      { infoHash: bunny.infoHash, name: 'Big Buck Bunny.mkv', bytes: 1000, pieces: 1, sellers: 2, price: '3' },
    ])
  })

  it('finds by how words begin, in any order and number', async () => {
    const repository = await stocked('Big Buck Bunny.mkv', 'Buck Rogers', 'Bundle of bugs')
    const sorted = async (query: string) => (await namesFor(repository, query)).toSorted((a, b) => a.localeCompare(b))
    expect(await sorted('bu')).toEqual(['Big Buck Bunny.mkv', 'Buck Rogers', 'Bundle of bugs'])
    expect(await sorted('b')).toEqual(['Big Buck Bunny.mkv', 'Buck Rogers', 'Bundle of bugs'])
    expect(await sorted('BUN')).toEqual(['Big Buck Bunny.mkv', 'Bundle of bugs'])
    expect(await sorted('mkv bi')).toEqual(['Big Buck Bunny.mkv'])
    expect(await sorted('buck rog x')).toEqual([])
    expect(await sorted('unny')).toEqual([])
    expect(await sorted('big_buck-bunny!')).toEqual(['Big Buck Bunny.mkv'])
  })

  it('puts whole words before beginnings', async () => {
    const repository = await stocked('Cartoons', 'Carton', 'Cart', 'Cartel')
    expect((await namesFor(repository, 'cart'))[0]).toBe('Cart')
  })

  it('takes no notice of case or of how Unicode is composed', async () => {
    const repository = await stocked('Café à la Crème', 'STRASSE', 'ΟΔΟΣ', 'ﬁlm')
    expect(await namesFor(repository, 'cafe\u0301 CRÈME')).toEqual(['Café à la Crème'])
    expect(await namesFor(repository, 'straße')).toEqual(['STRASSE'])
    expect(await namesFor(repository, 'οδος')).toEqual(['ΟΔΟΣ'])
    expect(await namesFor(repository, 'οδοσ')).toEqual(['ΟΔΟΣ'])
    expect(await namesFor(repository, 'FILM')).toEqual(['ﬁlm'])
  })

  it('finds any part of a name in a script without spaces', async () => {
    const repository = await stocked('吾輩は猫である.txt', 'กรุงเทพ', 'Русский фильм')
    for (const query of ['猫', '猫である', '吾輩', 'である txt'])
      expect(await namesFor(repository, query)).toEqual(['吾輩は猫である.txt'])
    expect(await namesFor(repository, 'เทพ')).toEqual(['กรุงเทพ'])
    expect(await namesFor(repository, 'ФИЛЬ')).toEqual(['Русский фильм'])
    expect(await namesFor(repository, '犬')).toEqual([])
  })

  it('finds only what is on offer now', async () => {
    const repository = await stocked('one', 'ones')
    const one = contentOf('one', content(1000))
    await repository.announce(ann, one, { issued: NOW + 1, expires: NOW + 1, urls: [] })
    expect(await namesFor(repository, 'one')).toEqual(['ones'])
    repository.setNow(NOW + DAY + 1)
    expect(await repository.search('one')).toEqual([])
    await repository.maintain()
    expect(await repository.store.list('word/o', { limit: 9 })).toEqual([])
  })

  it('says that a public content costs nothing', async () => {
    const repository = testRepository()
    await repository.register(ann)
    const free = contentOf('free', content(5))
    await repository.putTorrent(free)
    await repository.announce(ann, free, { public: true, price: 7n })
    expect(await repository.search('free')).toMatchObject([{ price: '0' }])
  })

  it('of no words finds nothing, and of too long a text is refused', async () => {
    const repository = await stocked('one')
    for (const query of ['', ' ', '!?', '\u0000']) expect(await repository.search(query)).toEqual([])
    expect((await repository.get('/v1/search?query=%ed%a0%80%ff')).json).toEqual([])
    expect(await repository.get('/v1/search')).toMatchObject({ status: 400, json: { code: 'bad-request' } })
    expect(await repository.get(`/v1/search?query=${'x'.repeat(limits.queryBytes + 1)}`)).toMatchObject({ status: 400 })
    expect(await namesFor(repository, Array.from({ length: 100 }, () => 'o').join(' '))).toEqual(['one'])
  })

  it('finds the rare among the common', async () => {
    const repository = await stocked(...Array.from({ length: 300 }, (_, i) => `common ${i}`), 'common zebra')
    expect(await namesFor(repository, 'common zebra')).toEqual(['common zebra'])
    expect(await repository.search('common')).toHaveLength(limits.searchResults)
    expect(await namesFor(repository, 'common 29')).toContain('common 29')
  })
})

describe('words', () => {
  it('are letters, digits and their marks', () => {
    expect(wordsOf('A-b_c.d (2024) №7 e\u0301e')).toEqual(['a', 'b', 'c', 'd', '2024', '7', 'ée'])
  })

  it('are cut at a length, and a name has a limited number of them', () => {
    expect(wordsOf('x'.repeat(300))[0]).toHaveLength(48)
    expect(searchTerms('a b c d', 2)).toEqual(['a', 'b'])
    expect(searchTerms('猫'.repeat(80), 64)).toHaveLength(48)
    expect(firstLetter('𝒳y')).toBe('𝒳')
  })
})
