const UNITS_MS: Readonly<Record<string, number>> = { s: 1e3, m: 6e4, h: 3.6e6, d: 8.64e7 }

/** @param text such as `30d`: a number and one of s, m, h, d, of 7 digits at most. @returns undefined for anything else */
export function durationMs(text: string): number | undefined {
  const [, count, unit] = /^([1-9]\d{0,6})([smhd])$/.exec(text) ?? []
  return count && unit ? Number(count) * (UNITS_MS[unit] as number) : undefined
}
