/** Figures as people read them, on the page and in the command. */

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']

/** @param {number} bytes */
export function formatBytes(bytes) {
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024
    unit += 1
  }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 2 : 1)} ${UNITS[unit]}`
}

/** @param {number} seconds */
export function formatSeconds(seconds) {
  const whole = Math.ceil(seconds)
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`
}

/**
 * "1 piece", "3 pieces".
 * @param {number | string} count an amount as it is in JSON, which a number may not hold
 * @param {string} noun
 */
export const formatCount = (count, noun) => `${count} ${noun}${String(count) === '1' ? '' : 's'}`

/**
 * The hour of a time to come, with its day where that is another: "14:00", "3 May, 00:10".
 * @param {number} ms since 1970
 * @param {number} nowMs
 */
export function formatWhen(ms, nowMs) {
  const [when, now] = [new Date(ms), new Date(nowMs)]
  const hour = when.toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' })
  if (when.toDateString() === now.toDateString()) return hour
  return `${when.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' })}, ${hour}`
}
