/** Words of names, as they are searched: in Unicode's NFC, without case. */

const WORDS = /[\p{L}\p{N}\p{M}]+/gu
/** Written without spaces: any part of a name may be what is looked for. */
const UNSPACED =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u
const WORD_CHARACTERS = 48

/** @example wordsOf('Straße №5.tar') // ['strasse', '5', 'tar'] */
export const wordsOf = (text: string): readonly string[] => [...new Set(fold(text).match(WORDS) ?? [])].map(shortened)

/**
 * What a name is found by: its words, and of those in a script without spaces each part to the end. A text finds the name
 * when each of its words begins one of these.
 */
export function searchTerms(name: string, most: number): readonly string[] {
  const terms = wordsOf(name).flatMap((word) => (UNSPACED.test(word) ? endingsOf(word) : [word]))
  return [...new Set(terms)].slice(0, most)
}

/** What words are kept apart by. A text of one letter is a prefix too. */
export const firstLetter = (word: string): string => Array.from(word)[0] ?? ''

/** Upper case first: it takes apart what lower case alone keeps, such as ß and ligatures. A sigma is one wherever it stands. */
const fold = (text: string): string =>
  text.normalize('NFC').toUpperCase().toLowerCase().replaceAll('ς', 'σ').normalize('NFC')

const shortened = (word: string): string => Array.from(word).slice(0, WORD_CHARACTERS).join('')

const endingsOf = (word: string): string[] => Array.from(word).map((_, i, letters) => letters.slice(i).join(''))
