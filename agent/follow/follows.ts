/**
 * Owners that are followed, and the newest edition of each series of theirs. What a repository shows counts by its
 * signature alone; as an owner's editions are a chain, one that is left out is seen when the next one comes.
 */
import { equal, fromHex, toHex } from '../../protocol/bytes.ts'
import { parseEdition, requireEditor, type Edition } from '../../protocol/edition.ts'
import type { IdentityState } from '../../protocol/identity.ts'
import { decideAndWrite, readAll } from '../../protocol/items.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem, unlessBug } from '../../protocol/problem.ts'
import type { SignedEdition } from '../clients/repository-client.ts'
import type { AgentContext } from '../context.ts'
import { decodeRecord, encodeRecord } from '../records.ts'

export interface Follow {
  /** The owner's id, hex. */
  readonly id: string
  /** Series; all of them where it is empty. */
  readonly names: readonly string[]
  /** Editions that were left out of what was shown. */
  readonly missed: number
}

export interface Alert {
  /** The owner's id, hex. */
  readonly by: string
  readonly name: string
  readonly seq: number
  /** What the series holds now, and what before: v2, hex. */
  readonly infoHash: string
  readonly before?: string
  readonly issued: number
  /** It came since the owner of this agent last looked. */
  readonly isNew: boolean
}

export interface Follows {
  list(): Promise<readonly Follow[]>
  /** @param id hex. @throws Problem `limit-reached` */
  follow(id: string, names: readonly string[]): Promise<Follow>
  /** @throws Problem `not-found` */
  unfollow(id: string): Promise<void>
  /** The newest edition of each series, the latest first; asked for anew where a repository answers. */
  alerts(): Promise<readonly Alert[]>
  /** None of those that are known is new any more. */
  look(): Promise<void>
  /** Asks for what is due. */
  maintain(): Promise<void>
}

interface KeptEdition extends Omit<Alert, 'by' | 'isNew'> {}

interface Followed extends Follow {
  /** The newest edition that was read: its number and id. */
  readonly last?: { readonly seq: number; readonly id: string }
  /** Up to this number, the owner of this agent has looked. */
  readonly seenSeq: number
  readonly askedMs: number
  readonly editions: readonly KeptEdition[]
}

const PK = 'follow'
/** As many as a repository keeps. */
const PAGES = limits.editionsPerOwner / limits.editionsAnswered

export function createFollows({ store, repository, environment }: AgentContext): Follows {
  const { clock } = environment

  const all = (): Promise<readonly Followed[]> => readAll(store, PK, (item) => decodeRecord<Followed>(item))

  const change = (id: string, alter: (before: Followed | undefined) => Followed | undefined) =>
    decideAndWrite(store, async () => {
      const item = await store.get(PK, id)
      const result = alter(item && decodeRecord<Followed>(item))
      const expect = item?.version ?? 0
      return { changes: result ? [{ pk: PK, sk: id, expect, body: encodeRecord(result) }] : [], result }
    })

  async function follow(id: string, names: readonly string[]): Promise<Follow> {
    const known = await all()
    const isNew = !known.some((one) => one.id === id)
    if (isNew && known.length >= limits.follows)
      throw new Problem('limit-reached', `An agent follows up to ${limits.follows} owners.`)
    const begun = { missed: 0, seenSeq: -1, askedMs: 0, editions: [] }
    const followed = await change(id, (before) => ({ ...begun, ...before, id, names }))
    // What is there already is no news.
    if (isNew) await ask(id).then(() => seen(id), unlessBug)
    return { id, names, missed: followed?.missed ?? 0 }
  }

  /** Reads on past what does not hold, to the end of what a repository keeps. @throws Problem of the repository */
  async function ask(id: string): Promise<void> {
    const followed = await change(id, (before) => before && { ...before, askedMs: clock.now() })
    if (!followed) return
    let after = followed.last?.seq
    for (let page = 0; page < PAGES; page++) {
      const shown = await repository.editions(id, after)
      if (shown.length === 0) return
      const { state } = await repository.identity(id)
      const read = shown.flatMap((one) => readable(one) ?? [])
      const editions = read.filter((one) => isBelieved(one, state))
      if (editions.length > 0) await change(id, (before) => before && editions.reduce(take, before))
      if (shown.length < limits.editionsAnswered) return
      after = read.reduce((most, { seq }) => Math.max(most, seq), after ?? 0)
    }
  }

  const seen = (id: string) =>
    change(id, (before) => before && { ...before, seenSeq: before.last?.seq ?? before.seenSeq })

  async function askAll(isDue: (followed: Followed) => boolean): Promise<void> {
    await Promise.all((await all()).filter(isDue).map(({ id }) => ask(id).catch(unlessBug)))
  }

  return {
    list: async () => (await all()).map(({ id, names, missed }) => ({ id, names, missed })),
    follow,
    async unfollow(id) {
      const item = await store.get(PK, id)
      if (!item) throw new Problem('not-found', 'This owner is not followed.')
      await store.write([{ pk: PK, sk: id, expect: 'any' }])
    },
    async alerts() {
      await askAll(() => true)
      return (await all()).flatMap(alertsOf).toSorted((a, b) => b.issued - a.issued)
    },
    async look() {
      for (const { id } of await all()) await seen(id)
    },
    maintain: () => askAll(({ askedMs }) => clock.now() - askedMs >= limits.followMs),
  }
}

interface ShownEdition extends Edition {
  readonly delegation: SignedEdition['delegation']
}

function readable({ edition, delegation }: SignedEdition): ShownEdition | undefined {
  try {
    return { ...parseEdition(edition), delegation }
  } catch (error) {
    return unlessBug(error)
  }
}

/** One that does not hold says nothing about the others: it is left out, which is seen. */
function isBelieved(edition: ShownEdition, by: IdentityState): boolean {
  try {
    requireEditor(edition, by, edition.delegation, edition.issued)
    return true
  } catch (error) {
    return unlessBug(error) ?? false
  }
}

/** What is known after one more edition; an old one changes nothing. */
function take(before: Followed, edition: Edition): Followed {
  const { last, names, missed } = before
  const { id, seq, prev, name, infoHash, issued } = edition
  if (last && seq <= last.seq) return before
  const isNext = !last || (seq === last.seq + 1 && equal(prev ?? id, fromHex(last.id)))
  const next = {
    ...before,
    last: { seq, id: toHex(id) },
    missed: isNext ? missed : missed + Math.max(1, seq - (last?.seq ?? 0) - 1),
  }
  if (names.length > 0 && !names.includes(name)) return next
  const kept: KeptEdition = {
    name,
    seq,
    infoHash: toHex(infoHash),
    ...(edition.before && { before: toHex(edition.before) }),
    issued,
  }
  const others = before.editions.filter((one) => one.name !== name)
  return { ...next, editions: [...others, kept].slice(-limits.seriesFollowed) }
}

const alertsOf = ({ id, editions, seenSeq }: Followed): Alert[] =>
  editions.map((edition) => ({ by: id, ...edition, isNew: edition.seq > seenSeq }))
