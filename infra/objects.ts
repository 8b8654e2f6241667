/** Where a ledger puts its log as plain objects: what LEDGER_TILES names. */
import { open, rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { makeFolder } from '../agent/make-folder.ts'
import type { ObjectStore } from '../ledger/publisher.ts'
import { Problem } from '../protocol/problem.ts'

/**
 * @param spec `dir:PATH`, or `s3://BUCKET` with `/PREFIX` or without
 * @throws RangeError for anything else
 */
export async function openObjects(spec: string): Promise<ObjectStore> {
  const [, dir] = /^dir:(.+)$/.exec(spec) ?? []
  if (dir !== undefined) return objectsInFolder(dir)
  const [, bucket, prefix = ''] = /^s3:\/\/([^/]+)(?:\/(.*?))?\/*$/.exec(spec) ?? []
  if (bucket === undefined) throw new RangeError(`Tiles go to dir:PATH or s3://BUCKET/PREFIX, not "${spec}".`)
  const { objectsInBucket } = await import('./objects-in-bucket.ts')
  return objectsInBucket({ bucket, prefix })
}

/** A web server in front has the headers of its own; the paths tell a checkpoint from the rest. */
function objectsInFolder(dir: string): ObjectStore {
  let puts = 0
  return {
    async put(path, body) {
      const place = join(dir, path)
      const aside = `${place}.${process.pid}.${puts++}.tmp`
      try {
        makeFolder(dirname(place))
        const file = await open(aside, 'w')
        await file.writeFile(body)
        await file.sync()
        await file.close()
        // Who reads meanwhile gets the old one or the new one, whole.
        await rename(aside, place)
      } catch (error) {
        throw new Problem('storage-unavailable', `${place} cannot be written: ${(error as Error).message}.`)
      }
    },
  }
}
