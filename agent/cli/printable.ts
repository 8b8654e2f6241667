import { ORDERS } from '../dashboard/printable.js'

/** The same document, and no orders to a terminal: JSON itself escapes what lies below a space. */
export const printableJson = (document: unknown): string =>
  JSON.stringify(document).replaceAll(ORDERS, (order) => `\\u${order.charCodeAt(0).toString(16).padStart(4, '0')}`)
