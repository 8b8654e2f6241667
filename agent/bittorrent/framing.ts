/** How long a stranger's messages say they are (BEP 3, "peer protocol"), so that none is gathered in memory that is too long. */

/** The length of its name, the name, eight reserved bytes, info hash and peer id. */
const HANDSHAKE_BYTES = 68
const PREFIX_BYTES = 4

/** @returns takes what comes, in any pieces; false from a message on that has more than `most` bytes */
export function createFraming(most: number): (chunk: Uint8Array) => boolean {
  let skip = HANDSHAKE_BYTES
  let prefix = { bytes: 0, length: 0 }
  return (chunk) => {
    for (let at = 0; at < chunk.length;) {
      const skipped = Math.min(skip, chunk.length - at)
      skip -= skipped
      at += skipped
      if (at === chunk.length) break
      prefix = { bytes: prefix.bytes + 1, length: prefix.length * 256 + (chunk[at++] as number) }
      if (prefix.bytes < PREFIX_BYTES) continue
      if (prefix.length > most) return false
      skip = prefix.length
      prefix = { bytes: 0, length: 0 }
    }
    return true
  }
}
