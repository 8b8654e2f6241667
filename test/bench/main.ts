/** `npm run bench -- [--json] [--runs N] [NAME…]`: measures, and prints a figure a line. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Bench, Figure } from './figure.ts'
import { audit } from './audit.ts'
import { bundles } from './bundle.ts'
import { drivers } from './drivers.ts'
import { settlements } from './settlements.ts'
import { ticks } from './ticks.ts'
import { memory, transfer } from './transfer.ts'
import { repository } from './repository.ts'
import { trust } from './trust.ts'

const BENCHES: Readonly<Record<string, Bench>> = {
  transfer,
  memory,
  trust,
  repository,
  audit,
  settlements,
  ticks,
  drivers,
  bundle: bundles,
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'boolean', default: false }, runs: { type: 'string', default: '3' } },
})
const names = positionals.length > 0 ? positionals : Object.keys(BENCHES)
const unknown = names.find((name) => !Object.hasOwn(BENCHES, name))
if (unknown !== undefined) {
  console.error(`There is no benchmark ${unknown}: choose from ${Object.keys(BENCHES).join(', ')}.`)
  process.exit(2)
}

const dir = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'raincheck-bench-'))
try {
  for (const name of names) {
    const options = { runs: Number(values.runs), dir, say: (line: string) => console.error(`  ${line}`) }
    for (const figure of (await BENCHES[name]?.(options)) ?? [])
      console.log(values.json ? JSON.stringify(figure) : text(figure))
  }
} finally {
  rmSync(dir, { recursive: true, force: true })
}

function text({ name, ratio, unit, value, runs }: Figure): string {
  const figure = `${name.padEnd(28)} ${value.toFixed(2).padStart(10)} ${unit}`
  return `${figure}${ratio === undefined ? '' : `  (${ratio.toFixed(2)})`}  [${runs} runs]`
}
