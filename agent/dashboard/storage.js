/** Linked drives: what there is, and another one. */
import { button, onSubmit } from './forms.js'
import { formatBytes } from './figures.js'
import { detail, element, find, row } from './view.js'

/**
 * @typedef {{ name: string, kind: string, place?: string, quota?: { total?: number, used?: number }, detail?: string }} Link
 * @typedef {import('./agent-client.js').AgentClient['ask']} Ask
 */

/** @param {Ask} ask */
export function startStorage(ask) {
  find('#callback', HTMLElement).textContent = `${location.origin}/v1/oauth/callback`
  onSubmit('#link-s3', async ({ bucket = '', prefix = '', region = '' }, form) => {
    await ask('POST', '/v1/links', { kind: 's3', bucket, ...(prefix && { prefix }), ...(region && { region }) })
    form.reset()
  })
  onSubmit('#link-drive', async ({ kind = '', clientId = '', clientSecret = '' }, form) => {
    /** @type {{ url: string }} */
    const { url } = await ask('POST', '/v1/authorizations', { kind, clientId, ...(clientSecret && { clientSecret }) })
    // A page of the provider's: it learns nothing of this one.
    const go = element('a', { href: url, target: '_blank', rel: 'noopener noreferrer' }, 'Allow it there')
    find('#link-go', HTMLElement).replaceChildren(go, ', then come back: the drive appears above.')
    form.reset()
  })
}

/**
 * @param {Link} link
 * @param {Ask} ask
 */
export function linkRow({ name, kind, place = '', quota, detail: wrong = '' }, ask) {
  const space =
    quota?.total === undefined || quota.used === undefined
      ? ''
      : `${formatBytes(quota.used)} of ${formatBytes(quota.total)} used`
  const unlink = button(
    'unlink',
    () => ask('DELETE', `/v1/links/${encodeURIComponent(name)}`),
    `Unlink ${name}? Its files stay; what is shared from it is served no more.`,
  )
  return Object.assign(row(name, [unlink], detail(kind, place, space, wrong)), { id: `link-${name}` })
}
