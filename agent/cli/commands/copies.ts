import { formatBytes, formatCount } from '../../dashboard/figures.js'
import { UsageError, type Answer, type Call, type Commands } from '../command.ts'
import { EXIT, exitCodeOf } from '../exit-code.ts'

interface CopyJson {
  id: string
  state: 'running' | 'waiting' | 'done' | 'failed' | 'cancelled'
  from: { link: string; path: string }
  to: { link: string; path: string }
  folder: boolean
  files: number
  bytes: number
  done: number
  reason?: string
  detail?: string
}

const POLL_MS = 250

export const copyCommands: Commands = {
  copy: {
    usage: 'LINK:PATH LINK[:PATH]',
    summary: 'Copy a file or a folder between two linked storages, inside the provider where it can be',
    takes: [2, 2],
    run: copy,
  },
  uncopy: {
    usage: 'ID',
    summary: 'End a copy and remove what it has not finished; `copy` names its ID when it is interrupted',
    takes: [1, 1],
    async run(call) {
      const id = call.args[0] as string
      if (!/^[0-9a-f]{16}$/.test(id)) throw new UsageError(`'${id}' is not the id of a copy: 16 hex digits.`)
      const agent = await call.agent()
      const over = await overOf(call, await agent.ask<CopyJson>('DELETE', `/v1/copies/${id}`))
      if (over.state === 'cancelled') return { json: over, text: `Ended: ${over.from.path}` }
      return { json: over, text: `Not ended: ${over.detail ?? 'it is done'}`, exitCode: exitCodeOf(over.reason) }
    },
  },
}

async function copy(call: Call): Promise<Answer> {
  const [from, to] = [placeIn(call.args[0] as string), placeIn(call.args[1] as string)]
  if (!from.path) throw new UsageError('which file or folder? LINK:PATH says where it lies.')
  const agent = await call.agent()
  const begun = await agent.ask<CopyJson>('POST', '/v1/copies', { from, to })
  const parting = `${from.path} goes on without this command: \`raincheck uncopy ${begun.id}\` ends it.`
  call.signal.addEventListener('abort', () => call.remark(parting), { once: true })
  const made = await overOf(call, begun)
  const { state, to: there, detail = 'it was ended', reason } = made
  if (state !== 'done') return { json: made, text: `Not copied: ${detail}`, exitCode: exitCodeOf(reason) }
  const files = made.folder ? `  ${formatCount(made.files, 'file')}` : ''
  const text = `Copied to ${there.link}:${there.path}${files}  ${formatBytes(made.bytes)}`
  return { json: made, text, exitCode: EXIT.done }
}

/** How it came to its end. */
async function overOf(call: Call, begun: CopyJson): Promise<CopyJson> {
  const agent = await call.agent()
  let copy = begun
  while (copy.state === 'running' || copy.state === 'waiting') {
    const why = copy.state === 'waiting' ? `  ${copy.detail ?? ''}` : ''
    call.progress(`${copy.from.path}  ${formatBytes(copy.done)} of ${formatBytes(copy.bytes)}${why}`)
    await call.environment.clock.sleep(POLL_MS, call.signal)
    copy = await agent.ask<CopyJson>('GET', `/v1/copies/${copy.id}`)
  }
  call.progress('')
  return copy
}

function placeIn(word: string): { link: string; path?: string } {
  const colon = word.indexOf(':')
  if (colon < 0) return { link: word }
  return { link: word.slice(0, colon), path: word.slice(colon + 1) }
}
