import { globSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

/**
 * Files that share a process need not load all modules anew, which takes a third of the time. Those of these folders do,
 * unless they change the environment or stop what they have started when they end.
 */
const files = globSync('test/{protocol,ledger,agent,repository,attacks,cli}/**/*.test.ts', {
  cwd: import.meta.dirname,
})
const NEEDS_A_PROCESS =
  /process\.env = |process\.env\['\w+'\] = |assign\(process\.env|dynamodb-tables|linked-bucket|doMock\(/
/** What the stacks deploy takes a tenth of the time of all tests: a part of CI (`.ci/parts/bundle`), with BUNDLE=all. */
const ofCi = process.env['BUNDLE'] === 'all' ? [] : ['test/bundle/network.test.ts']
const together = files.filter((file) => !NEEDS_A_PROCESS.test(readFileSync(file, 'utf8')))

/** Processes rather than threads: some tests kill, and `node:sqlite` blocks. Three of them, for two cores: some tests wait. */
export default defineConfig({
  test: {
    globalSetup: 'test/run-folder.ts',
    setupFiles: ['test/network-guard.ts', 'test/byte-equality.ts'],
    pool: 'forks',
    maxWorkers: 3,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    execArgv: ['--disable-warning=ExperimentalWarning'],
    // Tests start some hundred processes of the same few entry points.
    env: { NODE_COMPILE_CACHE: fileURLToPath(new URL('node_modules/.cache/node', import.meta.url)) },
    projects: [
      { extends: true, test: { name: 'alone', include: ['test/**/*.test.ts'], exclude: [...together, ...ofCi] } },
      { extends: true, test: { name: 'together', include: together, isolate: false } },
    ],
  },
})
