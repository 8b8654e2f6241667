/** An owner of a deployed agent: claims it with the command, and asks of it what the command asks. */
import { execFile } from 'node:child_process'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createOwnerClient, type OwnerClient } from '../../agent/cli/owner-client.ts'
import { openHome } from '../../agent/home.ts'
import { realEnvironment } from '../../infra/environment.ts'
import { toHex } from '../../protocol/bytes.ts'

export interface DeployedOwner extends OwnerClient {
  readonly id: string
  /** @returns the command's document: the owner, or a problem */
  claim(secret?: string): Promise<{ readonly id?: string; readonly code?: string }>
  /** What the command prints. */
  command(...words: readonly string[]): Promise<string>
}

const environment = realEnvironment()
const program = fileURLToPath(new URL('../../agent/cli/main.ts', import.meta.url))

export async function createOwner(url: string): Promise<DeployedOwner> {
  const dir = await mkdtemp(join(tmpdir(), 'raincheck-owner-'))
  const home = openHome(dir)
  const { id: owner } = await home.init(environment)
  const command = (...words: readonly string[]): Promise<string> =>
    new Promise((resolve) => {
      const options = { env: { ...process.env, RAINCHECK_HOME: dir } }
      execFile(
        process.execPath,
        ['--disable-warning=ExperimentalWarning', program, ...words, '--json'],
        options,
        (_, out) => resolve(out),
      )
    })
  return {
    ...createOwnerClient({ environment, url, owner, signer: await home.signer() }),
    id: toHex(owner),
    command,
    async claim(secret) {
      const shown = secret === undefined ? [] : ['--secret', secret]
      return JSON.parse(await command('claim', url, ...shown)) as { id?: string; code?: string }
    },
  }
}
