/** Names that are free: a taken one gets a number, as in every file manager. */
import { utf8 } from '../../protocol/bytes.ts'
import { limits } from '../../protocol/limits.ts'

/** "photo (2).jpg": the number goes in at `dot`, or at the end; the name is cut to stay within the limit. */
export function numbered(name: string, number: number, dot: number): string {
  if (number === 1) return name
  const at = dot > 0 ? dot : name.length
  const end = ` (${number})${name.slice(at)}`
  const stem = Array.from(name.slice(0, at))
  while (stem.length > 1 && utf8(stem.join('') + end).length > limits.nameBytes) stem.pop()
  return stem.join('') + end
}

/** The first of a folder's numbered names that is not taken. */
export async function freeName(name: string, isTaken: (name: string) => Promise<boolean>): Promise<string> {
  for (let number = 1; ; number++) {
    const candidate = numbered(name, number, -1)
    if (!(await isTaken(candidate))) return candidate
  }
}
