/** What CloudFormation makes of a template's values: references, attributes, joins. What is not known fails. */

export interface Values {
  /** Of a resource, a parameter, or a pseudo parameter. */
  ref(logicalId: string): string
  attribute(logicalId: string, name: string): string
  imported(name: string): string
}

export function resolve(value: unknown, values: Values): unknown {
  if (Array.isArray(value)) return value.map((one) => resolve(one, values))
  if (typeof value !== 'object' || value === null) return value
  const [first] = Object.entries(value)
  const [name, argument] = first ?? ['', undefined]
  if (name === 'Ref' || name.startsWith('Fn::')) return intrinsic(name, argument, values)
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, resolve(one, values)]))
}

function intrinsic(name: string, argument: unknown, values: Values): unknown {
  const resolved = resolve(argument, values)
  switch (name) {
    case 'Ref':
      return values.ref(String(resolved))
    case 'Fn::GetAtt': {
      const [id = '', attribute = ''] = resolved as string[]
      return values.attribute(id, attribute)
    }
    case 'Fn::ImportValue':
      return values.imported(String(resolved))
    case 'Fn::Join': {
      const [separator, parts] = resolved as [string, string[]]
      return parts.join(separator)
    }
    case 'Fn::Split': {
      const [separator, text] = resolved as [string, string]
      return text.split(separator)
    }
    case 'Fn::Select': {
      const [index, list] = resolved as [string | number, unknown[]]
      return list[Number(index)]
    }
    case 'Fn::Sub':
      return String(resolved).replaceAll(/\$\{([^}]+)\}/g, (_, id: string) => values.ref(id))
    default:
      throw new Error(`${name} is not known here`)
  }
}
