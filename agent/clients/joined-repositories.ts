/**
 * Several repositories as one: what the owner says is told to all of them, what is asked is answered by whichever knows.
 * An agent that is registered at two joins them. The first is the one whose log is followed.
 */
import { parseAnnouncement } from '../../protocol/announcement.ts'
import { toHex } from '../../protocol/bytes.ts'
import type { ChainsJson } from '../../protocol/chain.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import type { Found, RepositoryClient, SwarmSeller } from './repository-client.ts'

type Introduce = (one: RepositoryClient) => Promise<void>

/** @param first whose word decides whether something was taken */
export function joinRepositories(first: RepositoryClient, ...others: readonly RepositoryClient[]): RepositoryClient {
  const all = [first, ...others]

  /** The others catch up when it is told again: what they refuse, or miss, is no failure. */
  async function tell<T>(say: (one: RepositoryClient) => Promise<T>, introduce?: Introduce): Promise<T> {
    const catchUp = async (one: RepositoryClient, error: unknown): Promise<T> => {
      const isBehind = error instanceof Problem && (error.code === 'not-found' || error.code === 'unknown-key')
      if (!isBehind || !introduce || one === first) throw error
      await introduce(one)
      return say(one)
    }
    const [said] = await Promise.allSettled(all.map((one) => say(one).catch((error: unknown) => catchUp(one, error))))
    if (said?.status === 'fulfilled') return said.value
    throw said?.reason
  }

  /** What the first knows of an owner and a content, for another that was away when it was told. */
  const introducing =
    (id: string, infoHash?: string): Introduce =>
    async (one) => {
      await one.putIdentity((await first.identity(id)).operations)
      if (infoHash !== undefined) await one.putTorrent(infoHash, await first.torrent(infoHash))
    }

  /** The first that has an answer. @throws what the first said, when none has */
  async function ask<T>(question: (one: RepositoryClient) => Promise<T>): Promise<T> {
    const answers = await Promise.allSettled(all.map(question))
    const answer = answers.find(({ status }) => status === 'fulfilled') ?? answers[0]
    if (answer?.status === 'fulfilled') return answer.value
    throw answer?.reason
  }

  /** All answers there are. @throws what the first said, when none answers */
  async function gather<T>(question: (one: RepositoryClient) => Promise<T>): Promise<readonly T[]> {
    const answers = await Promise.allSettled(all.map(question))
    const given = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []))
    const fault: unknown = answers.find((answer) => answer.status === 'rejected')?.reason
    if (given.length === 0) throw fault
    return given
  }

  return {
    ...first,
    putIdentity: (operations) => tell((one) => one.putIdentity(operations)),
    putBook: (id, book) => tell((one) => one.putBook(id, book), introducing(id)),
    putTorrent: (infoHash, torrent) => tell((one) => one.putTorrent(infoHash, torrent)),
    putLeaves: (infoHash, run) => tell((one) => one.putLeaves(infoHash, run)),
    announce: async (announcement, delegation) => {
      const { agent, infoHash } = parseAnnouncement(announcement)
      return tell((one) => one.announce(announcement, delegation), introducing(toHex(agent), toHex(infoHash)))
    },
    putNotice: (notice, delegation) => tell((one) => one.putNotice(notice, delegation)),
    putEdition: (edition, delegation) => tell((one) => one.putEdition(edition, delegation)),
    identity: (id) => ask((one) => one.identity(id)),
    book: (id) => ask((one) => one.book(id)),
    torrent: (infoHash) => ask((one) => one.torrent(infoHash)),
    content: (infoHash) => ask((one) => one.content(infoHash)),
    chains: async (query) => joinChains(await gather((one) => one.chains(query))),
    swarm: async (infoHash, reader) => joinSwarms(await gather((one) => one.swarm(infoHash, reader))),
    search: async (text) => joinFound(await gather((one) => one.search(text))),
    editions: async (by, after) => longest(await gather((one) => one.editions(by, after))),
    notices: async (id) => (await gather((one) => one.notices(id))).flat(),
  }
}

/** What the first says of somebody's keys counts: it is held to its log, which the others may be behind. */
function joinChains(shown: readonly ChainsJson[]): ChainsJson {
  const identities = new Map(inTurn(shown.map(({ identities: logs }) => logs)).map((log) => [nameOf(log), log]))
  for (const log of shown[0]?.identities ?? []) identities.set(nameOf(log), log)
  const chains = new Map(inTurn(shown.map(({ chains: each }) => each)).map((chain) => [JSON.stringify(chain), chain]))
  return {
    identities: [...identities.values()].slice(0, limits.chains * limits.chainVouches),
    chains: [...chains.values()].slice(0, limits.chains),
  }
}

const nameOf = ([first]: ChainsJson['identities'][number]): string => first?.body ?? ''

const joinSwarms = (shown: readonly (readonly SwarmSeller[])[]): readonly SwarmSeller[] => {
  const seen = new Map(inTurn(shown).map((seller) => [seller.announcement.signature.toString(), seller]))
  return [...seen.values()].slice(0, limits.swarmSellers)
}

function joinFound(shown: readonly (readonly Found[])[]): readonly Found[] {
  const found = new Map<string, Found>()
  for (const one of inTurn(shown)) {
    const known = found.get(one.infoHash)
    if (!known || known.sellers < one.sellers) found.set(one.infoHash, one)
  }
  return [...found.values()].slice(0, limits.searchResults)
}

/** The first of each, then the second of each: whoever shows much, or makes it up, leaves the others their share. */
const inTurn = <T>(lists: readonly (readonly T[])[]): readonly T[] =>
  Array.from({ length: Math.max(...lists.map(({ length }) => length)) }, (_, i) =>
    lists.flatMap((list) => list.slice(i, i + 1)),
  ).flat()

const longest = <T>(lists: readonly (readonly T[])[]): readonly T[] =>
  lists.reduce((most, list) => (list.length > most.length ? list : most))
