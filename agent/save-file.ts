import { rename, writeFile } from 'node:fs/promises'

/** The file is there as a whole or as it was, whatever comes between. @param mode of one that is new */
export async function saveFile(path: string, content: string | Uint8Array, mode = 0o666): Promise<void> {
  await writeFile(`${path}.tmp`, content, { mode, flush: true })
  await rename(`${path}.tmp`, path)
}
