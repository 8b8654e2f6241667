/** Others' editions: whom you follow, and what is new. */
import { UsageError, type Answer, type Call, type Commands } from '../command.ts'
import { table } from '../table.ts'
import { timeText } from '../time-text.ts'
import { idOf } from '../words.ts'

interface FollowJson {
  id: string
  names: string[]
  missed: number
}
interface AlertJson {
  by: string
  name: string
  seq: number
  infoHash: string
  before?: string
  issued: number
  isNew: boolean
}

export const followCommands: Commands = {
  follow: {
    usage: 'ID [--series NAME]…',
    summary: 'Be told when an owner shares a new edition of a series; without NAME, of any',
    options: { series: { type: 'string', multiple: true } },
    takes: [1, 1],
    async run(call) {
      const names = call.all('series')
      if (names.includes('')) throw new UsageError('--series takes the name of a series.')
      const json = await (await call.agent()).ask<FollowJson>('PUT', `/v1/follows/${idOf(call)}`, { names })
      return { json, text: followText(json) }
    },
  },
  unfollow: {
    usage: 'ID',
    summary: 'Be told no more of what an owner shares',
    takes: [1, 1],
    async run(call) {
      const json = await (await call.agent()).ask('DELETE', `/v1/follows/${idOf(call)}`)
      return { json, text: `${idOf(call)} is followed no more` }
    },
  },
  follows: {
    usage: '',
    summary: 'Whom you follow',
    takes: [0, 0],
    async run(call) {
      const json = await (await call.agent()).ask<FollowJson[]>('GET', '/v1/follows')
      return { json, text: json.map(followText).join('\n') || '(none)' }
    },
  },
  alerts: {
    usage: '[--seen]',
    summary: 'The newest edition of what you follow, those marked * being new to you; --seen: none is new from now on',
    options: { seen: { type: 'boolean' } },
    takes: [0, 0],
    run: alerts,
  },
}

async function alerts(call: Call): Promise<Answer> {
  const agent = await call.agent()
  const json = await agent.ask<AlertJson[]>('GET', '/v1/alerts')
  if (call.flag('seen')) await agent.ask('PUT', '/v1/alerts', { seen: true })
  const rows = json.map(({ isNew, issued, name, infoHash, before, by }) => [
    isNew ? '*' : ' ',
    timeText(issued),
    name,
    infoHash,
    before === undefined ? '' : `after ${before}`,
    `by ${by}`,
  ])
  return { json, text: table(rows) }
}

function followText({ id, names, missed }: FollowJson): string {
  const series = names.length === 0 ? 'every series' : names.map((name) => JSON.stringify(name)).join(', ')
  return `${id}  ${series}${missed === 0 ? '' : `  ${missed} editions were left out of what the repository showed`}`
}
