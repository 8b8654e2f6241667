/** What others wrote, such as names and problems, may hold what a terminal takes for orders: to clear itself, to fill the clipboard. */

/** Controls but for the end of a line, and what turns the direction of the text after it. */
const ORDERS = /(?!\n)\p{Cc}|[\u202a-\u202e\u2066-\u2069]/gu

export const printable = (text: string): string => text.replaceAll(ORDERS, '\ufffd')

/** The same document: JSON itself escapes what lies below a space. */
export const printableJson = (document: unknown): string =>
  JSON.stringify(document).replaceAll(ORDERS, (order) => `\\u${order.charCodeAt(0).toString(16).padStart(4, '0')}`)
