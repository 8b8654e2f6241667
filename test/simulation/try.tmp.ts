import { runSeed } from './run.ts'
const [from, count, show] = process.argv.slice(2)
const groups = new Map<string, string[]>()
let total = 0
for (let i = Number(from); i < Number(from) + Number(count ?? 1); i++) {
  const t = performance.now()
  const o = await runSeed(String(i), show ? (l) => console.log(l) : undefined)
  const ms = performance.now() - t
  total += ms
  console.log(i, o.violations.length ? 'FAIL' : 'ok', `${ms.toFixed(0)} ms`, o.steps, JSON.stringify(o.counts))
  for (const v of o.violations) { const k = v.replace(/[0-9a-f]{20,}/g, '#').replace(/(ann|bob|cid|dee|eve)/g,'X').split('\n').slice(0, show?30:6).join('\n').slice(0, show ? 3000: 500); groups.set(k, [...(groups.get(k) ?? []), String(i)]) }
}
for (const [k, s] of groups) console.log('---', s.join(','), k)
console.log(`${(total / Number(count ?? 1)).toFixed(0)} ms a seed`)
process.exit(0)
