/**
 * Brokers that the owner names: repositories, and agents, which know what they and their neighbours hold. They are asked
 * before the others who has a content. Trusted to be useful, and for nothing that they say: announcements are signed by
 * who has the content, and torrents have their hashes.
 */
import { checkUrl } from '../../protocol/address.ts'
import type { Bytes } from '../../protocol/bytes.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem, unlessBug } from '../../protocol/problem.ts'
import { createHttpClient } from '../clients/http-client.ts'
import { swarmShape, type SwarmSeller } from '../clients/repository-client.ts'
import type { AgentContext } from '../context.ts'
import { decodeRecord, encodeRecord } from '../records.ts'

export interface Brokers {
  /** Their URLs, without trailing slashes. */
  list(): Promise<readonly string[]>
  /** @throws Problem `bad-request`, `address-refused`, `limit-reached` */
  put(urls: readonly string[]): Promise<readonly string[]>
  /** Those whom they name; nothing of a broker that does not answer. @param infoHash v2, hex */
  swarm(infoHash: string): Promise<readonly SwarmSeller[]>
  /** @param infoHash v2 or v1, hex: who asks compares. @throws Problem `not-found` when none has it */
  torrent(infoHash: string): Promise<Bytes>
}

const PK = 'setting'
const SK = 'brokers'

export function createBrokers({ store, environment, allowLoopback }: AgentContext): Brokers {
  async function list(): Promise<readonly string[]> {
    const item = await store.get(PK, SK)
    return item ? decodeRecord<string[]>(item) : []
  }

  async function swarmAt(url: string, infoHash: string): Promise<readonly SwarmSeller[]> {
    const call = { method: 'GET', path: `/v1/contents/${infoHash}/swarm`, attempts: 1, ...SOON } as const
    return (await createHttpClient(environment, url).json(call, swarmShape)).sellers
  }

  return {
    list,
    async put(given) {
      const urls = [...new Set(given.map((url) => url.replace(/\/+$/, '')))]
      for (const url of urls) checkUrl(url, { allowLoopback })
      if (urls.length > limits.brokers)
        throw new Problem('limit-reached', `An agent asks up to ${limits.brokers} brokers.`)
      await store.write([{ pk: PK, sk: SK, expect: 'any', body: encodeRecord(urls) }])
      return urls
    },
    async swarm(infoHash) {
      const named = await Promise.all((await list()).map((url) => swarmAt(url, infoHash).catch(unlessBug)))
      return named.flatMap((sellers) => sellers ?? [])
    },
    async torrent(infoHash) {
      const call = { method: 'GET', path: `/v1/contents/${infoHash}/torrent`, attempts: 1 } as const
      for (const url of await list()) {
        const http = createHttpClient(environment, url)
        const torrent = await http.bytes({ ...call, replyBytes: limits.torrentBytes }).catch(unlessBug)
        if (torrent) return torrent
      }
      throw new Problem('not-found', 'No broker knows the content.')
    },
  }
}

/** A broker that hangs does not hold up a download for long. */
const SOON = { timeoutMs: limits.brokerTimeoutMs }
