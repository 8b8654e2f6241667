/** What to download, as the owner names it: an info hash, a magnet link or a torrent; and the torrent that it means. */
import { fromBase64url, toHex, type Bytes } from '../../protocol/bytes.ts'
import { parseMagnet } from '../../protocol/magnet.ts'
import { isNamed, parseTorrent, type Metainfo } from '../../protocol/metainfo.ts'
import { Problem } from '../../protocol/problem.ts'
import type { RepositoryClient } from '../clients/repository-client.ts'

export interface Torrent {
  readonly bytes: Bytes
  readonly meta: Metainfo
}

const HASH = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/i

/**
 * @param source info hash (v2 or v1, hex), magnet link, or a torrent in base64url
 * @throws Problem `bad-request` for none of these, `bad-torrent`, `not-found` when no repository knows the hash, `peer-failed`
 */
export async function resolveSource(source: string, repository: Pick<RepositoryClient, 'torrent'>): Promise<Torrent> {
  if (HASH.test(source)) return fetchTorrent(source.toLowerCase(), repository)
  if (source.toLowerCase().startsWith('magnet:')) {
    const { infoHash, infoHashV1 } = parseMagnet(source)
    const hashes = [infoHash, infoHashV1].filter((hash) => hash !== undefined).map(toHex)
    const torrent = await fetchTorrent(hashes[0] as string, repository)
    if (!hashes.every((hash) => isNamed(torrent.meta, hash))) {
      throw new Problem('bad-request', 'The two hashes of the magnet link name different torrents.')
    }
    return torrent
  }
  const bytes = torrentBytes(source)
  return { bytes, meta: parseTorrent(bytes) }
}

/** The repository is not trusted: the torrent must have the hash it was asked for. */
async function fetchTorrent(infoHash: string, repository: Pick<RepositoryClient, 'torrent'>): Promise<Torrent> {
  const bytes = await repository.torrent(infoHash)
  const meta = parseTorrent(bytes)
  if (!isNamed(meta, infoHash)) throw new Problem('peer-failed', 'The repository answered with another torrent.')
  return { bytes, meta }
}

function torrentBytes(source: string): Bytes {
  try {
    return fromBase64url(source)
  } catch {
    throw new Problem('bad-request', 'A source is an info hash, a magnet link, or a torrent file in base64url.')
  }
}
