import { runSeed } from './run.ts'
import { writeFileSync } from 'node:fs'
const [from, count] = process.argv.slice(2).map(Number)
for (let i = from!; i < from! + count!; i++) {
  const a: string[] = [], b: string[] = []
  const x = await runSeed(String(i), (l) => a.push(l)); const y = await runSeed(String(i), (l) => b.push(l))
  console.log(i, x.trace === y.trace, x.steps, y.steps)
  if (x.trace !== y.trace) { const k = a.findIndex((l, j) => l !== b[j]); console.log(k, '\n', a.slice(k-6, k+2).join('\n').slice(0,1800), '\n<>\n', b.slice(k, k+2).join('\n').slice(0,700)); break }
}
process.exit(0)
