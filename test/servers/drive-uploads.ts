/** Resumable sessions (Drive API, "Perform a resumable upload"): in order, in multiples of 256 KiB but for the end. */
import { applyFields, type Mask } from './drive-fields.ts'
import { FILE_FIELDS, type DriveFile, type DriveState, type NewFile } from './drive-state.ts'
import { driveError } from './drive-errors.ts'
import { jsonReply, type Reply, type ServerRequest } from './provider-server.ts'
import { joinContents, sliceContent, type Content, type Keep } from './s3-content.ts'

const UNIT = 256 * 1024

interface Session {
  readonly meta: NewFile
  readonly size: number | undefined
  readonly fields: Mask | undefined
  parts: readonly Content[]
  received: number
  done?: DriveFile
}

export interface Uploads {
  /** @returns the reply with the session's address */
  open(request: ServerRequest, meta: NewFile, fields: Mask | undefined): Reply
  put(request: ServerRequest, forgets?: number): Reply
  cancel(request: ServerRequest): Reply
  end(request: ServerRequest): void
  /** The one session that is open has got this, without its being sent. */
  receive(content: Content): void
  /** Sessions that are open. */
  unfinished(bytesLeast: number): readonly string[]
}

export function createUploads(state: DriveState, url: () => string, keep: Keep): Uploads {
  const sessions = new Map<string, Session>()
  let serial = 0
  const idOf = ({ url: { searchParams } }: ServerRequest): string => searchParams.get('upload_id') ?? ''
  const gone = (): never => driveError(404, 'notFound', 'Upload session not found.')

  function progress({ received }: Session): Reply {
    const range = received > 0 ? { range: `bytes=0-${received - 1}` } : undefined
    return { status: 308, headers: { ...range } }
  }
  function finished(session: Session): Reply {
    session.done ??= state.create({ ...session.meta, content: joinContents(session.parts) })
    const mask = session.fields ?? { kind: true, id: true, name: true, mimeType: true }
    return jsonReply(200, applyFields(state.resource(session.done), mask, FILE_FIELDS))
  }
  function append(session: Session, body: Buffer, first: number, last: number, total: number | undefined): void {
    if (last - first + 1 !== body.length) driveError(400, 'badRequest', 'Content-Length does not match Content-Range.')
    if (first !== session.received) driveError(400, 'badRequest', 'Content-Range begins elsewhere than it must.')
    if (last + 1 !== total && body.length % UNIT !== 0) {
      driveError(400, 'badRequest', 'A chunk must be a multiple of 256 KiB.')
    }
    session.parts = [...session.parts, keep(body)]
    session.received += body.length
  }
  function forget(session: Session, bytes: number): void {
    const kept = Math.max(0, Math.floor((session.received - bytes) / UNIT) * UNIT)
    session.parts = [sliceContent(joinContents(session.parts), 0, kept)]
    session.received = kept
  }

  return {
    open({ headers }, meta, fields) {
      const id = `session-${++serial}-${'s'.repeat(24)}`
      const length = headers['x-upload-content-length']
      if (length !== undefined && state.used() + Number(length) > state.limit) {
        driveError(403, 'storageQuotaExceeded', "The user's Drive storage quota has been exceeded.")
      }
      const size = length === undefined ? undefined : Number(length)
      sessions.set(id, { meta, size, fields, parts: [], received: 0 })
      return {
        status: 200,
        headers: { location: `${url()}/upload/drive/v3/files?uploadType=resumable&upload_id=${id}` },
      }
    },
    put(request, forgets = 0) {
      const session = sessions.get(idOf(request)) ?? gone()
      if (request.headers['content-length'] === undefined) driveError(411, 'lengthRequired', 'No Content-Length.')
      const header = request.headers['content-range'] ?? ''
      const [, first, last, total] = /^bytes (?:(\d+)-(\d+)|\*)\/(\d+|\*)$/.exec(header) ?? []
      if (total === undefined) return driveError(400, 'badRequest', 'No Content-Range, or one that does not parse.')
      const size = total === '*' ? session.size : Number(total)
      if (session.size !== undefined && size !== session.size) {
        return driveError(400, 'badRequest', 'Content-Range names another size than the session.')
      }
      if (session.done) return finished(session)
      if (first === undefined)
        return request.body.length > 0 ? driveError(400, 'badRequest', 'A query has no body.') : progress(session)
      append(session, request.body, Number(first), Number(last), size)
      if (forgets > 0) forget(session, forgets)
      return session.received === size ? finished(session) : progress(session)
    },
    cancel: (request) => (sessions.delete(idOf(request)) ? { status: 499 } : gone()),
    end: (request) => void sessions.delete(idOf(request)),
    receive(content) {
      const [session] = [...sessions.values()].filter(({ done }) => !done)
      if (session) Object.assign(session, { parts: [content], received: content.size })
    },
    unfinished: (bytesLeast) =>
      [...sessions].filter(([, { done, received }]) => !done && received >= bytesLeast).map(([id]) => id),
  }
}
