import { describe, expect, it } from 'vitest'
import { USUAL_PACE } from '../../agent/download/pace.ts'
import { toBase64url, toHex } from '../../protocol/bytes.ts'
import { formatMagnet } from '../../protocol/magnet.ts'
import { Problem } from '../../protocol/problem.ts'
import { decodePayment } from '../../protocol/x402.ts'
import { FAUCET, openBazaar, type Bazaar } from './bazaar.ts'
import { bytesOf, contentOf, filmOf, PIECE_BYTES } from './bazaar-content.ts'

const filesOn = (bazaar: Bazaar) => new Map([...bazaar.disk.files].map(([name, { bytes }]) => [name, bytes]))

describe('a download', () => {
  it('pays a unit a piece, and both sides agree in the end', async () => {
    const bazaar = await openBazaar(filmOf(24))
    const stand = await bazaar.stand('anna', { price: 3n })
    const buyer = await bazaar.buyer()
    const download = await buyer.fetch()
    expect(buyer.faults).toEqual([])
    expect(download).toMatchObject({ state: 'done', paid: 72n, ticks: 24, done: download.bytes, file: 'film.bin' })
    expect(filesOn(bazaar)).toEqual(bazaar.content.files)
    expect(await buyer.available()).toBe(FAUCET - 72n)
    expect(await buyer.frozen()).toBe(0n)
    expect(await stand.earned()).toBe(72n)
    expect([...stand.sent.values()].every((times) => times === 1)).toBe(true)
    expect(download.sellers).toMatchObject([
      { id: stand.id, pieces: 24, ticks: 24, bytes: download.bytes, status: 'good' },
    ])
  })

  it.each([0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 5 * PIECE_BYTES + 17])(
    'brings a file of %i bytes',
    async (bytes) => {
      const bazaar = await openBazaar(contentOf('über.txt', { 'über.txt': bytesOf(bytes) }))
      await bazaar.stand('anna')
      const download = await (await bazaar.buyer()).fetch()
      expect(download).toMatchObject({ state: 'done', file: 'über.txt', bytes, done: bytes })
      expect(download.paid).toBe(BigInt(Math.ceil(bytes / PIECE_BYTES)))
      expect(filesOn(bazaar)).toEqual(bazaar.content.files)
    },
  )

  it('brings a folder with nested names, empty files and files of many pieces', async () => {
    const files = {
      'a/leer.txt': bytesOf(0),
      'a/größe/日本語.txt': bytesOf(3 * PIECE_BYTES + 1, 1),
      'b.bin': bytesOf(1, 2),
      'z/zuletzt': bytesOf(0),
    }
    const bazaar = await openBazaar(contentOf('Fotos 2024', files, true))
    await bazaar.stand('anna')
    const download = await (await bazaar.buyer()).fetch()
    expect(download).toMatchObject({ state: 'done', file: 'Fotos 2024', paid: 5n })
    expect(filesOn(bazaar)).toEqual(bazaar.content.files)
  })

  it('puts a folder beside one of the same name', async () => {
    const bazaar = await openBazaar(contentOf('docs', { 'a.txt': bytesOf(9), 'b.txt': bytesOf(8, 1) }, true))
    await bazaar.stand('anna')
    bazaar.disk.plant('docs/a.txt', bytesOf(1))
    const download = await (await bazaar.buyer()).fetch()
    expect(download.file).toBe('docs (2)')
    expect([...bazaar.disk.files.keys()].toSorted()).toEqual(['docs (2)/a.txt', 'docs (2)/b.txt', 'docs/a.txt'])
  })

  it('is free of charge for public content', async () => {
    const bazaar = await openBazaar(filmOf(8))
    const stand = await bazaar.stand('anna', { public: true, price: 5n })
    const buyer = await bazaar.buyer()
    expect(await buyer.fetch()).toMatchObject({ state: 'done', paid: 0n, ticks: 0 })
    expect(await buyer.available()).toBe(FAUCET)
    expect(await stand.earned()).toBe(0n)
    expect((await bazaar.account(buyer.id)).declarations).toEqual([])
  })

  it('is found by either info hash, by magnet link and by torrent', async () => {
    const bazaar = await openBazaar(filmOf(2))
    await bazaar.stand('anna')
    const { downloads, rest } = await bazaar.buyer()
    const { meta, torrent } = bazaar.content
    const sources = [
      toHex(meta.infoHash),
      toHex(meta.infoHashV1).toUpperCase(),
      formatMagnet(meta),
      toBase64url(torrent),
    ]
    for (const source of sources) {
      const { id } = await bazaar.happen(downloads.start({ source }))
      expect(await rest(id)).toMatchObject({ state: 'done' })
    }
    expect(await downloads.list()).toHaveLength(sources.length)
    expect([...bazaar.disk.files.keys()]).toEqual(['film.bin', 'film (2).bin', 'film (3).bin', 'film (4).bin'])
  })

  it('refuses a source that is none, or that nobody knows', async () => {
    const bazaar = await openBazaar(filmOf(1))
    const { downloads } = await bazaar.buyer()
    await expect(downloads.start({ source: 'what?' })).rejects.toMatchObject({ code: 'bad-request' })
    await expect(downloads.start({ source: 'AAAA' })).rejects.toMatchObject({ code: 'bad-torrent' })
    const unknown = downloads.start({ source: 'ab'.repeat(32) })
    await expect(bazaar.happen(unknown)).rejects.toMatchObject({ code: 'not-found' })
    expect(await downloads.list()).toEqual([])
  })

  it('is the same download when it is asked for twice', async () => {
    const bazaar = await openBazaar(filmOf(3))
    await bazaar.stand('anna')
    const { downloads, rest } = await bazaar.buyer()
    const ask = () => downloads.start({ source: bazaar.content.infoHash })
    const [one, other] = await bazaar.happen(Promise.all([ask(), ask()]))
    expect(one.id).toBe(other.id)
    expect(await rest(one.id)).toMatchObject({ state: 'done', paid: 3n })
  })
})

describe('money', () => {
  it('is not spent above the highest price allowed, and a cheaper seller is waited for', async () => {
    const bazaar = await openBazaar(filmOf(6))
    const dear = await bazaar.stand('dear', { price: 4n })
    const { downloads, available, rest } = await bazaar.buyer()
    const { id } = await bazaar.happen(downloads.start({ source: bazaar.content.infoHash, maxPrice: 3n }))
    await bazaar.until(async () => (await downloads.get(id))?.state === 'waiting')
    expect(await downloads.get(id)).toMatchObject({ state: 'waiting', reason: 'price-exceeded', paid: 0n })
    expect(await available()).toBe(FAUCET)
    await bazaar.stand('fair', { price: 3n })
    expect(await rest(id)).toMatchObject({ state: 'done', paid: 18n })
    expect(await dear.earned()).toBe(0n)
  })

  it('goes to the cheaper of two sellers that are alike', async () => {
    const bazaar = await openBazaar(filmOf(20))
    const dear = await bazaar.stand('anna', { price: 9n })
    await bazaar.stand('berta', { price: 1n })
    const buyer = await bazaar.buyer({ pace: { workers: 1 } })
    expect(await buyer.fetch()).toMatchObject({ state: 'done' })
    // A lane at the most, from before the other has answered.
    expect(dear.sent.size).toBeLessThanOrEqual(USUAL_PACE.firstLaneUnits)
  })

  it('is waited for when there is too little, without spinning', async () => {
    const bazaar = await openBazaar(filmOf(4))
    await bazaar.stand('anna', { price: FAUCET / 4n + 1n })
    const { downloads } = await bazaar.buyer()
    const { id } = await bazaar.happen(downloads.start({ source: bazaar.content.infoHash }))
    await bazaar.until(async () => (await downloads.get(id))?.state === 'waiting')
    expect(await downloads.get(id)).toMatchObject({ reason: 'funds-insufficient', paid: 0n })
    let requests = 0
    bazaar.network.onSend(({ to }) => to === 'ledger.example' && requests++)
    await bazaar.pass(10 * 60_000)
    expect(requests).toBeLessThan(60)
    expect(await downloads.get(id)).toMatchObject({ state: 'waiting', ticks: 0 })
  })

  it('is paid once the ledger is back that was away when the terms were asked for', async () => {
    const bazaar = await openBazaar(filmOf(4))
    await bazaar.stand('anna')
    const { context, downloads, rest } = await bazaar.buyer()
    const there = { ...context.ledger }
    const away = () => Promise.reject(new Problem('peer-failed', 'The ledger did not answer.'))
    Object.assign(context.ledger, { info: away })
    const { id } = await bazaar.happen(downloads.start({ source: bazaar.content.infoHash }))
    await bazaar.until(async () => (await downloads.get(id))?.reason === 'peer-failed')
    Object.assign(context.ledger, there)
    expect(await rest(id)).toMatchObject({ state: 'done', ticks: 4 })
  })

  it('is paid after the piece where the seller gives credit, which it gives to whom it vouches for', async () => {
    const bazaar = await openBazaar(filmOf(30))
    const stand = await bazaar.stand('anna', { credit: 4, price: 2n })
    const modes = new Set<string>()
    stand.spoil = async (request, answer) => {
      const payment = request.headers.get('payment-signature')
      if (payment) modes.add(decodePayment(payment).accepted.extra.mode)
      return answer()
    }
    const buyer = await bazaar.buyer()
    const download = await buyer.fetch()
    expect([...modes]).toEqual(['credit'])
    expect(download).toMatchObject({ state: 'done', paid: 60n, ticks: 30 })
    expect(await stand.earned()).toBe(60n)
    expect(await buyer.frozen()).toBe(0n)
  })

  it('is paid in full where the seller gives credit, though the last tick arrives only once the download is done', async () => {
    const bazaar = await openBazaar(filmOf(3))
    const stand = await bazaar.stand('anna', { credit: 4, price: 2n })
    const buyer = await bazaar.buyer({ pace: { patienceMs: 2_000 } })
    let arrived = 0
    bazaar.network.onArrival(({ headers, answer }) => {
      if (headers.has('payment-signature') && answer.status === 200 && ++arrived === 3) stand.leave()
    })
    expect(await buyer.fetch()).toMatchObject({ state: 'done' })
    stand.comeBack()
    await bazaar.pass(60_000)
    await bazaar.happen(buyer.wallet.maintain())
    expect([await stand.earned(), await buyer.frozen()]).toEqual([6n, 0n])
  })

  it('is paid before the piece when credit does not reach', async () => {
    const bazaar = await openBazaar(filmOf(30))
    const stand = await bazaar.stand('anna', { credit: 1 })
    const buyer = await bazaar.buyer()
    expect(await buyer.fetch()).toMatchObject({ state: 'done', paid: 30n })
    expect(await stand.earned()).toBe(30n)
  })

  it('is not paid for bytes that are wrong, where the seller gives credit', async () => {
    const bazaar = await openBazaar(filmOf(10))
    const liar = await bazaar.stand('liar', { credit: 8 })
    liar.spoil = async (_, answer) => {
      const response = await answer()
      const bytes = new Uint8Array(await response.arrayBuffer()).map((byte) => byte ^ 1)
      return new Response(bytes, response)
    }
    await bazaar.stand('honest')
    const buyer = await bazaar.buyer()
    const download = await buyer.fetch()
    expect(download).toMatchObject({ state: 'done', paid: 10n })
    expect(download.sellers.find(({ id }) => id === liar.id)).toMatchObject({ status: 'lied', ticks: 0 })
    expect(await liar.earned()).toBe(0n)
  })

  it('asks a seller that has shown itself good for several pieces at a time', async () => {
    const bazaar = await openBazaar(filmOf(24))
    const stand = await bazaar.stand('anna', { public: true })
    let [under, most] = [0, 0]
    stand.spoil = async (_, answer) => {
      most = Math.max(most, ++under)
      await bazaar.scheduler.sleep(100)
      under--
      return answer()
    }
    const buyer = await bazaar.buyer({ pace: { lanesPerSeller: 3 } })
    expect(await buyer.fetch()).toMatchObject({ state: 'done', paid: 0n })
    expect(most).toBe(3)
  })

  it('divides the units among its flows so that they end together, and declares once', async () => {
    const bazaar = await openBazaar(filmOf(256))
    const stand = await bazaar.stand('anna')
    const endsMs: number[] = []
    let declarations = 0
    bazaar.network.onArrival(({ url, answer }) => {
      if (url.pathname === '/v1/declarations' && answer.status < 300) declarations++
    })
    stand.spoil = async (request, answer) => {
      if (request.headers.has('payment-signature')) await bazaar.scheduler.sleep(1_000)
      endsMs.push(bazaar.scheduler.now())
      return answer()
    }
    const buyer = await bazaar.buyer({ pace: { lanesPerSeller: 3 } })
    expect(await buyer.fetch()).toMatchObject({ state: 'done', paid: 256n })
    const lastMs = endsMs.at(-1) as number
    // Three flows, a piece a second each. Units go in segments of four, and a share is rounded: for one and a half of them two flows may be at rest.
    expect(endsMs.filter((ms) => ms > lastMs - 10_000).length).toBeGreaterThanOrEqual(30 - 2 * 6)
    expect(declarations).toBe(1)
  })

  it('opens few lanes with a seller that is fast', async () => {
    const bazaar = await openBazaar(filmOf(256))
    await bazaar.stand('anna')
    let claims = 0
    bazaar.network.onArrival(({ url, answer }) => {
      if (url.pathname === '/v1/claims' && answer.status < 300) claims++
    })
    const buyer = await bazaar.buyer({ pace: { lanesPerSeller: 3 } })
    expect(await buyer.fetch()).toMatchObject({ state: 'done', paid: 256n })
    expect(claims).toBeLessThanOrEqual(5)
  })

  it('gives sellers lanes by their rates, so that the fast ones need no more for what the slow ones have', async () => {
    const bazaar = await openBazaar(filmOf(400))
    const [fast, slow] = [await bazaar.stand('anna'), await bazaar.stand('bert')]
    const claims = new Map<string, number>()
    for (const [stand, ms] of [
      [fast, 100],
      [slow, 1_000],
    ] as const) {
      stand.spoil = async (request, answer) => {
        if (request.headers.has('payment-signature')) await bazaar.scheduler.sleep(ms)
        return answer()
      }
    }
    bazaar.network.onArrival(({ from, url, answer }) => {
      if (url.pathname === '/v1/claims' && answer.status < 300) claims.set(from, (claims.get(from) ?? 0) + 1)
    })
    const buyer = await bazaar.buyer({ pace: { lanesPerSeller: 3 } })
    expect(await buyer.fetch()).toMatchObject({ state: 'done', paid: 400n })
    expect(claims.get('anna')).toBeLessThanOrEqual(12)
    expect(claims.get('bert')).toBeLessThanOrEqual(4)
  })

  it('declares seldom, also where two sellers come to the end of their lanes at different times', async () => {
    const bazaar = await openBazaar(filmOf(400))
    const asked: string[] = []
    for (const [name, ms] of [
      ['anna', 100],
      ['bert', 200],
    ] as const) {
      const stand = await bazaar.stand(name)
      stand.spoil = async (request, answer) => {
        if (request.headers.has('payment-signature')) await bazaar.scheduler.sleep(ms)
        return answer()
      }
    }
    bazaar.network.onArrival(({ url, answer }) => {
      if (answer.status < 300) asked.push(url.pathname)
    })
    const buyer = await bazaar.buyer({ pace: { lanesPerSeller: 3 } })
    expect(await buyer.fetch()).toMatchObject({ state: 'done', paid: 400n })
    expect(asked.filter((path) => path === '/v1/declarations').length).toBeLessThanOrEqual(4)
    expect(asked.filter((path) => path === '/v1/claims').length).toBeLessThanOrEqual(14)
  })

  it('says of a seller that sells on credit alone that it grants none', async () => {
    const bazaar = await openBazaar(filmOf(2))
    await bazaar.stand('anna', { modes: ['credit'] })
    const buyer = await bazaar.buyer()
    const detail = 'The seller grants no credit and puts up no bond, and sells in no other way.'
    const { id } = await bazaar.happen(buyer.downloads.start({ source: bazaar.content.infoHash }))
    await bazaar.pass(10_000)
    expect(await buyer.downloads.get(id)).toMatchObject({ reason: 'no-sellers', sellers: [{ detail }] })
  })

  it('asks for no sealed piece over and over while the ledger does not answer', async () => {
    const bazaar = await openBazaar(filmOf(6))
    const stand = await bazaar.stand('anna', { modes: ['sealed'] })
    stand.spoil = async (request, answer) => {
      const answered = await answer()
      // The lane is claimed by now.
      if (request.headers.has('payment-signature')) bazaar.setLedgerUp(false)
      return answered
    }
    const buyer = await bazaar.buyer()
    const { id } = await bazaar.happen(buyer.downloads.start({ source: bazaar.content.infoHash }))
    await bazaar.pass(120_000)
    stand.spoil = undefined
    bazaar.setLedgerUp(true)
    expect(await buyer.rest(id)).toMatchObject({ state: 'done', paid: 6n })
    expect(Math.max(...stand.sent.values())).toBeLessThanOrEqual(5)
  })
})
