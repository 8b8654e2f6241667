/** The head of an HTTP/1.1 answer (RFC 9112 §4, §5), parsed strictly: framing is where smuggling starts. */
import { Problem } from '../protocol/problem.ts'

export interface Head {
  readonly status: number
  readonly headers: Headers
  /** Content-Length, in bytes. */
  readonly length: number
  /** The peer closes the connection after this answer. */
  readonly close: boolean
}

const STATUS_LINE = /^HTTP\/1\.1 ([1-5][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?$/
const FIELD_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[\t ]*([\t\x20-\x7e\x80-\xff]*?)[\t ]*$/
const LENGTH = /^(0|[1-9][0-9]{0,15})$/

/**
 * @param text the head without its closing empty line, as latin1
 * @throws Problem `peer-failed` for anything but a final HTTP/1.1 answer framed by one Content-Length
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
  if (headers.has('transfer-encoding')) refuse('has no Content-Length')
  return {
    status,
    headers,
    length: lengthOf(status, headers),
    close: /\bclose\b/i.test(headers.get('connection') ?? ''),
  }
}

function lengthOf(status: number, headers: Headers): number {
  const said = headers.get('content-length')
  if (said === null && (status === 204 || status === 304)) return 0
  if (said === null || !LENGTH.test(said)) return refuse('has no Content-Length')
  return Number(said)
}

function refuse(why: string): never {
  throw new Problem('peer-failed', `The answer ${why}.`)
}
