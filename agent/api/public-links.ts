/** Where what is free for all is had at this agent, without being a member of anything. */
import { filePath } from '../../protocol/metainfo.ts'
import { TRACKER_PATH } from '../bittorrent/tracker.ts'
import type { AgentContext } from '../context.ts'
import type { Share } from '../share/share.ts'

export const FILES_PATH = '/v1/files'
export const TORRENTS_PATH = '/v1/torrents'

export interface PublicLinks {
  /** Where stock clients are served. */
  readonly tracker?: string
  /** Ends with a slash, after which a client puts the name of a file, or a folder's and the path in it (BEP 19). */
  readonly webSeed: string
  readonly torrent: string
  /** For a browser: of the file, or of the list of a folder's files. */
  readonly url: string
  readonly files: readonly string[]
}

export function publicLinks(
  { publicUrl, bittorrent }: Pick<AgentContext, 'publicUrl' | 'bittorrent'>,
  { infoHash, meta }: Pick<Share, 'infoHash' | 'meta'>,
): PublicLinks {
  const webSeed = `${publicUrl}${FILES_PATH}/${infoHash}/`
  const files = meta.files.map((file) => webSeed + filePath(meta, file).map(encodeURIComponent).join('/'))
  return {
    ...(bittorrent && { tracker: `${publicUrl}${TRACKER_PATH}` }),
    webSeed,
    torrent: `${publicUrl}${TORRENTS_PATH}/${infoHash}.torrent`,
    url: meta.folder ? webSeed : (files[0] ?? webSeed),
    files,
  }
}
