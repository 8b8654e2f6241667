/** What the page is made of: elements with text, never with markup from outside. */
import { printable } from './printable.js'

/**
 * @param {string} name
 * @param {Record<string, string | number | boolean | ((event: Event) => void)>} properties
 * @param {(Node | string)[]} children
 */
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties)
  made.append(...children.map((child) => (typeof child === 'string' ? printable(child) : child)))
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
 * @param {HTMLElement[]} actions named for who hears the page by what they act on
 * @param {(Node | string)[]} details
 */
export function row(title, actions, ...details) {
  for (const action of actions) action.ariaLabel = printable(`${action.textContent} ${title}`)
  return element(
    'li',
    {},
    element('span', {}, title),
    element('span', { className: 'actions' }, ...actions),
    ...details,
  )
}

/**
 * Puts rows in place of those that are there. Of a row whose title and buttons stay the same, the details alone are
 * changed, and it stays where it is: somebody may be pressing a button, or have come to it with the keyboard.
 * @param {HTMLElement} place
 * @param {HTMLElement[]} rows what each is about is its `id`
 */
export function show(place, rows) {
  const before = new Map(Array.from(place.children, (old, i) => [keyOf(old, i), old]))
  const now = new Set(rows.map((next, i) => renewed(before.get(keyOf(next, i)), next)))
  for (const old of before.values()) if (!now.has(old)) old.remove()
  let at = place.firstElementChild
  for (const one of now) {
    if (one === at) at = at.nextElementSibling
    else place.insertBefore(one, at)
  }
}

/**
 * @param {Element} row
 * @param {number} i
 */
const keyOf = ({ id }, i) => id || i

/**
 * @param {Element | undefined} old
 * @param {Element} next
 * @returns {Element} the one to show
 */
function renewed(old, next) {
  if (!old || headOf(old) !== headOf(next)) return next
  if (old.outerHTML !== next.outerHTML) {
    for (const detail of Array.from(old.children).slice(HEAD)) detail.remove()
    old.append(...Array.from(next.children).slice(HEAD))
  }
  return old
}

/** A row begins with its title and its buttons. */
const HEAD = 2
/** @param {Element} one */
const headOf = (one) =>
  Array.from(one.children)
    .slice(0, HEAD)
    .map(({ textContent }) => textContent)
    .join('\n')

/** @param {string[]} parts */
export const detail = (...parts) => element('span', { className: 'detail' }, parts.filter(Boolean).join(' · '))
