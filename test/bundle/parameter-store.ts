/** A small Parameter Store: the calls that services make of it, refused as AWS refuses them. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface ParameterStore {
  readonly url: string
  readonly names: () => readonly string[]
  close(): Promise<void>
}

interface Asked {
  readonly Name: string
  readonly Type?: string
  readonly Value?: string
  readonly WithDecryption?: boolean
  readonly Overwrite?: boolean
}

class Refused extends Error {
  readonly type: string
  constructor(type: string) {
    super(type)
    this.type = type
  }
}

const NAME = /^(?:\/[a-zA-Z0-9_.-]+){1,15}$/

export async function startParameterStore(): Promise<ParameterStore> {
  const parameters = new Map<string, { type: string; value: string }>()

  function find(name: string) {
    const found = parameters.get(name)
    if (!found) throw new Refused('ParameterNotFound')
    return found
  }

  const operations: Readonly<Record<string, (asked: Asked) => object>> = {
    GetParameter({ Name, WithDecryption = false }) {
      const { type, value } = find(Name)
      return { Parameter: { Name, Type: type, Value: WithDecryption ? value : 'AQICAHh-sealed', Version: 1 } }
    },
    PutParameter({ Name, Type, Value = '', Overwrite = false }) {
      if (!NAME.test(Name) || Type !== 'SecureString' || Value === '') throw new Refused('ValidationException')
      if (parameters.has(Name) && !Overwrite) throw new Refused('ParameterAlreadyExists')
      parameters.set(Name, { type: Type, value: Value })
      return { Version: 1, Tier: 'Standard' }
    },
    DeleteParameter({ Name }) {
      find(Name)
      parameters.delete(Name)
      return {}
    },
  }

  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const operation = operations[String(request.headers['x-amz-target']).replace('AmazonSSM.', '')]
      const head = { 'content-type': 'application/x-amz-json-1.1' }
      try {
        if (!operation || !request.headers.authorization) throw new Refused('UnrecognizedClientException')
        const answer = operation(JSON.parse(Buffer.concat(chunks).toString()) as Asked)
        response.writeHead(200, head).end(JSON.stringify(answer))
      } catch (error) {
        const type = error instanceof Refused ? error.type : 'InternalServerError'
        response.writeHead(400, head).end(JSON.stringify({ __type: type, message: type }))
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    names: () => [...parameters.keys()],
    close: () => new Promise((resolve) => server.close(() => resolve())),
  }
}
