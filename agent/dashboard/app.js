/** The dashboard: what the agent is, and, once the owner's key is shown, what it does and what it can be told. */
import { createAgentClient, readProfile } from './agent-client.js'
import { startClaim } from './claim.js'
import { openKey } from './signed-requests.js'
import { formatBytes, formatCount, formatSeconds, formatWhen } from './figures.js'
import { button, onSubmit, report } from './forms.js'
import { guardRows, startGuard } from './guard.js'
import { linkRow, startStorage } from './storage.js'
import { printable } from './printable.js'
import { createRounds } from './rounds.js'
import { detail, element, find, row, show, terms } from './view.js'

/**
 * @typedef {import('./agent-client.js').AgentClient} AgentClient
 * @typedef {import('./agent-client.js').Profile} Profile
 * @typedef {import('./rounds.js').Part} Part
 * @typedef {{ id: string, infoHash: string, state: string, reason?: string, detail?: string, until?: number, name: string, bytes: number,
 *   done: number, paid: string, file?: string, bytesPerSecond?: number, secondsLeft?: number }} Download
 * @typedef {{ infoHash: string, name: string, bytes: number, pieces: number, price: string, public: boolean,
 *   url?: string, withdrawn?: string, refused?: string }} Share
 * @typedef {{ infoHash: string, name: string, bytes: number, pieces?: number, sellers: number, price: string }} Found
 */

const REFRESH_MS = 1000
/** What comes sooner is not worth a word. */
const SOON_MS = 60_000

/** @type {Readonly<Record<string, readonly string[]>>} */
const ACTIONS = {
  queued: ['pause', 'cancel'],
  running: ['pause', 'cancel'],
  waiting: ['resume', 'pause', 'cancel'],
  paused: ['resume', 'cancel'],
  failed: ['resume', 'cancel'],
}

/** @type {Readonly<Record<string, (name: string) => string>>} What cannot be undone is asked first. */
const QUESTIONS = {
  cancel: (name) => `Cancel ${name}? What has come is removed; what was paid stays paid.`,
}

const owner = find('#owner', HTMLElement)
const unlock = find('#unlock', HTMLElement)
const status = find('#status', HTMLElement)

/** @type {readonly Download[]} As they were a moment ago. */
let downloads = []
/** @type {AgentClient | undefined} Gone when the page is locked. */
let agent
const rounds = createRounds()

/** @param {Profile} profile */
function start(profile) {
  status.textContent = `at ${location.host}`
  const { id, key, ledger, repository } = profile
  find('#who', HTMLElement).replaceChildren(
    ...Object.entries({ Owner: id, 'Agent’s key': key, Ledger: ledger, Repository: repository }).flatMap(
      ([term, value]) => [element('dt', {}, term), element('dd', {}, value)],
    ),
  )
  takeKey((file) => void report(unlock, async () => enter(profile, await openKey(await file.text()))))
  onSubmit('#lock', () => location.reload())
  startStorage(ask)
  startGuard(ask)
  onSubmit('#redeem', () => ask('POST', '/v1/redemptions', {}))
  onSubmit('#search', ({ query = '' }) => search(query))
  onSubmit('#get', async ({ source = '', maxPrice = '' }, form) => {
    if (await get(source, maxPrice)) form.reset()
  })
  onSubmit('#share', async ({ path, price, public: isPublic }, form) => {
    await ask('POST', '/v1/shares', { path, ...(price && { price }), ...(isPublic && { public: true }) })
    form.reset()
  })
}

/**
 * Chosen, or dropped anywhere: what the page does not take, the browser opens in a tab, where anybody can read it.
 * @param {(file: File) => void} open
 */
function takeKey(open) {
  const input = find('#key', HTMLInputElement)
  input.addEventListener('change', () => {
    const [file] = input.files ?? []
    // The same may be chosen again.
    input.value = ''
    if (file) open(file)
  })
  const take = (/** @type {DragEvent} */ event) => {
    if (!event.dataTransfer?.types.includes('Files')) return
    event.preventDefault()
    const [file] = event.dataTransfer.files
    if (file && event.type === 'drop' && !unlock.hidden) open(file)
  }
  document.addEventListener('dragover', take)
  document.addEventListener('drop', take)
}

/**
 * @param {Profile} profile
 * @param {import('./signed-requests.js').Signer} signer
 */
async function enter(profile, signer) {
  const candidate = createAgentClient(signer, profile)
  await candidate.ask('GET', '/v1/guard')
  agent = candidate
  unlock.hidden = true
  owner.hidden = false
  find('#search input', HTMLInputElement).focus()
  document.addEventListener('visibilitychange', rounds.restart)
  // A browser keeps a page that was left, for whoever goes back to it.
  window.addEventListener('pagehide', lock)
  window.addEventListener('pageshow', () => location.reload())
  void refreshAlways()
}

function lock() {
  agent = undefined
  owner.hidden = true
}

/**
 * The agent has just become the owner's.
 * @param {import('./signed-requests.js').Signer} signer
 */
async function welcome(signer) {
  const profile = await readProfile()
  if (!profile) throw new Error('The agent does not know its owner yet: load this page again.')
  start(profile)
  await enter(profile, signer)
}

/**
 * @template T
 * @param {string} method
 * @param {string} path
 * @param {object} [json]
 * @returns {Promise<T>}
 */
async function ask(method, path, json) {
  if (!agent) throw new Error('The page is locked.')
  try {
    return await agent.ask(method, path, json)
  } finally {
    if (method !== 'GET') rounds.restart()
  }
}

/** While somebody looks. */
async function refreshAlways() {
  for (;;) {
    const isMoving = downloads.some(({ state }) => state === 'running' || state === 'queued')
    const due = document.visibilityState === 'visible' ? rounds.take(performance.now(), isMoving) : []
    if (due.length > 0) await refresh(due).then(isThere, isAway)
    await new Promise((resolve) => setTimeout(resolve, REFRESH_MS))
  }
}

function isThere() {
  status.textContent = `at ${location.host}`
  status.className = ''
}

/** @param {Error} error */
function isAway(error) {
  status.textContent = printable(error.message)
  status.className = 'away'
}

/**
 * What one part cannot tell, such as the credits while the ledger is away, keeps no other from being shown.
 * @param {readonly Part[]} parts
 */
async function refresh(parts) {
  const told = await Promise.allSettled(parts.map((part) => REFRESH[part]()))
  const fault = told.find(({ status: came }) => came === 'rejected')
  if (fault?.status === 'rejected') throw fault.reason
}

/** @type {Readonly<Record<Part, () => Promise<void>>>} */
const REFRESH = {
  guard: async () => showIn('#guard', guardRows(await ask('GET', '/v1/guard'), ask)),
  balance: async () => showIn('#balance', terms(await ask('GET', '/v1/balance'))),
  async downloads() {
    downloads = await ask('GET', '/v1/downloads')
    showIn('#downloads', downloads.map(downloadRow))
  },
  async shares() {
    /** @type {Share[]} */
    const shares = await ask('GET', '/v1/shares')
    showIn('#shares', shares.map(shareRow))
  },
  async links() {
    /** @type {import('./storage.js').Link[]} */
    const links = await ask('GET', '/v1/links')
    showIn(
      '#links',
      links.map((link) => linkRow(link, ask)),
    )
  },
}

/**
 * @param {string} selector
 * @param {HTMLElement[]} rows
 */
const showIn = (selector, rows) => show(find(selector, HTMLElement), rows)

/** @param {Download} download */
function downloadRow({
  id,
  state,
  reason,
  detail: why,
  until,
  name,
  bytes,
  done,
  paid,
  file,
  bytesPerSecond,
  secondsLeft,
}) {
  const buttons = (ACTIONS[state] ?? []).map((action) =>
    button(action, () => ask('POST', `/v1/downloads/${id}/${action}`), QUESTIONS[action]?.(name)),
  )
  const isRunning = state === 'running'
  const facts = detail(
    state,
    `${formatBytes(done)} of ${formatBytes(bytes)}`,
    isRunning && bytesPerSecond ? `${formatBytes(bytesPerSecond)}/s` : '',
    isRunning && secondsLeft !== undefined ? `${formatSeconds(secondsLeft)} left` : '',
    `paid ${formatCount(paid, 'credit')}`,
    file ? `saved as ${file}` : '',
  )
  const bar = element('progress', {
    max: bytes || 1,
    value: bytes === 0 && state === 'done' ? 1 : done,
    ariaLabel: printable(name),
  })
  const again = until && until - Date.now() > SOON_MS ? `goes on at ${formatWhen(until, Date.now())}` : ''
  const made = row(name, buttons, bar, facts, ...(reason ? [detail(why ?? reason, again)] : []))
  return Object.assign(made, { id: `download-${id}` })
}

/** @param {string} price */
const priceText = (price) => (price === '0' ? 'free' : `${formatCount(price, 'credit')} a piece`)

/** @param {Share} share */
function shareRow({ infoHash, name, bytes, pieces, price, public: isPublic, url, withdrawn, refused }) {
  const terms = isPublic ? 'free for all' : priceText(price)
  const made = row(
    name,
    [
      ...(url ? [button('copy link', () => navigator.clipboard.writeText(url))] : []),
      button('unshare', () => ask('DELETE', `/v1/shares/${infoHash}`)),
    ],
    detail(formatBytes(bytes), formatCount(pieces, 'piece'), terms),
    ...(withdrawn ? [detail(`withdrawn: ${withdrawn}`)] : []),
    ...(refused ? [detail(`not in the repository: ${refused}`)] : []),
    element('code', {}, infoHash),
  )
  return Object.assign(made, { id: `share-${infoHash}` })
}

/** @param {Found} found */
function foundRow({ infoHash, name, bytes, pieces, sellers, price }) {
  return row(
    name,
    [button('download', () => get(infoHash, price))],
    detail(
      formatBytes(bytes),
      formatCount(sellers, 'seller'),
      ...(pieces === undefined ? [] : [formatCount(pieces, 'piece')]),
      priceText(price),
    ),
    element('code', {}, infoHash),
  )
}

/**
 * @param {string} source
 * @param {string} maxPrice
 */
async function get(source, maxPrice) {
  const had = downloads.find(({ state, infoHash }) => state === 'done' && source.toLowerCase().includes(infoHash))
  if (had && !confirm(printable(`You have had ${had.name}. Buy another copy?`))) return false
  await ask('POST', '/v1/downloads', { source: source.trim(), ...(maxPrice && { maxPrice }) })
  return true
}

/** @param {string} query */
async function search(query) {
  /** @type {Found[]} */
  const found = await ask('GET', `/v1/search?${new URLSearchParams({ query }).toString()}`)
  // Anew each time: a row's button buys at the price that was found with it.
  find('#found', HTMLElement).replaceChildren(...found.map(foundRow))
  find('#how-many', HTMLElement).textContent = found.length === 0 ? 'Nobody offers that.' : `${found.length} found`
}

readProfile().then((profile) => (profile ? start(profile) : startClaim(welcome)), isAway)
