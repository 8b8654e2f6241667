import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Problem } from '../../protocol/problem.ts'

/**
 * Keeps a folder for this process: two networks would hand each other's accounts other addresses. The lock is SQLite's own
 * on a file, so it ends with the process, however that ends.
 * @returns lets the folder go
 * @throws Problem `conflict`
 */
export function lockFolder(dir: string): () => void {
  const database = new DatabaseSync(join(dir, 'lock'), { timeout: 0 })
  try {
    database.exec('BEGIN EXCLUSIVE')
  } catch {
    database.close()
    throw new Problem('conflict', `Another network runs in ${dir}: stop it, or choose another folder with --data.`)
  }
  return () => database.close()
}
