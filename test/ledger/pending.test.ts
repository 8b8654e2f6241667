/** Pointers share a write with those that come at the same moment, and wait for nobody else. */
import { setImmediate } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { createCompany, createPointing, readPointers, type Pointer } from '../../ledger/pending.ts'
import type { Clock } from '../../protocol/environment.ts'
import { contextOf, testClock } from './kit.ts'

/** @param clock by default one on which no time passes */
function open(clock: Clock = { ...testClock(), sleep: () => new Promise(() => {}) }) {
  const store = openSqlite(':memory:')
  const company = createCompany()
  const groups = async () => (await readPointers(store)).map(({ value }) => value.map(({ seq }) => seq))
  return { company, groups, point: createPointing(contextOf(store, clock), company) }
}

const pointer = (seq: number): Pointer => ({ lane: new Uint8Array(32), seq, mark: new Uint8Array(8).fill(seq) })

test('one that comes alone is written at once', async () => {
  const { company, groups, point } = open()
  const leave = company.enter()
  const pointed = point(pointer(1))
  leave()
  await pointed
  expect(await groups()).toEqual([[1]])
})

test('a group waits for those who may come, and takes them all', async () => {
  const { company, groups, point } = open()
  const leaves = [1, 2, 3].map(() => company.enter())
  const pointed: Promise<unknown>[] = []
  for (const [i, leave] of leaves.entries()) {
    expect(await groups()).toEqual([])
    if (i < 2) pointed.push(point(pointer(i)))
    leave()
    await setImmediate()
  }
  await Promise.all(pointed)
  expect(await groups()).toEqual([[0, 1]])
})

test('but not for long', async () => {
  const { company, groups, point } = open(testClock())
  company.enter()
  await point(pointer(7))
  expect(await groups()).toEqual([[7]])
})

test('nor for those who come later, whose pointers go into the next', async () => {
  const { company, groups, point } = open()
  const [first, second] = [company.enter(), company.enter()]
  const pointed = point(pointer(1))
  await setImmediate()
  company.enter()
  first()
  second()
  await pointed
  expect(await groups()).toEqual([[1]])
})
