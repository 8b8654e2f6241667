import { fromUtf8 } from '../../protocol/bytes.ts'
import { Problem } from '../../protocol/problem.ts'

/** What a file that somebody hands over says. @throws Problem `bad-encoding` */
export function parseJsonFile(content: Uint8Array): unknown {
  const text = fromUtf8(content)
  try {
    return JSON.parse(text)
  } catch {
    throw new Problem('bad-encoding', 'The file is not JSON.')
  }
}
