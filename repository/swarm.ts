/** Who offers a content, in the order that serves the reader: those it vouches for first, then the cheapest. */
import { toHex, type Bytes } from '../protocol/bytes.ts'
import { limits } from '../protocol/limits.ts'
import type { Announcements, Offer } from './announcements.ts'
import type { Neighbourhoods } from './neighbourhoods.ts'

export interface Swarm {
  /** At most `limits.swarmSellers`. @param reader whose vouches put sellers first; an id that is not known here has none */
  of(infoHash: string, reader?: Bytes): Promise<readonly Offer[]>
}

const OFFERS_SORTED = 1024

export function createSwarm(neighbourhoods: Neighbourhoods, announcements: Announcements): Swarm {
  async function vouchedBy(reader: Bytes): Promise<ReadonlySet<string>> {
    const opened = await neighbourhoods.open(reader)
    return new Set(opened?.edges.map(({ subject }) => toHex(subject)))
  }

  return {
    async of(infoHash, reader) {
      const vouched = reader ? await vouchedBy(reader) : new Set<string>()
      const offers = await announcements.offers(infoHash, OFFERS_SORTED, vouched)
      const trust = ({ owner }: Offer): number => (vouched.has(owner) ? 0 : 1)
      return offers.toSorted((a, b) => trust(a) - trust(b) || Number(a.price - b.price)).slice(0, limits.swarmSellers)
    },
  }
}
