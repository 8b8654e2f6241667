import { formatBytes, formatCount } from '../../dashboard/figures.js'
import { UsageError, type Answer, type Call, type Commands } from '../command.ts'
import { EXIT, exitCodeOf } from '../exit-code.ts'

interface CopyJson {
  id: string
  state: 'running' | 'waiting' | 'done' | 'failed'
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
}

async function copy(call: Call): Promise<Answer> {
  const [from, to] = [placeIn(call.args[0] as string), placeIn(call.args[1] as string)]
  if (from.path === undefined) throw new UsageError('which file or folder? LINK:PATH says where it lies.')
  const agent = await call.agent()
  let made = await agent.ask<CopyJson>('POST', '/v1/copies', { from, to })
  while (made.state === 'running' || made.state === 'waiting') {
    const why = made.state === 'waiting' ? `  ${made.detail ?? ''}` : ''
    call.progress(`${made.from.path}  ${formatBytes(made.done)} of ${formatBytes(made.bytes)}${why}`)
    await call.environment.clock.sleep(POLL_MS, call.signal)
    made = await agent.ask<CopyJson>('GET', `/v1/copies/${made.id}`)
  }
  call.progress('')
  const { state, to: there, detail, reason } = made
  if (state === 'failed') return { json: made, text: `Not copied: ${detail ?? ''}`, exitCode: exitCodeOf(reason) }
  const files = made.folder ? `  ${formatCount(made.files, 'file')}` : ''
  const text = `Copied to ${there.link}:${there.path}${files}  ${formatBytes(made.bytes)}`
  return { json: made, text, exitCode: EXIT.done }
}

function placeIn(word: string): { link: string; path?: string } {
  const colon = word.indexOf(':')
  if (colon < 0) return { link: word }
  return { link: word.slice(0, colon), path: word.slice(colon + 1) }
}
