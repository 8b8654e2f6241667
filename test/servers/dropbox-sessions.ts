/** Concurrent upload sessions (files/upload_session): any order, in multiples of 4 MiB but for what closes them. */
import { badInput, routeError } from './dropbox-errors.ts'
import { contentHash } from './dropbox-state.ts'
import { bytesContent, joinContents, type Content, type Keep } from './s3-content.ts'

const UNIT = 4 * 1024 * 1024
const REQUEST_MOST = 150 * 1024 * 1024

interface Session {
  readonly parts: Map<number, Content>
  isClosed: boolean
}

export interface Cursor {
  readonly session_id?: string
  readonly offset?: number
}

export interface DropboxSessions {
  start(arg: { close?: boolean; session_type?: unknown }, body: Buffer): { session_id: string }
  append(arg: { cursor?: Cursor; close?: boolean; content_hash?: string }, body: Buffer): void
  /** @returns what was sent; the session is over once `done` is called */
  finish(cursor: Cursor | undefined, body: Buffer): { readonly content: Content; readonly done: () => void }
  end(id: string): void
}

const tagOf = (value: unknown): unknown =>
  typeof value === 'string' ? value : (value as { '.tag'?: unknown })?.['.tag']

export function createDropboxSessions(keep: Keep): DropboxSessions {
  const sessions = new Map<string, Session>()
  let serial = 0
  const sizeOf = ({ parts }: Session): number => Math.max(0, ...[...parts].map(([at, { size }]) => at + size))

  return {
    start({ close = false, session_type: type }, body) {
      if (tagOf(type) !== 'concurrent')
        return badInput('upload_session/start: this server knows concurrent sessions alone')
      if (body.length > 0) return routeError('concurrent_session_data_not_allowed')
      if (close) return routeError('concurrent_session_close_not_allowed')
      const id = `pid_upload_session:${String(++serial).padStart(4, '0')}${'S'.repeat(20)}`
      sessions.set(id, { parts: new Map(), isClosed: false })
      return { session_id: id }
    },
    append({ cursor: { session_id: id = '', offset = -1 } = {}, close = false, content_hash: hash }, body) {
      const session = sessions.get(id) ?? routeError('not_found')
      if (session.isClosed) return routeError('closed')
      if (body.length > REQUEST_MOST) return routeError('payload_too_large')
      if (offset < 0 || offset % UNIT !== 0) return routeError('concurrent_session_invalid_offset')
      if (!close && (body.length === 0 || body.length % UNIT !== 0))
        return routeError('concurrent_session_invalid_data_size')
      const content = bytesContent(body)
      if (hash !== undefined && hash !== contentHash(content)) return routeError('content_hash_mismatch')
      if (body.length > 0) session.parts.set(offset, keep(body))
      session.isClosed = close
      return undefined
    },
    finish({ session_id: id = '', offset = -1 } = {}, body) {
      const session = sessions.get(id) ?? routeError('lookup_failed', 'not_found')
      if (body.length > 0) return routeError('concurrent_session_data_not_allowed')
      if (!session.isClosed) return routeError('concurrent_session_not_closed')
      const parts = [...session.parts].toSorted(([a], [b]) => a - b)
      let end = 0
      for (const [at, { size }] of parts) {
        if (at !== end) return routeError('concurrent_session_missing_data')
        end = at + size
      }
      if (offset !== sizeOf(session)) return routeError('lookup_failed', 'incorrect_offset')
      return { content: joinContents(parts.map(([, content]) => content)), done: () => void sessions.delete(id) }
    },
    end: (id) => void sessions.delete(id),
  }
}
