/** Folders that are gone after the tests of a file. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'

/** To be called at the top of a file. @returns makes an empty folder */
export function scratch(): () => string {
  const dir = mkdtempSync(join(tmpdir(), 'raincheck-'))
  afterAll(() => rmSync(dir, { recursive: true, force: true }))
  return () => mkdtempSync(join(dir, 'f'))
}
