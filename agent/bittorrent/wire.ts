/** The peer wire protocol as spoken by strangers: what is malformed ends its connection, and nothing else. */
import Wire from 'bittorrent-protocol'
import { limits } from '../../protocol/limits.ts'
import { createFraming } from './framing.ts'
import { metadataNumberIn } from './metadata.ts'

/** The extension of BEP 10 that is its handshake. */
const HANDSHAKE = 0

export class PeerWire extends Wire {
  readonly #isFramed = createFraming(limits.bittorrentMessageBytes)
  readonly #onMalformed: () => void
  /** The other end's for `ut_metadata`; 0: none. */
  metadataNumber = 0

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

  /** The library's own decoder goes round for ever at a text of a negative length. */
  override _onExtended(number: number, message: Uint8Array): void {
    if (number === HANDSHAKE) this.metadataNumber = metadataNumberIn(message) ?? this.metadataNumber
    else super._onExtended(number, message)
  }
}
