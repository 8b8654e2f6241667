/**
 * Pieces that wait for the rest of their part, as objects of a bucket: a function has no disk of its own, and what a table
 * asks for the same bytes is a thousand times as much. An object is whole or is not there, and is read as it was written
 * last.
 */
import { Problem } from '../../protocol/problem.ts'
import { once } from './once.ts'

/** What a download cannot do without is under a folder that lists as no file of the owner's. */
const FOLDER = '.raincheck-partial/spool'
const DIGITS = 8

/**
 * @param lengthOf a piece has so many bytes
 * @throws Problem `store-unavailable`, each of what it returns
 */
export function bucketSpool(bucket: string) {
  const open = once(async () => {
    const s3 = await import('@aws-sdk/client-s3')
    return { ...s3, client: new s3.S3Client({ forcePathStyle: true }) }
  })

  return (pk: string, lengthOf: (piece: number) => number) => {
    const prefix = `${FOLDER}/${pk.replaceAll('/', '.')}/`
    const at = (piece: number) => ({ Bucket: bucket, Key: prefix + String(piece).padStart(DIGITS, '0') })

    async function kept(): Promise<number[]> {
      const { client, ListObjectsV2Command } = await open()
      const pieces: number[] = []
      for (let more = true, token: string | undefined; more;) {
        const after = token === undefined ? {} : { ContinuationToken: token }
        const page = await client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix, ...after }))
        for (const { Key = '', Size } of page.Contents ?? []) {
          const piece = Number(Key.slice(prefix.length))
          if (Size === lengthOf(piece)) pieces.push(piece)
        }
        more = page.IsTruncated === true
        token = page.NextContinuationToken
      }
      return pieces
    }

    async function read(piece: number): Promise<Uint8Array<ArrayBuffer>> {
      const { client, GetObjectCommand } = await open()
      const { Body } = await client.send(new GetObjectCommand(at(piece)))
      return new Uint8Array((await Body?.transformToByteArray()) ?? [])
    }

    return {
      keep: (piece: number, bytes: Uint8Array): Promise<void> =>
        answered(async () => {
          const { client, PutObjectCommand } = await open()
          await client.send(new PutObjectCommand({ ...at(piece), Body: bytes }))
        }),
      drop: (pieces: Iterable<number>): Promise<void> =>
        answered(async () => {
          const { client, DeleteObjectCommand } = await open()
          await Promise.all(Array.from(pieces, (piece) => client.send(new DeleteObjectCommand(at(piece)))))
        }),
      async *load() {
        for (const piece of await answered(kept)) yield { piece, bytes: await answered(() => read(piece)) }
      },
    }
  }
}

/** The SDK's own words stay here: they may name an account. */
async function answered<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask()
  } catch (error) {
    const name = error instanceof Error ? error.name : 'Error'
    throw new Problem('store-unavailable', `The bucket of pieces that wait did not answer (${name}).`)
  }
}
