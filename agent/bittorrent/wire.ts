/** The peer wire protocol as spoken by strangers: what is malformed ends its connection, and nothing else. */
import Wire from 'bittorrent-protocol'
import { limits } from '../../protocol/limits.ts'
import { createFraming } from './framing.ts'

export class PeerWire extends Wire {
  readonly #isFramed = createFraming(limits.bittorrentMessageBytes)
  readonly #onMalformed: () => void

  constructor(onMalformed: () => void) {
    super('tcpIncoming')
    this.#onMalformed = onMalformed
  }

  /** What it throws at a hostile message, nobody else would catch. */
  override _write(chunk: Uint8Array, done: () => void): void {
    try {
      if (this.#isFramed(chunk)) super._write(chunk, done)
      else this.#onMalformed()
    } catch {
      this.#onMalformed()
    }
  }
}
