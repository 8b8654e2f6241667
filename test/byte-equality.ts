/** `toEqual` compares bytes in one go; entry by entry, which shows where two of them differ, it takes seconds for a file. */
import { expect } from 'vitest'

const sameBytes = (a: unknown, b: unknown): true | undefined =>
  a instanceof Uint8Array && b instanceof Uint8Array && a.constructor === b.constructor && Buffer.compare(a, b) === 0
    ? true
    : undefined

// Loaded anew for each file, also where files share a process.
const shared = globalThis as { compareBytes?: typeof sameBytes }
if (!shared.compareBytes) expect.addEqualityTesters([(shared.compareBytes = sameBytes)])
