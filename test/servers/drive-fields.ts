/** Partial responses of Google's APIs: `nextPageToken,files(id,name)`, `storageQuota/usage`, `*`. */

export interface Mask {
  readonly [name: string]: Mask | true
}

/** @returns undefined where it does not parse */
export function parseFields(text: string): Mask | undefined {
  let at = 0
  function list(): Mask | undefined {
    const mask: Record<string, Mask | true> = {}
    for (;;) {
      const [name] = /^[A-Za-z0-9_*]+/.exec(text.slice(at)) ?? []
      if (name === undefined) return undefined
      at += name.length
      const below = text[at] === '(' || text[at] === '/' ? sub() : true
      if (!below) return undefined
      mask[name] = below
      if (text[at] !== ',') return mask
      at++
    }
  }
  function sub(): Mask | undefined {
    const closed = text[at++] === '('
    if (!closed) {
      const [name] = /^[A-Za-z0-9_*]+/.exec(text.slice(at)) ?? []
      if (name === undefined) return undefined
      at += name.length
      const below = text[at] === '(' || text[at] === '/' ? sub() : true
      return below && { [name]: below }
    }
    const mask = list()
    return text[at++] === ')' ? mask : undefined
  }
  const mask = list()
  return at === text.length ? mask : undefined
}

/** @returns undefined when a field is asked for that the resource never has. @param known names of all its fields */
export function applyFields(value: unknown, mask: Mask, known: readonly string[]): unknown {
  if (Array.isArray(value)) return value.map((one) => applyFields(one, mask, known))
  const record = value as Record<string, unknown>
  const kept: Record<string, unknown> = {}
  for (const [name, below] of Object.entries(mask)) {
    if (name === '*') return record
    if (!known.includes(name)) return undefined
    if (record[name] === undefined) continue
    const inner = below === true ? record[name] : applyFields(record[name], below, known)
    if (inner === undefined) return undefined
    kept[name] = inner
  }
  return kept
}
