/** What the page is made of: elements with text, never with markup from outside. */

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
