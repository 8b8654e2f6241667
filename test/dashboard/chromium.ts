/** A headless Chromium, driven over its DevTools protocol. */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Page {
  open(url: string): Promise<void>
  /** The value of an expression in the page. */
  evaluate<T>(expression: string): Promise<T>
  /** Asks again until it is true, also in the page that comes after this one. @throws after 30 seconds */
  until(expression: string): Promise<void>
  chooseFile(selector: string, path: string): Promise<void>
  /** Where files go that the page saves. */
  saveInto(folder: string): Promise<void>
  /** As a phone, or another window, shows it. */
  resize(width: number, height: number): Promise<void>
  screenshot(path: string): Promise<void>
  /** What the console was told of, and every violation of the page's policy. */
  readonly complaints: readonly string[]
  close(): Promise<void>
}

type Send = <T>(method: string, params?: object) => Promise<T>

const COMPLAINTS = new Set(['Runtime.exceptionThrown', 'Log.entryAdded', 'Runtime.consoleAPICalled'])
const UNTIL_MS = 30_000

export async function openChromium(command: string): Promise<Page> {
  const profile = mkdtempSync(join(tmpdir(), 'raincheck-chromium-'))
  const words = [
    '--headless=new',
    '--no-sandbox',
    '--disable-gpu',
    '--remote-debugging-port=0',
    '--window-size=1000,1400',
  ]
  const child = spawn(command, [...words, `--user-data-dir=${profile}`, 'about:blank'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const { port } = new URL(await listening(child.stderr))
  const complaints: string[] = []
  const send = await connect(await pageAt(port), complaints)
  for (const domain of ['Page', 'DOM', 'Runtime', 'Log']) await send(`${domain}.enable`)
  return {
    ...actions(send),
    complaints,
    async close() {
      child.kill()
      await ended
      rmSync(profile, { recursive: true, force: true })
    },
  }
}

async function listening(stderr: AsyncIterable<Buffer>): Promise<string> {
  let said = ''
  for await (const chunk of stderr) {
    said += chunk.toString()
    const [, url] = /DevTools listening on (ws:\S+)/.exec(said) ?? []
    if (url) return url
  }
  throw new Error(`Chromium did not start: ${said}`)
}

async function pageAt(port: string): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}/json`)
  const targets = (await response.json()) as { type: string; webSocketDebuggerUrl: string }[]
  const page = targets.find(({ type }) => type === 'page')
  if (!page) throw new Error('Chromium has no page')
  return page.webSocketDebuggerUrl
}

async function connect(url: string, complaints: string[]): Promise<Send> {
  const socket = new WebSocket(url)
  await new Promise((resolve) => socket.addEventListener('open', resolve, { once: true }))
  const waiting: ((result: unknown) => void)[] = []
  socket.addEventListener('message', ({ data }) => {
    const { id, result, method, params } = JSON.parse(String(data)) as {
      id?: number
      result?: unknown
      method?: string
      params?: unknown
    }
    if (id !== undefined) waiting[id]?.(result)
    else if (method && COMPLAINTS.has(method)) complaints.push(JSON.stringify(params))
  })
  return <T>(method: string, params: object = {}) =>
    new Promise<T>((resolve) => {
      const id = waiting.push(resolve as (result: unknown) => void) - 1
      socket.send(JSON.stringify({ id, method, params }))
    })
}

function actions(send: Send): Omit<Page, 'complaints' | 'close'> {
  async function evaluate<T>(expression: string): Promise<T> {
    const ask = { expression, awaitPromise: true, returnByValue: true }
    const answer = await send<{ result: { value: T } } | undefined>('Runtime.evaluate', ask)
    // A page that is just being left gives none.
    return answer?.result.value as T
  }
  return {
    evaluate,
    open: async (url) => void (await send('Page.navigate', { url })),
    async until(expression) {
      for (const deadline = Date.now() + UNTIL_MS; !(await evaluate(expression));) {
        if (Date.now() > deadline) throw new Error(`It never came true: ${expression}`)
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    },
    async chooseFile(selector, path) {
      const { root } = await send<{ root: { nodeId: number } }>('DOM.getDocument')
      const { nodeId } = await send<{ nodeId: number }>('DOM.querySelector', { nodeId: root.nodeId, selector })
      await send('DOM.setFileInputFiles', { nodeId, files: [path] })
    },
    saveInto: async (downloadPath) =>
      void (await send('Page.setDownloadBehavior', { behavior: 'allow', downloadPath })),
    async resize(width, height) {
      await send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: width < 600 })
    },
    async screenshot(path) {
      const { data } = await send<{ data: string }>('Page.captureScreenshot', { captureBeyondViewport: true })
      writeFileSync(path, Buffer.from(data, 'base64'))
    },
  }
}
