import { describe, expect, it } from 'vitest'
import { tellSettings, toldSettings } from '../../agent/told-settings.ts'
import { openSqlite } from '../../infra/store/sqlite.ts'

describe('settings that are told to workers', () => {
  it('are the latest ones, also those that are empty now, and nothing else of a deployment', async () => {
    const store = openSqlite(':memory:')
    expect(JSON.parse(await toldSettings(store))).toEqual({})
    await tellSettings(store, { LEDGER_URL: 'https://old.example', STAKE_MOST: '5', AWS_SECRET_ACCESS_KEY: 'secret' })
    await tellSettings(store, { LEDGER_URL: 'https://new.example' })
    const told = await toldSettings(store)
    expect(JSON.parse(told)).toMatchObject({ LEDGER_URL: 'https://new.example', STAKE_MOST: '' })
    expect(told).not.toContain('secret')
  })

  it('are written when they change alone: each instance tells them', async () => {
    const store = openSqlite(':memory:')
    for (let instance = 0; instance < 3; instance++) await tellSettings(store, { SELL_MODES: 'prepaid' })
    expect(await store.get('setting', 'parameters')).toMatchObject({ version: 1 })
  })
})
