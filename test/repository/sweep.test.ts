/** What is swept while somebody comes for it. */
import { expect, it } from 'vitest'
import { openSqlite } from '../../infra/store/sqlite.ts'
import { limits } from '../../protocol/limits.ts'
import type { Store } from '../../protocol/store.ts'
import { contentKey, swarmKey } from '../../repository/keys.ts'
import { content, contentOf, testRepository } from './kit.ts'
import { DAY, NOW, person } from './people.ts'

const ann = person(1)
const film = contentOf('film', content(10))

it.each(['before', 'after'])('a content that is announced just %s it would be forgotten stays known', async (when) => {
  const kept = openSqlite(':memory:')
  const now = NOW + limits.contentMs
  const announced = () => repository.announce(ann, film, { issued: now, expires: now + DAY })
  let cross: (() => Promise<unknown>) | undefined
  const write: Store['write'] = async (changes) => {
    const isForgotten = changes.some(({ pk, body }) => pk === contentKey(film.infoHash) && body === undefined)
    const isAnnounced = changes.some(({ pk }) => pk === swarmKey(film.infoHash))
    const run = (when === 'before' ? isForgotten : isAnnounced) ? cross : undefined
    if (run) cross = undefined
    await run?.()
    return kept.write(changes)
  }
  const repository = testRepository({}, { ...kept, write })
  await repository.register(ann)
  await repository.putTorrent(film)
  repository.setNow(now)
  cross = when === 'before' ? announced : () => repository.maintain()
  if (when === 'before') await repository.maintain()
  else {
    // Its agent is told to send it again.
    expect(await announced()).toMatchObject({ status: 404, json: { code: 'not-found', missing: 'content' } })
    await repository.putTorrent(film)
    expect(await announced()).toMatchObject({ status: 200 })
  }
  expect(cross).toBeUndefined()
  expect(await repository.search('film')).toHaveLength(1)
  for (const path of ['torrent', 'swarm'])
    expect(await repository.get(`/v1/contents/${film.infoHashV1}/${path}`)).toMatchObject({ status: 200 })
})
