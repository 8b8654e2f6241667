/** What went wrong, as a problem: also where it is this machine's files. */
import { Problem, problemOf, type ProblemCode } from '../../protocol/problem.ts'

const SYSTEM_CODES: Readonly<Record<string, ProblemCode>> = {
  ENOENT: 'not-found',
  ENOTDIR: 'not-found',
  EACCES: 'storage-read-only',
  EPERM: 'storage-read-only',
  EROFS: 'storage-read-only',
  ENOSPC: 'storage-full',
}

/** A local file error is a problem, not a bug. */
export function faultOf(error: unknown): Problem {
  if (!(error instanceof Error && 'syscall' in error)) return problemOf(error)
  const { code = '' } = error as NodeJS.ErrnoException
  return new Problem(SYSTEM_CODES[code] ?? 'storage-unavailable', error.message)
}
