/**
 * The dashboard in a real browser: `node test/dashboard/main.ts CHROMIUM [SCREENSHOT.png]`. A file of the neighbour's is
 * found, bought and saved with nothing but the page; exit code 1 when anything is wrong.
 */
import { deepEqual, equal, match } from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createOwnerClient } from '../../agent/cli/owner-client.ts'
import { realEnvironment } from '../../infra/environment.ts'
import { startNetwork, type Resident } from '../../infra/local/network.ts'
import { freePort } from '../local/ports.ts'
import { openChromium, type Page } from './chromium.ts'

const [command = 'chromium', screenshot] = process.argv.slice(2)
const environment = realEnvironment()
const textOf = (selector: string): string => `document.querySelector(${JSON.stringify(selector)}).textContent`

async function offer({ home, url, files, agent }: Resident): Promise<Buffer> {
  const content = randomBytes(9_000_000)
  writeFileSync(join(files, '<img src=x> holiday.bin'), content)
  const client = createOwnerClient({ environment, url, owner: agent.context.owner, signer: await home.signer() })
  await client.ask('POST', '/v1/shares', { path: '<img src=x> holiday.bin', price: '2' })
  return content
}

async function unlock(page: Page, you: Resident, dir: string): Promise<void> {
  await page.open(`${you.url}/`)
  await page.until(`document.querySelector('#who dd') !== null`)
  equal(await page.evaluate(`document.querySelector('#owner').hidden`), true)
  await page.chooseFile('#key', join(dir, 'neighbour', 'key'))
  await page.until(`${textOf('#unlock .error')} !== ''`)
  match(await page.evaluate<string>(textOf('#unlock .error')), /not the one of the agent’s owner/)
  await page.chooseFile('#key', join(dir, 'you', 'key'))
  await page.until(`!document.querySelector('#owner').hidden`)
}

async function buy(page: Page): Promise<void> {
  await page.until(`${textOf('#balance')}.includes('1000000')`)
  await page.evaluate(`document.querySelector('#search input').value = 'holiday'`)
  await page.evaluate(`document.querySelector('#search button').click()`)
  await page.until(`${textOf('#found')}.includes('<img src=x> holiday.bin')`)
  await page.evaluate(`document.querySelector('#found button').click()`)
  await page.until(`${textOf('#downloads')}.includes('saved as')`)
  await page.until(`${textOf('#balance')}.includes('999994')`)
  match(await page.evaluate<string>(textOf('#downloads')), /done · 8.58 MiB of 8.58 MiB · paid 6 · saved as/)
}

async function story(page: Page, dir: string): Promise<void> {
  const network = await startNetwork({ environment, dir, port: await freePort(), onFault: console.error })
  try {
    const content = await offer(network.neighbour)
    await unlock(page, network.you, dir)
    await buy(page)
    equal(readFileSync(join(network.you.files, '<img src=x> holiday.bin')).equals(content), true)
    if (screenshot) await page.screenshot(screenshot)
    await page.evaluate(`document.querySelector('#lock button').click()`)
    await page.until(`document.querySelector('#who dd') !== null && document.querySelector('#owner').hidden`)
    // The neighbour's key was refused with 401, which a browser says in its console.
    deepEqual(
      page.complaints.filter((one) => !one.includes('401')),
      [],
    )
  } finally {
    await network.stop()
  }
}

const dir = mkdtempSync(join(tmpdir(), 'raincheck-dashboard-'))
const page = await openChromium(command)
try {
  await story(page, dir)
  console.log('dashboard: found, bought and saved in a browser')
} finally {
  await page.close()
  rmSync(dir, { recursive: true, force: true })
}
