/** A time in ISO 8601. What others sign may lie beyond the dates there are: that is told as the number it is. */
export function timeText(ms: number): string {
  const date = new Date(ms)
  return Number.isNaN(date.getTime()) ? String(ms) : date.toISOString()
}
