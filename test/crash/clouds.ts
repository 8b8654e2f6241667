/** A storage of each kind for a seller and for a buyer, in this process: one file goes from any to any. */
import { closeSync, openSync, readSync, statSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { OwnerClient } from '../../agent/cli/owner-client.ts'
import { DRIVE_CLIENT, DRIVE_FILE_SCOPE, startDrive } from '../servers/drive.ts'
import { FOLDER, type DriveFile } from '../servers/drive-state.ts'
import { DROPBOX_CLIENT, DROPBOX_SCOPE, startDropbox } from '../servers/dropbox.ts'
import { keepSparse, sparseContent, type Content, type Keep } from '../servers/s3-content.ts'
import { startS3 } from '../servers/s3.ts'
import { writeSparse } from '../servers/sparse-file.ts'

export const KINDS = ['folder', 's3', 'drive', 'dropbox'] as const
export type Kind = (typeof KINDS)[number]

/** Whose: the folder or bucket at the provider. */
export type Side = 'seller' | 'buyer'

export interface Cloud {
  /** What the owner's agent is asked to link; a folder is linked already. */
  readonly link?: (side: Side) => object
  put(side: Side, name: string, content: Content): Promise<void> | void
  find(side: Side, name: string): Content | undefined
  /**
   * What unfinished writes left there. A kill between the provider's answer and our note of it may leave an upload that
   * nobody knows of: it holds nothing, as nothing is put before the note.
   */
  leftovers(): Promise<readonly string[]> | readonly string[]
  /** Bytes of content that were asked for. */
  readonly bytesRead: () => number
}

export interface Clouds {
  /** What is shared and comes. */
  readonly content: Content
  /** Of agents that use them. */
  readonly env: Readonly<Record<string, string>>
  readonly of: (kind: Exclude<Kind, 'folder'>) => Cloud
  close(): Promise<void>
}

const PARTIAL = '.raincheck-partial'
const ROOMY = 2 ** 50
const KEY = { accessKeyId: 'AKIAOWNER', secretAccessKey: 'the owner’s secret' }

/** @param keep what becomes of uploads; by default they are kept, and those of the content take no memory */
export async function startClouds(bytes: number, keep: Keep = keepSparse(sparseContent(bytes))): Promise<Clouds> {
  const content = sparseContent(bytes)
  const principals = { [KEY.accessKeyId]: { secretAccessKey: KEY.secretAccessKey } }
  const s3 = await startS3({ buckets: ['seller', 'buyer'], principals, keep })
  const [drive, dropbox] = await Promise.all([startDrive({ keep }), startDropbox({ keep })])
  drive.state.setLimit(ROOMY)
  dropbox.state.allocated = ROOMY
  const clouds = { s3: s3Cloud(s3), drive: driveCloud(drive), dropbox: dropboxCloud(dropbox) }
  return {
    content,
    env: {
      AWS_ENDPOINT_URL_S3: s3.url,
      AWS_REGION: 'us-east-1',
      RAINCHECK_GOOGLE_API_URL: drive.url,
      RAINCHECK_GOOGLE_TOKEN_URL: drive.url,
      RAINCHECK_DROPBOX_API_URL: dropbox.url,
      RAINCHECK_DROPBOX_CONTENT_URL: dropbox.url,
    },
    of: (kind) => clouds[kind],
    async close() {
      await Promise.all([s3.close(), drive.close(), dropbox.close()])
    },
  }
}

const s3Cloud = (s3: Awaited<ReturnType<typeof startS3>>): Cloud => ({
  link: (side) => ({ kind: 's3', bucket: side, secret: KEY }),
  put: (side, name, content) => void s3.bucket(side).put(name, content, { etag: `"${name}"` }),
  find: (side, name) =>
    s3
      .bucket(side)
      .list()
      .find(({ key }) => key === name)?.content,
  leftovers: () =>
    ['seller', 'buyer'].flatMap((side) => {
      const bucket = s3.bucket(side)
      const keys = bucket.list().map(({ key }) => key)
      const uploads = [...bucket.uploads.values()].filter(({ parts }) => parts.size > 0).map(({ id }) => id)
      return [...uploads, ...keys.filter((key) => key.startsWith(PARTIAL))]
    }),
  bytesRead: () => s3.traffic.out,
})

function driveCloud(drive: Awaited<ReturnType<typeof startDrive>>): Cloud {
  const { state, oauth, traffic } = drive
  const { refreshToken } = oauth.grant(DRIVE_FILE_SCOPE)
  const folderOf = (side: Side): DriveFile =>
    [...state.files.values()].find(({ name, mimeType }) => name === side && mimeType === FOLDER) ??
    state.create({ name: side, mimeType: FOLDER })
  return {
    link: (side) => ({
      kind: 'drive',
      clientId: DRIVE_CLIENT.id,
      folder: side,
      secret: { refreshToken, clientSecret: DRIVE_CLIENT.secret },
    }),
    put: (side, name, content) => void state.create({ name, parents: [folderOf(side).id], content }),
    find: (side, wanted) =>
      [...state.files.values()].find(({ name, parents }) => name === wanted && parents.includes(folderOf(side).id))
        ?.content,
    leftovers() {
      const partials = [...state.files.values()].filter(({ name }) => name === PARTIAL).map(({ id }) => id)
      const left = [...state.files.values()].filter(({ parents }) => parents.some((id) => partials.includes(id)))
      return [...drive.sessions(1), ...left.map(({ name }) => name)]
    },
    bytesRead: () => traffic.out,
  }
}

function dropboxCloud(dropbox: Awaited<ReturnType<typeof startDropbox>>): Cloud {
  const { state, oauth, traffic } = dropbox
  const { refreshToken } = oauth.grant(DROPBOX_SCOPE)
  return {
    link: (side) => ({ kind: 'dropbox', appKey: DROPBOX_CLIENT.id, folder: side, secret: { refreshToken } }),
    put: (side, name, content) => void state.write(`/${side}/${name}`, content),
    find: (side, name) => state.get(`/${side}/${name}`)?.content,
    leftovers: () => [...state.entries.keys()].filter((path) => path.includes(`${PARTIAL}/`)),
    bytesRead: () => traffic.out,
  }
}

/** The folders that the network on one machine links by itself. */
export function folderCloud(dir: string): Cloud {
  const fileOf = (side: Side, name: string): string => join(dir, side === 'seller' ? 'neighbour' : 'you', 'files', name)
  return {
    put: (side, name, content) => writeSparse(fileOf(side, name), content),
    find: (side, name) => fileContent(fileOf(side, name)),
    leftovers: async () => readdir(fileOf('buyer', PARTIAL)).catch(() => []),
    bytesRead: () => 0,
  }
}

const fileContent = (path: string): Content => ({
  size: statSync(path).size,
  read(offset, length) {
    const file = openSync(path, 'r')
    const bytes = Buffer.alloc(length)
    const count = readSync(file, bytes, 0, length, offset)
    closeSync(file)
    return bytes.subarray(0, count)
  },
})

const STEP = 8 * 1024 * 1024

export function isSameContent(a: Content, b: Content | undefined): boolean {
  if (a.size !== b?.size) return false
  for (let at = 0; at < a.size; at += STEP) {
    const length = Math.min(STEP, a.size - at)
    if (Buffer.compare(a.read(at, length), b.read(at, length)) !== 0) return false
  }
  return true
}

export async function linkTo(owner: OwnerClient, cloud: Cloud, side: Side): Promise<void> {
  if (cloud.link) await owner.ask('POST', '/v1/links', cloud.link(side))
}
