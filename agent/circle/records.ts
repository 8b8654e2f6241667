/** The circles of an agent in its store: its own, whose broker it is, and those of others that it has joined. */
import { decideAndWrite, readAll } from '../../protocol/items.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import type { CircleKind } from '../../protocol/session.ts'
import type { EnvelopeJson } from '../../protocol/signed.ts'
import type { Store } from '../../protocol/store.ts'
import { decodeRecord, encodeRecord } from '../records.ts'

/** Who was taken out: sessions of before are void. */
export interface Revoked {
  /** The owner's id, hex. */
  readonly member: string
  readonly sinceMs: number
}

interface CircleTerms {
  readonly name: string
  readonly kind: CircleKind
  readonly revoked: readonly Revoked[]
}

export interface OwnCircle extends CircleTerms {
  readonly isOwn: true
  /** Owners' ids, hex. */
  readonly members: readonly string[]
}

export interface JoinedCircle extends CircleTerms {
  readonly isOwn: false
  /** Of the broker's agent, without a trailing slash. */
  readonly url: string
  /** The broker's id, hex. */
  readonly by: string
  /** The key that signs its sessions, hex, and what binds it to the broker. */
  readonly key: string
  readonly operations: readonly EnvelopeJson[]
  readonly delegation: EnvelopeJson
  /** When the broker was last asked about it. */
  readonly readMs: number
}

export type Circle = OwnCircle | JoinedCircle

export interface CircleRecords {
  get(name: string): Promise<Circle | undefined>
  list(): Promise<readonly Circle[]>
  /** @throws Problem `limit-reached`, and what `change` throws */
  change<C extends Circle>(name: string, change: (before: Circle | undefined) => C): Promise<C>
  remove(name: string): Promise<void>
}

const PK = 'circle'

export function createCircleRecords(store: Store): CircleRecords {
  async function get(name: string): Promise<Circle | undefined> {
    const item = await store.get(PK, name)
    return item && decodeRecord<Circle>(item)
  }
  const list = (): Promise<readonly Circle[]> => readAll(store, PK, (item) => decodeRecord<Circle>(item))

  return {
    get,
    list,
    change: (name, alter) =>
      decideAndWrite(store, async () => {
        const item = await store.get(PK, name)
        if (!item && (await list()).length >= limits.circles)
          throw new Problem('limit-reached', `An agent is in up to ${limits.circles} circles.`)
        const result = alter(item && decodeRecord<Circle>(item))
        return {
          changes: [{ pk: PK, sk: name, expect: item?.version ?? 0, body: encodeRecord<Circle>(result) }],
          result,
        }
      }),
    async remove(name) {
      if (!(await get(name))) throw new Problem('not-found', 'There is no circle of this name.')
      await store.write([{ pk: PK, sk: name, expect: 'any' }])
    },
  }
}
