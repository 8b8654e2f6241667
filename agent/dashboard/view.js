/** What the page is made of: elements with text, never with markup from outside, and figures as people read them. */

/**
 * @param {string} name
 * @param {Record<string, string | number | boolean | ((event: Event) => void)>} properties
 * @param {(Node | string)[]} children
 */
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties)
  made.append(...children)
  return made
}

/**
 * @template {Element} E
 * @param {string} selector
 * @param {new () => E} type
 */
export function find(selector, type) {
  const found = document.querySelector(selector)
  if (!(found instanceof type)) throw new Error(`There is no ${selector}`)
  return found
}

/** @param {Record<string, string>} rows */
export const terms = (rows) =>
  Object.entries(rows).map(([term, value]) => element('div', {}, element('dt', {}, term), element('dd', {}, value)))

/**
 * @param {string} title
 * @param {Node[]} actions
 * @param {(Node | string)[]} details
 */
export const row = (title, actions, ...details) =>
  element('li', {}, element('span', {}, title), element('span', { className: 'actions' }, ...actions), ...details)

/** @param {string[]} parts */
export const detail = (...parts) => element('span', { className: 'detail' }, parts.filter(Boolean).join(' · '))

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']

/** @param {number} bytes */
export function formatBytes(bytes) {
  const unit = Math.min(UNITS.length - 1, bytes < 1 ? 0 : Math.floor(Math.log2(bytes) / 10))
  const value = bytes / 1024 ** unit
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
 * @param {number} count
 * @param {string} noun
 */
export const formatCount = (count, noun) => `${count} ${noun}${count === 1 ? '' : 's'}`
