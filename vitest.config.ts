import { globSync, readFileSync } from 'node:fs'
import { defineConfig } from 'vitest/config'

/** A file that changes the environment, or stops what it started when it ends, has a process to itself. */
const NEEDS_A_PROCESS =
  /process\.env = |process\.env\['\w+'\] = |assign\(process\.env|dynamodb-tables|linked-bucket|doMock\(/
const files = globSync('test/**/*.test.ts', { cwd: import.meta.dirname })
const alone = files.filter((file) => NEEDS_A_PROCESS.test(readFileSync(file, 'utf8')))

/** Processes rather than threads: some tests kill, and `node:sqlite` blocks. Two of them, for two cores. */
export default defineConfig({
  test: {
    setupFiles: ['test/network-guard.ts', 'test/byte-equality.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    execArgv: ['--disable-warning=ExperimentalWarning'],
    // Tests start some hundred processes of the same few entry points.
    env: { NODE_COMPILE_CACHE: new URL('node_modules/.cache/node', import.meta.url).pathname },
    projects: [
      { extends: true, test: { name: 'alone', include: alone } },
      // The others share one: loading the modules anew for each of them takes a third of the time.
      { extends: true, test: { name: 'together', include: files, exclude: alone, isolate: false } },
    ],
  },
})
