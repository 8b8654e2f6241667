/**
 * The worker of a download that is spread: it wakes the workers of the stretches, rests while they work, and once all of
 * them are done goes on with the whole, to which nothing is missing then. It alone changes how the download stands.
 */
import { unlessBug } from '../../protocol/problem.ts'
import type { DownloadRecord } from './record.ts'
import { isStopped, LATE_MS, type Rest, type ShiftParts } from './shift.ts'
import { downloadOf, type FanOut } from './stretches.ts'
import { settled } from './supervisor.ts'

/** How long the others are given to come to rest. */
const REST_MS = 5_000

/** @returns how it rests while there are stretches left; undefined where the download's own worker goes on */
export async function spreadOut(parts: ShiftParts, before: DownloadRecord): Promise<Rest | undefined> {
  const { calls, records, supervisor, fanOut, clock } = parts
  if (!fanOut || before.stretch !== undefined) return undefined
  const isToRest = await calls.isToRest(before.id)
  // Where that fails, one worker does what several would have.
  if (!isToRest) await supervisor.spread(before, fanOut).catch(unlessBug)
  const record = await records.get(before.id)
  const left = (await records.stretchesOf(record)).filter(({ state }) => state !== 'done')
  if (left.length === 0) return undefined
  const failed = left.find(({ state }) => state === 'failed')
  if (record.state === 'running' && failed) return giveUp(parts, left, failed)
  if (isToRest) return { isOver: true }
  await send(parts, fanOut, record, left)
  // Whoever lets it go on wakes another worker.
  if (record.state === 'running' && left.every(isStopped)) return { isOver: true }
  return { isOver: false, untilMs: clock.now() + LATE_MS }
}

/** Those that nobody is at; all of them when the owner has just let it go on. */
async function send(
  { records, leases }: ShiftParts,
  { wake }: FanOut,
  { id, state }: DownloadRecord,
  left: readonly DownloadRecord[],
): Promise<void> {
  const isNew = state !== 'running'
  for (const one of left) {
    if (isNew) await records.update(one.id, (record) => ({ ...settled(record, undefined), state: 'queued' }))
    if (isNew || !(isStopped(one) || (await leases.isTaken(one.id)))) await wake(one.id)
  }
  const begun = (record: DownloadRecord): DownloadRecord =>
    record.state === state ? { ...settled(record, undefined), state: 'running' } : record
  if (isNew) await records.update(id, begun)
}

/** What stopped one stops all. Their lanes are ended once nobody is at any of them. */
async function giveUp(
  { clock, calls, leases, supervisor }: ShiftParts,
  left: readonly DownloadRecord[],
  { id, reason = 'internal', detail = '' }: DownloadRecord,
): Promise<Rest> {
  const download = downloadOf(id)
  await calls.rest(download)
  const areAtWork = await Promise.all(left.map((one) => leases.isAtWork(one.id)))
  if (areAtWork.includes(true)) return { isOver: false, untilMs: clock.now() + REST_MS }
  await supervisor.giveUp(download, { reason, detail })
  return { isOver: true }
}
