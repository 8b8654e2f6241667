import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { freePort } from '../local/ports.ts'
import { crash, fileGoods } from './crash.ts'

const MIB = 1024 ** 2
const KILLS = 6

test('a download goes on by itself after every kill of the whole network, and every account is right', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'raincheck-crash-'))
  try {
    const say = () => undefined
    const port = await freePort()
    const goods = fileGoods(dir, 48 * MIB + 5)
    const report = await crash({ dir, port, goods, kills: KILLS, seed: 'suite', price: 3n, say })
    expect(report).toMatchObject({ sameBytes: true, prefixes: true, auditProblems: [] })
    expect(report.lost).toBe(report.paid)
    expect(report.gained).toBe(report.paid)
    expect(report.ticks).toBeLessThanOrEqual(report.pieces + KILLS)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})
