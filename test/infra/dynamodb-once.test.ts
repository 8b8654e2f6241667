import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { documents, npmStart } from '../local/child.ts'
import { freePort } from '../local/ports.ts'
import { scratch } from '../local/scratch.ts'
import { freshTable } from './dynamodb-tables.ts'

const folder = scratch()

test('npm start -- --once moves, settles and audits a file with every store on DynamoDB, again and again', async () => {
  const [data, file] = [folder(), join(folder(), 'file.bin')]
  const content = randomBytes(9 * 1024 * 1024)
  writeFileSync(file, content)
  const env = {
    LEDGER_STORE: await freshTable(),
    REPOSITORY_STORE: await freshTable(),
    AGENT_STORE: await freshTable(),
  }
  for (let runs = 0; runs < 2; runs++) {
    const words = ['--data', data, '--port', String(await freePort()), '--json', '--once', file]
    const ended = await npmStart(words, { env }).ended
    expect(ended).toMatchObject({ code: 0, err: '' })
    const report = documents(ended).at(-1)
    expect(report).toMatchObject({ event: 'done', pieces: 3, paid: '3', audit: 'ok' })
    expect(readFileSync(String(report?.['file'])).equals(content)).toBe(true)
  }
})

test('npm start with a ledger on DynamoDB, where one on SQLite was before, and back, has two ledgers', async () => {
  const [data, file] = [folder(), join(folder(), 'file.bin')]
  writeFileSync(file, 'a file')
  const LEDGER_STORE = await freshTable()
  for (const env of [{}, { LEDGER_STORE }, {}]) {
    const words = ['--data', data, '--port', String(await freePort()), '--json', '--once', file]
    const ended = await npmStart(words, { env }).ended
    expect(ended).toMatchObject({ code: 0, err: '' })
    expect(documents(ended).at(-1)).toMatchObject({ event: 'done', paid: '1', audit: 'ok' })
  }
})

test('npm start says in one line that the server does not answer', async () => {
  const LEDGER_STORE = await freshTable()
  const port = await freePort()
  const env = { LEDGER_STORE, AWS_ENDPOINT_URL_DYNAMODB: `http://127.0.0.1:${port}` }
  const { code, err } = await npmStart(['--data', folder(), '--port', String(port)], { env }).ended
  const table = LEDGER_STORE.replace('dynamodb:', '')
  expect([code, err]).toEqual([
    1,
    `raincheck: The table ${table} cannot be opened: connect ECONNREFUSED 127.0.0.1:${port}.\n`,
  ])
})
