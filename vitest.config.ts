import { defineConfig } from 'vitest/config'

/** Processes rather than threads: some tests kill, and `node:sqlite` blocks. Two of them, for two cores. */
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    setupFiles: ['test/network-guard.ts', 'test/byte-equality.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    execArgv: ['--disable-warning=ExperimentalWarning'],
    // Tests start some hundred processes of the same few entry points.
    env: { NODE_COMPILE_CACHE: new URL('node_modules/.cache/node', import.meta.url).pathname },
  },
})
