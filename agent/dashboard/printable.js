/** What others wrote, such as names and problems, as it is shown on the page and in the command. */

/**
 * Controls but for the end of a line, which a terminal may take for orders: to clear itself, to fill the clipboard. And what
 * turns the direction of the text after it: "gpj.exe" would be read as "exe.jpg".
 */
export const ORDERS = /(?!\n)\p{Cc}|[\u202a-\u202e\u2066-\u2069]/gu

/** @param {string} text */
export const printable = (text) => text.replaceAll(ORDERS, '\ufffd')
