/** The head of an HTTP/1.1 answer (RFC 9112 §4, §5), parsed strictly: framing is where smuggling starts. */
import { Problem } from '../../protocol/problem.ts'

export interface Head {
  readonly status: number
  readonly headers: Headers
  /** Bytes of the body that are to be read; of a chunked one its end tells. */
  readonly length: number | 'chunked'
  /** The connection is of no use after this answer. */
  readonly close: boolean
}

const STATUS_LINE = /^HTTP\/1\.1 ([1-5][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?$/
const FIELD_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[\t ]*([\t\x20-\x7e\x80-\xff]*?)[\t ]*$/
const LENGTH = /^(0|[1-9][0-9]{0,15})$/

/**
 * @param text the head without its closing empty line, as latin1
 * @throws Problem `peer-failed` for anything but a final HTTP/1.1 answer, and for a 200 that is framed neither by one
 *   Content-Length nor by chunks alone
 */
export function parseHead(text: string): Head {
  const [first = '', ...lines] = text.split('\r\n')
  const status = Number(STATUS_LINE.exec(first)?.[1] ?? refuse('is not HTTP/1.1'))
  if (status < 200) refuse('is an interim one')
  const headers = new Headers()
  for (const line of lines) {
    const [, name, value] = FIELD_LINE.exec(line) ?? refuse('has a malformed field')
    headers.append(name as string, value as string)
  }
  const length = lengthOf(status, headers)
  const close = length === undefined || /\bclose\b/i.test(headers.get('connection') ?? '')
  return { status, headers, length: length ?? 0, close }
}

/** Undefined for a body framed otherwise, which is left unread: of an error only its status counts then. */
function lengthOf(status: number, headers: Headers): number | 'chunked' | undefined {
  const [said, coding] = [headers.get('content-length'), headers.get('transfer-encoding')]
  if (said !== null && coding === null && LENGTH.test(said)) return Number(said)
  if (said === null && coding?.toLowerCase() === 'chunked') return 'chunked'
  return status === 200 ? refuse('does not say where it ends') : undefined
}

function refuse(why: string): never {
  throw new Problem('peer-failed', `The answer ${why}.`)
}
