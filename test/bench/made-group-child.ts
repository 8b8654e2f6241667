/** A group of a made log in a process of its own, NUMBER POLICY (hex): told from when on, it answers with its next entries. */
import { fromHex } from '../../protocol/bytes.ts'
import { createGroup } from './made-group.ts'

const [number = '', policy = ''] = process.argv.slice(2)
const group = createGroup(Number(number), fromHex(policy))
process.on('message', (fromMs: number) => {
  void group.next(fromMs).then((batch) => process.send?.(batch))
})
