/** The templates and bundles, synthesized as `npm run synth` does, once a run of tests. */
import { execFile } from 'node:child_process'
import { mkdtemp, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const root = new URL('../..', import.meta.url).pathname

/** @returns the folder. @throws with what the checks found */
export async function synthesize(): Promise<string> {
  const outdir = await mkdtemp(join(tmpdir(), 'raincheck-synth-'))
  const { context } = JSON.parse(await readFile(join(root, 'cdk.json'), 'utf8')) as { context: object }
  await promisify(execFile)(process.execPath, ['--disable-warning=ExperimentalWarning', 'infra/aws/main.ts'], {
    cwd: root,
    env: { ...process.env, CDK_OUTDIR: outdir, CDK_CONTEXT_JSON: JSON.stringify(context) },
  })
  return outdir
}
