const UNITS_MS: Readonly<Record<string, number>> = { s: 1e3, m: 6e4, h: 3.6e6, d: 8.64e7 }
/** 31,000 years: what is added to now is still a date. */
const MOST_MS = 1e15

/** @param text such as `30d`: a number and one of s, m, h, d. @returns undefined for anything else, and for what is too long */
export function durationMs(text: string): number | undefined {
  const [, count, unit] = /^([1-9]\d{0,8})([smhd])$/.exec(text) ?? []
  const ms = count && unit ? Number(count) * (UNITS_MS[unit] as number) : Infinity
  return ms <= MOST_MS ? ms : undefined
}
