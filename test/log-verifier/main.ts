/**
 * `node test/log-verifier/main.ts VKEY URL|DIR [EARLIER]`: verifies a log at a URL or in a folder, from the specifications
 * alone. EARLIER is a file with a checkpoint that the log had before. Exit code 0: it holds; 1: it does not.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Rejected, verifyLog, type Read } from './verifier.ts'

const [vkey = '', place = '', earlier] = process.argv.slice(2)

const readUrl: Read = async (path) => {
  const response = await fetch(`${place.replace(/\/$/, '')}/${path}`)
  return response.ok ? Buffer.from(await response.arrayBuffer()) : undefined
}
const readFolder: Read = (path) => readFile(join(place, path)).catch(() => undefined)

try {
  const verified = await verifyLog({
    read: /^https?:/.test(place) ? readUrl : readFolder,
    vkey,
    origin: vkey.split('+', 1)[0] ?? '',
    ...(earlier !== undefined && { earlier: await readFile(earlier, 'utf8') }),
  })
  console.log(JSON.stringify({ ok: true, ...verified }))
} catch (error) {
  if (!(error instanceof Rejected)) throw error
  console.log(JSON.stringify({ ok: false, problem: error.message }))
  process.exitCode = 1
}
