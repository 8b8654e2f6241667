/** What somebody would write who has nothing but the provider's SDK: a file read and written in parts, one after the other. */
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { Dropbox } from 'dropbox'
import { drive_v3 } from 'googleapis/build/src/apis/drive/v3.js'

export interface Loop {
  read(): Promise<void>
  write(name: string): Promise<void>
}

export interface LoopOptions {
  readonly bytes: number
  readonly partBytes: number
  readonly token: string
  readonly root: string
}

interface Part {
  readonly number: number
  readonly offset: number
  readonly end: number
  readonly range: string
}

function* partsOf({ bytes, partBytes }: LoopOptions): Generator<Part> {
  for (let offset = 0, number = 1; offset < bytes; offset += partBytes, number++) {
    const end = Math.min(bytes, offset + partBytes)
    yield { number, offset, end, range: `bytes=${offset}-${end - 1}` }
  }
}

export function s3Loop(options: LoopOptions, credentials: { accessKeyId: string; secretAccessKey: string }): Loop {
  const client = new S3Client({ forcePathStyle: true, credentials })
  const bytes = new Uint8Array(options.partBytes)
  return {
    async read() {
      for (const { range: Range } of partsOf(options)) {
        const { Body } = await client.send(new GetObjectCommand({ Bucket: 'seller', Key: 'film.bin', Range }))
        await Body?.transformToByteArray()
      }
    },
    async write(name) {
      const target = { Bucket: 'buyer', Key: name }
      const { UploadId } = await client.send(new CreateMultipartUploadCommand(target))
      const Parts = []
      for (const { number: PartNumber, offset, end } of partsOf(options)) {
        const Body = bytes.subarray(0, end - offset)
        const { ETag } = await client.send(new UploadPartCommand({ ...target, UploadId, PartNumber, Body }))
        Parts.push({ PartNumber, ETag })
      }
      const MultipartUpload = { Parts }
      await client.send(new CompleteMultipartUploadCommand({ ...target, UploadId, MultipartUpload }))
    },
  }
}

/** The SDK knows no resumable sessions: they are raw HTTP here too. */
export function driveLoop(options: LoopOptions): Loop {
  const { root, token, bytes } = options
  const { files } = new drive_v3.Drive({})
  const authorization = `Bearer ${token}`
  const part = new Uint8Array(options.partBytes)
  const plain = { rootUrl: `${root}/`, retry: false }
  return {
    async read() {
      const headers = { authorization }
      const { data } = await files.list({ q: "name = 'film.bin'", fields: 'files(id)' }, { ...plain, headers })
      const fileId = data.files?.[0]?.id ?? ''
      for (const { range } of partsOf(options)) {
        const more = { ...plain, responseType: 'arraybuffer', headers: { ...headers, range } } as const
        await files.get({ fileId, alt: 'media' }, more)
      }
    },
    async write(name) {
      const headers = { authorization, 'content-type': 'application/json', 'x-upload-content-length': String(bytes) }
      const url = `${root}/upload/drive/v3/files?uploadType=resumable`
      const opened = await fetch(url, { method: 'POST', headers, body: JSON.stringify({ name }) })
      const session = opened.headers.get('location') ?? ''
      for (const { offset, end } of partsOf(options)) {
        const about = { authorization, 'content-range': `bytes ${offset}-${end - 1}/${bytes}` }
        const reply = await fetch(session, { method: 'PUT', headers: about, body: part.subarray(0, end - offset) })
        await reply.arrayBuffer()
      }
    },
  }
}

export function dropboxLoop(options: LoopOptions): Loop {
  const { root, token, bytes } = options
  const part = new Uint8Array(options.partBytes)
  const atRoot = (url: string, init: RequestInit) => fetch(root + new URL(url).pathname, init)
  const sdk = new Dropbox({ accessToken: token, fetch: atRoot })
  return {
    async read() {
      for (const { range } of partsOf(options))
        await sdk.filesDownload({ path: '/seller/film.bin' }, { extraHeaders: { range } })
    },
    async write(name) {
      const session = { session_type: { '.tag': 'concurrent' } } as const
      const { session_id: id } = (await sdk.filesUploadSessionStart(session)).result
      for (const { offset, end } of partsOf(options)) {
        const cursor = { session_id: id, offset }
        const contents = part.subarray(0, end - offset)
        await sdk.filesUploadSessionAppendV2({ cursor, contents, close: end === bytes })
      }
      const commit = { path: `/buyer/${name}`, mode: { '.tag': 'add' } } as const
      await sdk.filesUploadSessionFinish({ cursor: { session_id: id, offset: bytes }, commit })
    },
  }
}
