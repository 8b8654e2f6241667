/** `node test/crash/main.ts [--bytes N] [--kills N] [--seed S]`: see crash.ts. Exit code 1 when anything is wrong. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { freePort } from '../local/ports.ts'
import { crash, fileGoods, isRight } from './crash.ts'

const { values } = parseArgs({
  options: {
    bytes: { type: 'string', default: String(1024 ** 3) },
    kills: { type: 'string', default: '50' },
    seed: { type: 'string', default: 'crash' },
  },
})
const dir = mkdtempSync(join(tmpdir(), 'raincheck-crash-'))
try {
  const report = await crash({
    dir,
    port: await freePort(),
    goods: fileGoods(dir, Number(values.bytes)),
    kills: Number(values.kills),
    seed: values.seed,
    price: 3n,
    say: (line) => console.error(line),
  })
  const ok = isRight(report)
  console.log(
    JSON.stringify({ ok, ...report }, (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value)),
  )
  process.exitCode = ok ? 0 : 1
} finally {
  rmSync(dir, { recursive: true, force: true })
}
