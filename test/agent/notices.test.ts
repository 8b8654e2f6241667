/** What an owner is told of distrusts, by a repository that may say anything. */
import { expect, it } from 'vitest'
import type { RepositoryClient } from '../../agent/clients/repository-client.ts'
import { readNotices } from '../../agent/trust/notices.ts'
import type { Environment } from '../../protocol/environment.ts'
import { notify, type NoticeTerms } from '../../protocol/notice.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Envelope } from '../../protocol/signed.ts'
import { handClock, START_MS } from './hand-clock.ts'
import { contextOf, friend, other, owner, stranger, type Person } from './trust-desk.ts'

const noticeOf = (by: Person, terms: Partial<NoticeTerms> = {}, signer = by.signer): Envelope =>
  notify({ by: by.id, issued: START_MS, subject: stranger.id, times: 1, to: owner.id, ...terms }, signer)

async function told(...shown: Envelope[]): Promise<readonly unknown[]> {
  const known = [friend, other]
  const repository: Pick<RepositoryClient, 'notices' | 'identity'> = {
    notices: async () => shown.map((notice) => ({ notice, delegation: undefined })),
    async identity(id) {
      const found = known.find(({ hex }) => hex === id)
      if (!found) throw new Problem('not-found', 'It knows no such id.')
      return { operations: [found.operation], state: found.state }
    },
  }
  const environment = { clock: handClock() } as Partial<Environment> as Environment
  return readNotices(contextOf({ environment, repository: repository as RepositoryClient }))
}

it('the newest notice stands first', async () => {
  expect(await told(noticeOf(friend), noticeOf(other, { issued: START_MS + 1, times: 3 }))).toEqual([
    { by: other.hex, subject: stranger.hex, times: 3, issued: START_MS + 1 },
    { by: friend.hex, subject: stranger.hex, times: 1, issued: START_MS },
  ])
})

it.each([
  ['to somebody else', noticeOf(other, { to: friend.id })],
  ['in another’s name', noticeOf(other, {}, stranger.signer)],
  ['from nobody who is known', noticeOf(stranger)],
  ['changed on its way', { ...noticeOf(other), body: noticeOf(other, { times: 9 }).body }],
])('a notice %s is not shown, and those that hold are', async (_, notice) => {
  expect(await told(notice, noticeOf(friend))).toMatchObject([{ by: friend.hex }])
})
