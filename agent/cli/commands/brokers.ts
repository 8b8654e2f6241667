/** Brokers: who is asked first where a content is to be had. */
import type { Commands } from '../command.ts'

interface BrokersJson {
  brokers: string[]
}

export const brokerCommands: Commands = {
  brokers: {
    usage: '[--add URL]… [--remove URL]…',
    summary: 'The repositories and agents that your agent asks first who has a content; adds and removes some',
    options: { add: { type: 'string', multiple: true }, remove: { type: 'string', multiple: true } },
    takes: [0, 0],
    async run(call) {
      const agent = await call.agent()
      const [more, fewer] = [call.all('add').map(bare), new Set(call.all('remove').map(bare))]
      const known = await agent.ask<BrokersJson>('GET', '/v1/brokers')
      const brokers = [...known.brokers, ...more].filter((url) => !fewer.has(url))
      const isChange = more.length > 0 || fewer.size > 0
      const json = isChange ? await agent.ask<BrokersJson>('PUT', '/v1/brokers', { brokers }) : known
      return { json, text: json.brokers.join('\n') || '(none)' }
    },
  },
}

const bare = (url: string): string => url.replace(/\/+$/, '')
