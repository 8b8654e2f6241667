/** The templates and bundles, synthesized as the scripts of the package do. */
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { deflateRawSync } from 'node:zlib'
import { fileURLToPath } from 'node:url'
import type { Template } from './cloud.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

async function run(outdir: string, ...words: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, ['--disable-warning=ExperimentalWarning', ...words], {
    cwd: root,
    env: { ...process.env, CDK_OUTDIR: outdir },
  })
  return stdout
}

const scratch = (): Promise<string> => mkdtemp(join(tmpdir(), 'raincheck-synth-'))

/** @returns the folder of all stacks. @throws with what the checks found */
export async function synthesize(): Promise<string> {
  const outdir = await scratch()
  await run(outdir, 'infra/aws/main.ts')
  return outdir
}

/** The one-file template. */
export async function makeTemplate(): Promise<{ readonly text: string; readonly template: Template }> {
  const outdir = await scratch()
  const file = join(outdir, 'template.json')
  await run(outdir, 'infra/aws/template.ts', '--to', file)
  const text = await readFile(file, 'utf8')
  return { text, template: JSON.parse(text) as Template }
}

/** The files of a bundle, as its archive holds them: each packed by itself. */
export const zippedBytes = (folder: string): number =>
  readdirSync(folder).reduce((sum, name) => sum + deflateRawSync(readFileSync(join(folder, name))).length, 0)
