/** What a name becomes that Dropbox refuses: told at the commit alone, it would cost a download that is paid. */
import type { FilePath } from '../../protocol/file-path.ts'

/** Left alone by Dropbox's own programs, and refused by the API (`disallowed_name`), as files and as folders. */
const IGNORED = new Set(['.ds_store', '.dropbox', '.dropbox.attr', '.dropbox.cache', 'desktop.ini', 'thumbs.db'])

/** `_.DS_Store`; and `film_` for `film `, since no name ends with a space (`malformed_path`). */
const goodName = (name: string): string =>
  IGNORED.has(name.toLowerCase()) ? `_${name}` : name.replace(/ +$/, (spaces) => '_'.repeat(spaces.length))

export const goodPath = (path: FilePath): FilePath => path.map(goodName)

/** For one that is refused all the same, as emoji were for years: letters, digits and few signs. Never longer. */
export const plainName = (name: string): string =>
  goodName(name.replaceAll(/[^\p{L}\p{N} ._()-]|[\u{10000}-\u{10ffff}]/gu, '_'))
