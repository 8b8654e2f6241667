/** Sealed pieces that wait for their keys. */
import { expect, it } from 'vitest'
import { createParking } from '../../agent/wallet/parked.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { createFaultyStore } from '../faults/faulty-store.ts'
import { pattern } from '../pattern.ts'
import { MiB } from './shop.ts'

const [LANE, OTHER] = ['ab'.repeat(32), 'cd'.repeat(32)]
const parkedOn = (lane: string) => ({
  lane,
  unit: 1,
  shape: { piece: 0, length: 1, levels: 0 },
  label: { body: '', key: '', signature: '' },
})

it('a sealed piece of any size is kept as it came until it is forgotten, and nothing of it after that', async () => {
  const store = openSqlite(':memory:')
  const parking = createParking(store, 'one')
  const body = pattern(5 * MiB + 3)
  await parking.park(parkedOn(LANE), body)
  await parking.park(parkedOn(OTHER), pattern(5, 2))
  expect(Buffer.from(await parking.body(LANE)).equals(body)).toBe(true)
  await parking.forget(LANE)
  expect(await parking.list()).toEqual([parkedOn(OTHER)])
  expect(await store.list(`parked/one/${LANE}`, { limit: 1 })).toEqual([])
  expect(await parking.body(OTHER)).toEqual(pattern(5, 2))
})

it('a sealed piece that could not be kept whole is not there', async () => {
  const store = createFaultyStore(openSqlite(':memory:'))
  const parking = createParking(store, 'one')
  store.setFaults((write) => (write === 1 ? 'lost' : undefined))
  await expect(parking.park(parkedOn(LANE), pattern(5 * MiB))).rejects.toMatchObject({ code: 'store-unavailable' })
  expect(await parking.list()).toEqual([])
})
