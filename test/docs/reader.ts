/** The examples of the pages, as a reader has them. */
import { examplesIn, readProtocol } from './page.ts'

const examples = new Map(
  readProtocol()
    .flatMap(examplesIn)
    .map(({ name, text }) => [name, text]),
)

export const exampleNames = [...examples.keys()]

export function textOf(name: string): string {
  const found = examples.get(name)
  if (found === undefined) throw new Error(`the docs have no example ${name}`)
  return found
}

export const jsonOf = <T>(name: string): T => JSON.parse(textOf(name)) as T

export interface Message {
  readonly start: string
  /** Without those whose values are left out. */
  readonly headers: Headers
  readonly body: string
}

/** Request and answer of an `http` block. */
export function exchangeOf(name: string): readonly [request: Message, answer: Message] {
  const [request = '', answer = ''] = textOf(name).split(/\n\n(?=HTTP\/1\.1 \d{3}(?:\n|$))/)
  return [messageOf(request), messageOf(answer)]
}

function messageOf(text: string): Message {
  const [head = '', ...rest] = text.split('\n\n')
  const [start = '', ...lines] = head.split('\n')
  const shown = lines.map((line) => line.split(/: (.*)/).slice(0, 2) as [string, string])
  return { start, headers: new Headers(shown.filter(([, value]) => value !== '…')), body: rest.join('\n\n') }
}

export const answerOf = <T>(name: string): T => JSON.parse(exchangeOf(name)[1].body) as T
