/** Where an audit reads a log: at a ledger, or a copy of its checkpoint, tiles and bundles in a folder or at a URL. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fromUtf8, type Bytes } from '../../protocol/bytes.ts'
import type { Environment } from '../../protocol/environment.ts'
import { limits } from '../../protocol/limits.ts'
import { Problem } from '../../protocol/problem.ts'
import { createHttpClient } from '../clients/http-client.ts'
import type { LedgerClient } from '../clients/ledger-client.ts'

export interface LogSource {
  /** What is missing in a copy may still come. */
  readonly isCopy: boolean
  /** The signed note (C2SP tlog-checkpoint), as it lies there. @throws Problem `not-found`, `peer-failed` */
  checkpoint(): Promise<string>
  /** @param path as C2SP tlog-tiles names it, such as `tile/0/000`, of a shard after its own (protocol/shards.ts). @throws Problem `not-found`, `peer-failed` */
  tile(path: string): Promise<Bytes>
}

export const sourceAtLedger = (ledger: LedgerClient): LogSource => ({
  isCopy: false,
  checkpoint: () => ledger.checkpoint(),
  tile: (path) => ledger.tile(path),
})

/** @param url of what `checkpoint` and `tile/…` lie under, without a trailing slash */
export function sourceAtUrl(environment: Environment, url: string): LogSource {
  const http = createHttpClient(environment, url)
  const read = (path: string): Promise<Bytes> => http.bytes({ method: 'GET', path: `/${path}` }).catch(asMissing)
  return { isCopy: true, checkpoint: async () => fromUtf8(await read('checkpoint')), tile: read }
}

/** A bucket says in its own words that something is not there. */
function asMissing(error: unknown): never {
  if (error instanceof Problem && /status (?:403|404)\./.test(error.message)) throw missing()
  throw error
}

export function sourceInFolder(dir: string): LogSource {
  async function read(path: string): Promise<Bytes> {
    const bytes = await readFile(join(dir, path)).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'EISDIR' || error.code === 'ENOTDIR') throw missing()
      throw error
    })
    if (bytes.length > limits.replyBytes) throw new Problem('too-large', `${path} is larger than any part of a log.`)
    return new Uint8Array(bytes)
  }
  return { isCopy: true, checkpoint: async () => fromUtf8(await read('checkpoint')), tile: read }
}

const missing = (): Problem => new Problem('not-found', 'It is not there.')
