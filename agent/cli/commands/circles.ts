/** Circles: those you keep, and those you have joined. */
import { UsageError, type Answer, type Call, type Commands } from '../command.ts'
import { idIn } from '../words.ts'

interface CircleJson {
  name: string
  kind: 'inner' | 'bubble'
  by: string
  url?: string
  members?: string[]
}

export const circleCommands: Commands = {
  circle: {
    usage: 'NAME [--add ID]… [--remove ID]… [--kind inner|bubble]',
    summary:
      'Make a circle of your own, or change it: only its members get what you share in it. inner: your agent is asked about each session; bubble: members take each other’s word',
    options: {
      add: { type: 'string', multiple: true },
      remove: { type: 'string', multiple: true },
      kind: { type: 'string' },
    },
    takes: [1, 1],
    async run(call) {
      const kind = call.text('kind')
      if (kind !== undefined && kind !== 'inner' && kind !== 'bubble')
        throw new UsageError('--kind takes inner or bubble.')
      const [add, remove] = [call.all('add').map((id) => idIn(id)), call.all('remove').map((id) => idIn(id))]
      const change = { add, remove, ...(kind !== undefined && { kind }) }
      return put(call, call.args[0] as string, change)
    },
  },
  circles: {
    usage: '',
    summary: 'Your circles, and those that you have joined',
    takes: [0, 0],
    async run(call) {
      const json = await (await call.agent()).ask<CircleJson[]>('GET', '/v1/circles')
      return { json, text: json.map(circleText).join('\n') || '(none)' }
    },
  },
  join: {
    usage: 'URL NAME',
    summary: 'Join a circle whose broker is the agent at URL; it lets you in when its owner has added you',
    takes: [2, 2],
    run: async (call) => put(call, call.args[1] as string, { url: call.args[0] }),
  },
  leave: {
    usage: 'NAME',
    summary: 'Leave a circle, or end one of your own',
    takes: [1, 1],
    async run(call) {
      const json = await (await call.agent()).ask<{ name: string }>('DELETE', pathOf(call.args[0] as string))
      return { json, text: `${json.name} is left` }
    },
  },
}

function pathOf(name: string): string {
  if (/^[a-z0-9-]{1,63}$/.test(name)) return `/v1/circles/${name}`
  throw new UsageError(`'${name}' names no circle: lower-case letters, digits and "-".`)
}

async function put(call: Call, name: string, body: unknown): Promise<Answer> {
  const path = pathOf(name)
  const json = await (await call.agent()).ask<CircleJson>('PUT', path, body)
  return { json, text: circleText(json) }
}

function circleText({ name, kind, by, url, members }: CircleJson): string {
  const head = `${name}  ${kind}  by ${by}${url === undefined ? ' (you)' : ` at ${url}`}`
  return [head, ...(members ?? []).map((id) => `  ${id}`)].join('\n')
}
