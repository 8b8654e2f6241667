/** A line so slow that a part takes minutes, on a clock that nothing but its bytes and short pauses move. */
import { setImmediate } from 'node:timers/promises'
import type { Environment } from '../../protocol/environment.ts'
import { handClock } from './hand-clock.ts'

const BYTES_PER_SECOND = 20_000
const HOUR_MS = 3_600_000
/** What is at least so long is patience with others. */
const PATIENCE_MS = 15_000

/** @param mostBytes of one body: an hour goes by before the next. Default: all */
export function slowLine({ transport, random }: Environment, mostBytes = Infinity): Environment {
  const hand = handClock()
  const sleep = async (ms: number, signal?: AbortSignal): Promise<void> =>
    ms < PATIENCE_MS ? hand.advance(ms) : hand.sleep(ms, signal)

  function slowed(body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
    let bytes = 0
    const line = new TransformStream<Uint8Array, Uint8Array>({
      async transform(chunk, controller) {
        bytes += chunk.length
        hand.advance(bytes > mostBytes ? HOUR_MS : (chunk.length / BYTES_PER_SECOND) * 1000)
        await setImmediate()
        controller.enqueue(chunk)
      },
    })
    return body.pipeThrough(line)
  }

  return {
    clock: { now: () => hand.now(), sleep },
    random,
    async transport(request) {
      const { url, method, headers, signal } = request
      const sent = request.body && { body: await new Response(slowed(request.body)).arrayBuffer() }
      const { body, status, headers: said } = await transport(new Request(url, { method, headers, signal, ...sent }))
      return new Response(body && slowed(body), { status, headers: said })
    },
  }
}
