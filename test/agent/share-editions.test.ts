/** How a sharer's editions come to the repository: once each, in one chain, whatever fails meanwhile. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { RepositoryClient, SignedEdition } from '../../agent/clients/repository-client.ts'
import type { AgentContext } from '../../agent/context.ts'
import { createShares, type Shares } from '../../agent/share/share.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { toHex } from '../../protocol/bytes.ts'
import { parseEdition, publishEdition } from '../../protocol/edition.ts'
import { rotate } from '../../protocol/identity.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Store } from '../../protocol/store.ts'
import { createFaultyStore, WRITE_FAULTS, type WriteFault } from '../faults/faulty-store.ts'
import { pattern } from '../pattern.ts'
import { delegationOf, numbered, person } from '../repository/people.ts'
import { START_MS } from './hand-clock.ts'
import { openShop, type Shop } from './shop.ts'

const ann = person(1)
const MAY = ['announce'] as const
const DAY = { issued: START_MS, expires: START_MS + 86_400_000 }
const delegation = delegationOf(ann, MAY, DAY)

let shop: Shop
let shown: SignedEdition[]
let isDown: boolean
/** Happens once, while it is looked up which edition is the last. */
let meanwhile: () => Promise<void>
beforeEach(async () => {
  shop = await openShop()
  shown = []
  isDown = false
  meanwhile = async () => undefined
})
afterEach(() => shop.close())

const seqs = () => shown.map(({ edition }) => parseEdition(edition).seq)
const hashes = () => shown.map(({ edition }) => toHex(parseEdition(edition).infoHash))

/** As a repository takes them: the same again changes nothing, an old number is refused. */
function sharesOver(
  store: Store,
  keys: Pick<AgentContext, 'operations' | 'delegation'> = { ...ann, delegation },
): Shares {
  const editions: Pick<RepositoryClient, 'putEdition' | 'editions'> = {
    async putEdition(edition) {
      if (isDown) throw new Problem('peer-failed', 'The repository is down.')
      const { seq, id } = parseEdition(edition)
      const known = shown.map((one) => parseEdition(one.edition))
      if (known.some((one) => toHex(one.id) === toHex(id))) return
      if (known.some((one) => one.seq >= seq)) throw new Problem('conflict', 'A later edition is known.')
      shown.push({ edition, delegation: keys.delegation })
    },
    async editions() {
      const happens = meanwhile
      meanwhile = async () => undefined
      await happens()
      return shown
    },
  }
  const repository = { ...shop.context.repository, ...editions }
  const who = { owner: ann.id, signer: ann.agent, operations: keys.operations, delegation: keys.delegation }
  return createShares({ ...shop.context, ...who, repository, store }, shop.links)
}

async function add(shares: Shares, name: string, series = 'data'): Promise<string> {
  shop.clock.advance(1)
  await shop.plant(name, pattern(100, name.length))
  return (await shares.add({ path: name, series })).infoHash
}

describe('editions', () => {
  test('wait for a repository that is down, and come in their order', async () => {
    const shares = sharesOver(shop.context.store)
    isDown = true
    const added = [await add(shares, 'a'), await add(shares, 'bb'), await add(shares, 'ccc', 'other')]
    await shares.announce().catch(() => undefined)
    isDown = false
    for (let round = 0; round < 3; round++) await shares.announce()
    expect(seqs()).toEqual([0, 1, 2])
    expect(new Set(hashes())).toEqual(new Set(added))
  })

  test('are all told, also where another instance signs one at the same time', async () => {
    const [here, there] = [sharesOver(shop.context.store), sharesOver(shop.context.store)]
    const added: string[] = []
    isDown = true
    meanwhile = async () => void added.push(await add(there, 'bb', 'other'))
    added.push(await add(here, 'a'))
    isDown = false
    for (let round = 0; round < 3; round++) await here.announce()
    expect(seqs()).toEqual([0, 1])
    expect(hashes()).toEqual(added)
  })

  test('cost what the one before in their series did, and are limited to its circle', async () => {
    const shares = sharesOver(shop.context.store)
    await shop.plant('a', pattern(100))
    await shares.add({ path: 'a', series: 'data', price: 9n, circle: 'lab' })
    const next = await shares.get(await add(shares, 'bb'))
    expect(next).toMatchObject({ price: 9n, circle: 'lab' })
  })

  test('go on from those that the repository has, where the agent has lost its store', async () => {
    await add(sharesOver(shop.context.store), 'a')
    await add(sharesOver(openSqlite(':memory:')), 'bb')
    expect(seqs()).toEqual([0, 1])
  })

  test('go on from those of before the owner’s keys changed', async () => {
    await add(sharesOver(shop.context.store), 'a')
    const { owner } = person(2)
    const operations = [...ann.operations, rotate(ann.state, [owner.key], START_MS, ann.owner)]
    await add(
      sharesOver(openSqlite(':memory:'), { operations, delegation: delegationOf({ ...ann, owner }, MAY, DAY) }),
      'bb',
    )
    expect(seqs()).toEqual([0, 1])
  })

  test('are signed anew after others that came between', async () => {
    const shares = sharesOver(shop.context.store)
    await add(shares, 'a')
    isDown = true
    const late = await add(shares, 'bb')
    await shares.announce().catch(() => undefined)
    const terms = { by: ann.id, infoHash: numbered(7, 9), issued: START_MS, name: 'data', seq: 1 }
    const { id } = parseEdition((shown[0] as SignedEdition).edition)
    shown.push({ edition: publishEdition({ ...terms, prev: id }, ann.agent), delegation })
    isDown = false
    for (let round = 0; round < 3; round++) await shares.announce().catch(() => undefined)
    expect(seqs()).toEqual([0, 1, 2])
    expect(hashes().at(-1)).toBe(late)
  })

  test('go on from none that another signed', async () => {
    const stranger = person(2)
    const terms = {
      by: ann.id,
      infoHash: numbered(7, 9),
      issued: START_MS,
      name: 'data',
      seq: 900,
      prev: numbered(8, 1),
    }
    shown.push({ edition: publishEdition(terms, stranger.agent), delegation: delegationOf(stranger, ['announce']) })
    const shares = sharesOver(shop.context.store)
    await add(shares, 'a')
    await expect(shares.announce()).rejects.toMatchObject({ code: 'unknown-key' })
    expect(seqs()).toEqual([900])
  })

  /** Lets the write of that number fail. @returns whether there was none of that number */
  async function editionWith(fault: WriteFault, failing: number): Promise<boolean> {
    shown = []
    const store = createFaultyStore(openSqlite(':memory:'))
    const shares = sharesOver(store)
    const first = await add(shares, 'a')
    const before = store.writes()
    store.setFaults((write) => (write === before + failing ? fault : undefined))
    await add(shares, 'bb').catch(() => undefined)
    const isOver = store.writes() <= before + failing
    store.setFaults(() => undefined)
    const second = await add(sharesOver(store), 'bb')
    for (let round = 0; round < 2; round++) await sharesOver(store).announce()
    expect(seqs()).toEqual([0, 1])
    expect(hashes()).toEqual([first, second])
    return isOver
  }

  test.each(WRITE_FAULTS)('are told once, whichever write fails: %s', async (fault) => {
    for (let failing = 0; !(await editionWith(fault, failing)); failing++) expect(failing).toBeLessThan(100)
  })
})
