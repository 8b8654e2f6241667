/** The owner's switch and the caps of a day. */
import { formatBytes, formatWhen } from './figures.js'
import { button, onSubmit } from './forms.js'
import { detail, row } from './view.js'

/**
 * @typedef {{ stopped: boolean, since?: number, spend: { most?: string, used: string },
 *   serve: { most?: number, used: number }, until: number }} Guard
 * @typedef {import('./agent-client.js').AgentClient['ask']} Ask
 */

const GIB = 1024 ** 3

/** @param {Ask} ask */
export function startGuard(ask) {
  onSubmit('#caps', async ({ spend = '', serve = '' }, form) => {
    await ask('PUT', '/v1/guard', {
      ...(spend && { spend }),
      ...(serve && { serve: Math.round(Number(serve) * GIB) }),
    })
    form.reset()
  })
}

/**
 * @param {Guard} guard
 * @param {Ask} ask
 */
export function guardRows({ stopped, since, spend, serve, until }, ask) {
  const turn = (/** @type {boolean} */ stop) => () => ask('PUT', '/v1/guard', { stopped: stop })
  const agent = stopped
    ? row(
        'Stopped: it sells and buys nothing',
        [button('start', turn(false))],
        detail(since ? `since ${formatWhen(since, Date.now())}` : ''),
      )
    : row('It sells and buys', [button('stop', turn(true))])
  const most = serve.most === undefined ? undefined : formatBytes(serve.most)
  return [
    agent,
    dayRow('Spent today', of(spend.used, spend.most, 'credits'), until),
    dayRow('Sent today', of(formatBytes(serve.used), most, ''), until),
  ]
}

/**
 * @param {string} title
 * @param {string | undefined} used
 * @param {number} until
 */
const dayRow = (title, used, until) =>
  used === undefined
    ? row(`${title}: no cap`, [])
    : row(`${title}: ${used}`, [], detail(`begins anew at ${formatWhen(until, Date.now())}`))

/**
 * @param {string} used
 * @param {string | undefined} most
 * @param {string} unit
 */
const of = (used, most, unit) => (most === undefined ? undefined : `${used} of ${most} ${unit}`.trimEnd())
