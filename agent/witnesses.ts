/** Which witnesses an owner's agent wants to see under a checkpoint: the file `witnesses` in the owner's home (C2SP tlog-policy). */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseLogPolicy, type LogPolicy } from '../protocol/log-policy.ts'
import { Problem } from '../protocol/problem.ts'

/** @returns undefined where there is no such file. @throws Problem `bad-encoding` */
export async function readWitnesses(homeDir: string): Promise<LogPolicy | undefined> {
  const path = join(homeDir, 'witnesses')
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (text === undefined) return undefined
  try {
    return parseLogPolicy(text)
  } catch (error) {
    if (error instanceof Problem) throw new Problem('bad-encoding', `${path}: ${error.message}`)
    throw error
  }
}
