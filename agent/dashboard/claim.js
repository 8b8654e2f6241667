/** The first visit of a new agent: keys are made in the page, saved as files of the owner's, and the agent becomes the owner's. */
import { answerOf } from './agent-client.js'
import { button, onSubmit, report } from './forms.js'
import { delegationTo, makeOwner } from './identity.js'
import { element, find } from './view.js'

const SAVED_MS = 60_000

/** @typedef {{ claimed: boolean, key: string, ledger: string, ledgerId: string, repository: string }} Offer */

/** @param {(signer: import('./signed-requests.js').Signer) => unknown} done */
export function startClaim(done) {
  const card = find('#claim', HTMLElement)
  card.hidden = false
  find('#status', HTMLElement).textContent = `at ${location.host}, without an owner`
  find('#unlock', HTMLElement).hidden = true
  /** @type {string} */
  let secret = ''
  /** @type {import('./identity.js').NewOwner | undefined} */
  let owner
  onSubmit('#claim-secret', async (values) => {
    secret = (values['secret'] ?? '').trim()
    owner ??= await makeOwner(Date.now())
    offerFiles(owner)
    find('#claim-secret', HTMLElement).hidden = true
    find('#claim-keys', HTMLElement).hidden = false
  })
  onSubmit('#claim-confirm', async () => {
    if (!owner) return
    try {
      await claim(owner, secret)
    } catch (error) {
      // It may have been mistyped.
      find('#claim-secret', HTMLElement).hidden = false
      throw error
    }
    card.hidden = true
    await report(card, () => done(/** @type {NonNullable<typeof owner>} */ (owner).signer))
  })
}

/** @param {import('./identity.js').NewOwner} owner */
function offerFiles({ files }) {
  const save = find('#claim-files', HTMLElement)
  const saved = new Set()
  const buttons = Object.entries(files).map(([name, content]) =>
    button(`Save ${name}`, () => {
      saveAs(name, content)
      saved.add(name)
      find('#claim-confirm button', HTMLButtonElement).disabled = saved.size < Object.keys(files).length
    }),
  )
  save.replaceChildren(...buttons)
}

/**
 * @param {string} name
 * @param {string} content
 */
function saveAs(name, content) {
  const href = URL.createObjectURL(new Blob([content], { type: 'application/octet-stream' }))
  element('a', { href, download: name }).click()
  // Some browsers read it a moment later.
  setTimeout(() => URL.revokeObjectURL(href), SAVED_MS)
}

/**
 * @param {import('./identity.js').NewOwner} owner
 * @param {string} secret of the deployment
 */
async function claim(owner, secret) {
  /** @type {Offer} */
  const offer = await answerOf(new Request('/v1/claim'))
  const delegation = await delegationTo(owner, offer, Date.now())
  const body = JSON.stringify({ secret, operations: owner.operations, delegation })
  const headers = { 'content-type': 'application/json' }
  await answerOf(new Request('/v1/claim', { method: 'POST', headers, body }))
}
