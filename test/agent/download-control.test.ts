import { describe, expect, it } from 'vitest'
import type { Storage } from '../../agent/storage/storage.ts'
import { fromUtf8, toBase64url } from '../../protocol/bytes.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Change, Store } from '../../protocol/store.ts'
import { createFaultyStore, type FaultyStore, type WriteFault } from '../faults/faulty-store.ts'
import { FAUCET, openBazaar, type Bazaar, type Buyer } from './bazaar.ts'
import { bytesOf, contentOf, filmOf, PIECE_BYTES, type Content } from './bazaar-content.ts'

async function half(bazaar: Bazaar, buyer: Buyer): Promise<string> {
  const { id } = await bazaar.happen(buyer.downloads.start({ source: bazaar.content.infoHash }))
  await bazaar.until(async () => ((await buyer.downloads.get(id))?.piecesDone ?? 0) >= 20)
  return id
}

const isDone = ({ pk, body }: Change): boolean =>
  pk === 'download' && body !== undefined && fromUtf8(body).includes('"state":"done"')

const isFailed = ({ pk, body }: Change): boolean =>
  pk === 'download' && body !== undefined && fromUtf8(body).includes('"state":"failed"')

/** A store whose writes may fail. */
const faulty =
  (faultOf: (changes: readonly Change[]) => WriteFault | undefined) =>
  (inner: Store): FaultyStore => {
    const store = createFaultyStore(inner)
    store.setFaults((_, changes) => faultOf(changes))
    return store
  }

/** A disk on which each `put` may fail. */
const failing =
  (problem: () => Problem | undefined) =>
  (inner: Storage): Storage => ({
    ...inner,
    async put(...put) {
      const wrong = problem()
      if (wrong) throw wrong
      return inner.put(...put)
    },
  })

describe('the owner', () => {
  it('pauses a download, which then asks for nothing, and resumes it', async () => {
    const bazaar = await openBazaar(filmOf(40))
    const stand = await bazaar.stand('anna')
    const buyer = await bazaar.buyer()
    const id = await half(bazaar, buyer)
    const paused = await bazaar.happen(buyer.downloads.pause(id))
    expect(paused).toMatchObject({ id, state: 'paused' })
    await bazaar.pass(1_000)
    const sent = stand.sent.size
    await bazaar.pass(120_000)
    expect(stand.sent.size).toBe(sent)
    expect(await bazaar.happen(buyer.downloads.pause(id))).toMatchObject({
      state: 'paused',
      piecesDone: paused.piecesDone,
    })
    await bazaar.happen(buyer.downloads.resume(id))
    expect(await buyer.rest(id)).toMatchObject({ state: 'done', paid: 40n })
    expect(await stand.earned()).toBe(40n)
  })

  it('pauses a download, and a seller that was about to be asked is not', async () => {
    const bazaar = await openBazaar(filmOf(40))
    const stand = await bazaar.stand('anna')
    const held = Promise.withResolvers<void>()
    let isHeld = false
    const holding = (inner: Store): Store => ({
      ...inner,
      async write(changes) {
        if (isHeld && changes.some(({ pk }) => pk !== 'download')) await held.promise
        return inner.write(changes)
      },
    })
    const buyer = await bazaar.buyer({ wrapStore: holding })
    const id = await half(bazaar, buyer)
    isHeld = true
    await bazaar.pass(60_000)
    let asked = 0
    stand.spoil = (_, answer) => {
      asked++
      return answer()
    }
    const pausing = buyer.downloads.pause(id)
    await bazaar.pass(1_000)
    held.resolve()
    expect(await bazaar.happen(pausing)).toMatchObject({ state: 'paused' })
    expect(asked).toBe(0)
    await bazaar.happen(buyer.downloads.resume(id))
    expect(await buyer.rest(id)).toMatchObject({ state: 'done', paid: 40n })
  })

  /** The write that says so fails: the owner hears of it, and nothing has happened; or it has, `unanswered`. */
  async function whileTheStoreFails(order: 'pause' | 'cancel', fault: WriteFault = 'lost') {
    const bazaar = await openBazaar(filmOf(40))
    await bazaar.stand('anna')
    let store: FaultyStore | undefined
    const buyer = await bazaar.buyer({ wrapStore: (inner) => (store = createFaultyStore(inner)) })
    const id = await half(bazaar, buyer)
    store?.setFaults((_, changes) => (changes.some(({ sk }) => sk === id) ? fault : undefined))
    await expect(bazaar.happen(buyer.downloads[order](id))).rejects.toMatchObject({ code: 'store-unavailable' })
    store?.setFaults(() => undefined)
    return { bazaar, buyer, id }
  }

  it('goes on with a download that could not be paused', async () => {
    const { buyer, id } = await whileTheStoreFails('pause')
    expect(await buyer.rest(id)).toMatchObject({ state: 'done', paid: 40n, ticks: 40 })
  })

  it('cancels a download at the second try, and knows what it paid', async () => {
    const { bazaar, buyer, id } = await whileTheStoreFails('cancel')
    await bazaar.happen(buyer.downloads.cancel(id))
    await bazaar.pass(60_000)
    const { state, paid = 0n } = (await buyer.downloads.get(id)) ?? {}
    expect(state).toBe('cancelled')
    expect(paid).toBe(FAUCET - (await buyer.available()))
    expect(paid).toBeGreaterThan(0n)
  })

  it.each(['pause', 'cancel'] as const)('hears nothing of a %s that was written, and stays so', async (order) => {
    const { bazaar, buyer: first, id } = await whileTheStoreFails(order, 'unanswered')
    await bazaar.pass(60_000)
    const state = order === 'pause' ? 'paused' : 'cancelled'
    expect(await first.downloads.get(id)).toMatchObject({ state })
    const second = await bazaar.buyer()
    void second.downloads.resumeAll()
    await bazaar.pass(60_000)
    expect(await second.downloads.get(id)).toMatchObject({ state })
    expect([...first.faults, ...second.faults]).toEqual([])
    expect(bazaar.disk.unfinished.size).toBe(order === 'pause' ? 1 : 0)
  })

  it('finds a paused download paused after a restart', async () => {
    const bazaar = await openBazaar(filmOf(40))
    await bazaar.stand('anna')
    const first = await bazaar.buyer()
    const id = await half(bazaar, first)
    const paused = await bazaar.happen(first.downloads.pause(id))
    const second = await bazaar.buyer()
    void second.downloads.resumeAll()
    await bazaar.pass(60_000)
    const { done, piecesDone, paid } = paused
    expect(await second.downloads.get(id)).toMatchObject({ state: 'paused', done, piecesDone, paid })
  })

  it('stops the agent and starts it again without losing a thing', async () => {
    const bazaar = await openBazaar(filmOf(40))
    await bazaar.stand('anna')
    const first = await bazaar.buyer()
    const id = await half(bazaar, first)
    await bazaar.happen(first.downloads.stop())
    expect((await first.downloads.get(id))?.state).toBe('running')
    const second = await bazaar.buyer()
    void second.downloads.resumeAll()
    expect(await second.rest(id)).toMatchObject({ state: 'done', paid: 40n })
  })

  it('cancels a download: nothing is left in the storage, nothing stays frozen', async () => {
    const bazaar = await openBazaar(filmOf(40))
    const stand = await bazaar.stand('anna')
    const buyer = await bazaar.buyer()
    const id = await half(bazaar, buyer)
    const cancelled = await bazaar.happen(buyer.downloads.cancel(id))
    expect(cancelled.state).toBe('cancelled')
    expect(bazaar.disk.files.size + bazaar.disk.unfinished.size).toBe(0)
    await bazaar.pass(10_000)
    const { paid } = (await buyer.downloads.get(id)) ?? cancelled
    expect(await buyer.frozen()).toBe(0n)
    expect(await buyer.available()).toBe(FAUCET - (await stand.earned()))
    expect(paid - (await stand.earned())).toBeLessThanOrEqual(2n)
    await expect(buyer.downloads.resume(id)).rejects.toMatchObject({ code: 'closed' })
    expect(await bazaar.happen(buyer.downloads.cancel(id))).toMatchObject({ state: 'cancelled' })
  })

  it('cancels a download just before a crash, and the next start tidies up', async () => {
    const bazaar = await openBazaar(filmOf(40))
    await bazaar.stand('anna')
    const first = await bazaar.buyer()
    const id = await half(bazaar, first)
    void first.downloads.cancel(id)
    await bazaar.until(async () => (await first.downloads.get(id))?.state === 'cancelled')
    const second = await bazaar.buyer()
    void second.downloads.resumeAll()
    await bazaar.pass(10_000)
    expect(bazaar.disk.unfinished.size).toBe(0)
    expect(await second.frozen()).toBe(0n)
  })

  it('cancels a download while the store is away: nothing stays frozen once it is back', async () => {
    const bazaar = await openBazaar(filmOf(40))
    await bazaar.stand('anna')
    let failures = 0
    const isSettling = ({ sk }: Change): boolean => sk.startsWith('settle/')
    const wrapStore = faulty((changes) => (changes.some(isSettling) && failures++ < 3 ? 'lost' : undefined))
    const buyer = await bazaar.buyer({ wrapStore })
    const id = await half(bazaar, buyer)
    await bazaar.happen(buyer.downloads.cancel(id))
    await bazaar.pass(60_000)
    expect(failures).toBeGreaterThan(3)
    expect(await buyer.frozen()).toBe(0n)
  })

  it('cancels a download in the midst of its declaration: nothing stays frozen', async () => {
    const bazaar = await openBazaar(filmOf(4))
    await bazaar.stand('anna')
    let declaring = 0
    const slow = (store: Store): Store => ({
      ...store,
      async write(changes) {
        const isDeclared = changes.some(({ sk }) => sk.startsWith('declaration/'))
        if (isDeclared && declaring++ === 0) await bazaar.scheduler.sleep(5_000)
        return store.write(changes)
      },
    })
    const buyer = await bazaar.buyer({ wrapStore: slow })
    const { id } = await bazaar.happen(buyer.downloads.start({ source: bazaar.content.infoHash }))
    await bazaar.until(() => declaring > 0)
    await bazaar.happen(buyer.downloads.cancel(id))
    await bazaar.pass(60_000)
    await bazaar.happen(buyer.wallet.maintain())
    expect(declaring).toBeGreaterThan(0)
    expect(await buyer.frozen()).toBe(0n)
  })

  it.each(['at once', 'in part'])('cancels a download whose files are there already, %s: none is left', async (how) => {
    const folder = { 'a.bin': bytesOf(PIECE_BYTES), 'b.bin': bytesOf(10, 7), empty: bytesOf(0) }
    const bazaar = await openBazaar(contentOf('album', folder, true))
    await bazaar.stand('anna')
    let committed = 0
    let isAway = how === 'in part'
    const unavailable = new Problem('storage-unavailable', 'The disk does not answer.')
    const buyer = await bazaar.buyer({
      wrapStore: faulty((changes) => (changes.some(isDone) ? 'lost' : undefined)),
      wrapStorage: (inner) => ({
        ...inner,
        commit: (write) =>
          isAway && write.name.endsWith('b.bin')
            ? Promise.reject(unavailable)
            : inner.commit(write).finally(() => committed++),
      }),
    })
    const { id } = await bazaar.happen(buyer.downloads.start({ source: bazaar.content.infoHash }))
    await bazaar.until(() => committed >= 2)
    isAway = false
    await bazaar.happen(buyer.downloads.cancel(id))
    await bazaar.pass(60_000)
    expect(await buyer.downloads.get(id)).toMatchObject({ state: 'cancelled' })
    expect(bazaar.disk.files.size + bazaar.disk.unfinished.size).toBe(0)
  })

  it('gets two folders of one name apart, also where both are begun at once', async () => {
    const bazaar = await openBazaar(contentOf('album', { 'a.bin': bytesOf(PIECE_BYTES), empty: bytesOf(0) }, true))
    await bazaar.stand('anna')
    const { downloads, rest } = await bazaar.buyer()
    const unsold = contentOf('album', { 'a.bin': bytesOf(PIECE_BYTES, 7) }, true)
    const start = ({ torrent }: Content) => downloads.start({ source: toBase64url(torrent) })
    const [, { id }] = await bazaar.happen(Promise.all([start(unsold), start(bazaar.content)]))
    expect(await rest(id)).toMatchObject({ state: 'done', file: 'album (2)' })
    expect([...bazaar.disk.files.keys()].toSorted()).toEqual(['album (2)/a.bin', 'album (2)/empty'])
  })

  it('cannot change what has ended, nor what never was', async () => {
    const bazaar = await openBazaar(filmOf(2))
    await bazaar.stand('anna')
    const { downloads, fetch } = await bazaar.buyer()
    const { id } = await fetch()
    for (const change of ['pause', 'resume', 'cancel'] as const) {
      await expect(downloads[change](id)).rejects.toMatchObject({ code: 'closed' })
      await expect(downloads[change]('nothing')).rejects.toMatchObject({ code: 'not-found' })
    }
    expect(await downloads.get('nothing')).toBeUndefined()
  })

  it('sees how far it is, how fast, and what it has cost so far', async () => {
    const bazaar = await openBazaar(filmOf(200))
    await bazaar.stand('anna', { price: 2n })
    const buyer = await bazaar.buyer()
    const id = await half(bazaar, buyer)
    const download = await buyer.downloads.get(id)
    expect(download).toMatchObject({ state: 'running', pieces: 200, link: 'folder', name: 'film.bin' })
    expect(download?.paid).toBe(BigInt(download?.ticks ?? 0) * 2n)
    expect(download?.bytesPerSecond).toBeGreaterThan(100_000)
    expect(download?.secondsLeft).toBeGreaterThan(0)
    expect(download?.done).toBeLessThan(download?.bytes ?? 0)
  })
})

describe('a storage', () => {
  it.each(['lost', 'unanswered'] as const)(
    'that fails for good is told so, though that write is %s at first',
    async (fault) => {
      const bazaar = await openBazaar(filmOf(4))
      await bazaar.stand('anna')
      let failures = 0
      const buyer = await bazaar.buyer({
        wrapStore: faulty((changes) => (changes.some(isFailed) && failures++ === 0 ? fault : undefined)),
        wrapStorage: failing(() => new Problem('storage-denied', 'The disk lets nobody in.', { fatal: 'auth' })),
      })
      const { id } = await bazaar.happen(buyer.downloads.start({ source: bazaar.content.infoHash }))
      await bazaar.pass(600_000)
      expect(await buyer.downloads.get(id)).toMatchObject({ state: 'failed', reason: 'storage-denied' })
      expect(buyer.faults).toEqual([])
    },
  )

  it('that says over and over that another is at it fails the download, after a few tries', async () => {
    const bazaar = await openBazaar(filmOf(4))
    await bazaar.stand('anna')
    let tries = 0
    const buyer = await bazaar.buyer({
      wrapStorage: (inner) => ({
        ...inner,
        commit: () => (tries++, Promise.reject(new Problem('conflict', 'Another is at it.'))),
      }),
    })
    expect(await buyer.fetch()).toMatchObject({ state: 'failed', reason: 'conflict' })
    expect(tries).toBe(3)
  })

  it('that does not answer is asked less and less often', async () => {
    const bazaar = await openBazaar(filmOf(4))
    await bazaar.stand('anna')
    let tries = 0
    const away = () => (tries++, new Problem('storage-unavailable', 'The disk does not answer.'))
    const buyer = await bazaar.buyer({
      wrapStorage: (inner) => ({ ...inner, begin: () => Promise.reject(away()) }),
    })
    await bazaar.happen(buyer.downloads.start({ source: bazaar.content.infoHash }))
    await bazaar.pass(600_000)
    expect(tries).toBeGreaterThan(20)
    expect(tries).toBeLessThan(30)
  })

  it('that is full in the midst of a download is waited for, and what was paid is not paid again', async () => {
    const bazaar = await openBazaar(filmOf(30))
    const stand = await bazaar.stand('anna')
    let puts = 0
    const full = () => (++puts > 12 && puts < 20 ? new Problem('storage-full', 'The disk is full.') : undefined)
    const buyer = await bazaar.buyer({ wrapStorage: failing(full) })
    const { id } = await bazaar.happen(buyer.downloads.start({ source: bazaar.content.infoHash }))
    await bazaar.until(async () => (await buyer.downloads.get(id))?.state === 'waiting')
    expect(await buyer.downloads.get(id)).toMatchObject({ reason: 'storage-full', until: expect.any(Number) })
    expect(await buyer.rest(id)).toMatchObject({ state: 'done', paid: 30n })
    expect(await stand.earned()).toBe(30n)
  })

  it('that has no room from the start fails the download before anything is paid', async () => {
    const bazaar = await openBazaar(filmOf(30))
    await bazaar.stand('anna')
    const small = (inner: Storage): Storage => ({
      ...inner,
      begin: () => Promise.reject(new Problem('storage-full', 'The disk has no room.')),
    })
    const buyer = await bazaar.buyer({ wrapStorage: small })
    expect(await buyer.fetch()).toMatchObject({ state: 'failed', reason: 'storage-full', paid: 0n })
    expect(await buyer.available()).toBe(FAUCET)
  })

  it('that cannot be written fails the download, which goes on once it can', async () => {
    const bazaar = await openBazaar(filmOf(30))
    await bazaar.stand('anna')
    let isLocked = false
    const locked = () => (isLocked ? new Problem('storage-read-only', 'The folder cannot be written.') : undefined)
    const buyer = await bazaar.buyer({ wrapStorage: failing(locked) })
    const id = await half(bazaar, buyer)
    isLocked = true
    const failed = await buyer.rest(id)
    expect(failed).toMatchObject({
      state: 'failed',
      reason: 'storage-read-only',
      detail: 'The folder cannot be written.',
    })
    expect(await buyer.frozen()).toBe(0n)
    isLocked = false
    await bazaar.happen(buyer.downloads.resume(id))
    expect(await buyer.rest(id)).toMatchObject({ state: 'done', piecesDone: 30 })
  })

  it('that lost what it had is filled again', async () => {
    const bazaar = await openBazaar(filmOf(30))
    await bazaar.stand('anna')
    const first = await bazaar.buyer()
    const { id } = await bazaar.happen(first.downloads.start({ source: bazaar.content.infoHash }))
    await bazaar.until(async () => ((await first.downloads.get(id))?.piecesDone ?? 0) >= 20)
    await bazaar.happen(first.downloads.stop())
    for (const write of bazaar.disk.unfinished.values()) write.put = []
    const second = await bazaar.buyer()
    void second.downloads.resumeAll()
    const download = await second.rest(id)
    expect(download).toMatchObject({ state: 'done', piecesDone: 30 })
    expect(download.paid).toBeGreaterThanOrEqual(50n)
    expect(bazaar.disk.files.get('film.bin')?.bytes).toEqual(bazaar.content.files.get('film.bin'))
  })
})
