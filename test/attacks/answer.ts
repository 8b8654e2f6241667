/** What came back from a host. */
import { fromUtf8, type Bytes } from '../../protocol/bytes.ts'

export interface Answer {
  readonly status: number
  /** Of the problem, else `ok`. */
  readonly code: string
  readonly headers: Headers
  readonly body: Bytes
  /** Of a body that is JSON; empty else. */
  readonly json: Readonly<Record<string, unknown>>
}

export async function answerOf(response: Response): Promise<Answer> {
  const body = new Uint8Array(await response.arrayBuffer())
  const type = response.headers.get('content-type') ?? ''
  const json = /^application\/(?:problem\+)?json/.test(type) ? (JSON.parse(fromUtf8(body)) as Answer['json']) : {}
  const code = type === 'application/problem+json' ? String(json['code']) : 'ok'
  return { status: response.status, code, headers: response.headers, body, json }
}
