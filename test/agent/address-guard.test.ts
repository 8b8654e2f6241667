import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { pinAddress, type Resolve } from '../../agent/clients/address-guard.ts'
import { isPublicAddress } from '../../protocol/address.ts'

const unasked: Resolve = async (hostname) => {
  throw new Error(`${hostname} was resolved`)
}
const answering =
  (...addresses: string[]): Resolve =>
  async () =>
    addresses
const pin = async (url: string, resolve: Resolve = unasked, allowLoopback = false) =>
  await pinAddress(new URL(url), { resolve, allowLoopback })
const refusal = { code: 'address-refused' }

const PRIVATE = [
  '0.0.0.0',
  '0.1.2.3',
  '10.0.0.1',
  '10.255.255.255',
  '100.64.0.1',
  '100.100.100.200',
  '127.0.0.1',
  '127.255.255.254',
  '169.254.169.254',
  '172.16.0.1',
  '172.31.255.255',
  '192.0.0.192',
  '192.0.2.1',
  '192.168.1.1',
  '198.18.0.1',
  '198.19.255.255',
  '198.51.100.7',
  '203.0.113.7',
  '224.0.0.1',
  '239.255.255.255',
  '240.0.0.1',
  '255.255.255.255',
  '168.63.129.16',
  '::',
  '::1',
  '::ffff:127.0.0.1',
  '::ffff:8.8.8.8',
  '::ffff:a9fe:a9fe',
  '::7f00:1',
  '64:ff9b::7f00:1',
  '64:ff9b:1::1',
  'fe80::1',
  'fe80::1%eth0',
  'fec0::1',
  'fc00::1',
  'fd00:ec2::254',
  'ff02::1',
  '100::1',
  '2001::1',
  '2001:db8::1',
  '2002:7f00:1::1',
  '3fff::1',
  '4000::1',
]
const PUBLIC = [
  '1.1.1.1',
  '9.255.255.255',
  '11.0.0.0',
  '100.63.255.255',
  '100.128.0.0',
  '126.255.255.255',
  '128.0.0.0',
  '169.253.255.255',
  '172.15.255.255',
  '172.32.0.0',
  '192.167.255.255',
  '198.17.255.255',
  '198.20.0.0',
  '223.255.255.255',
  '2606:4700::1111',
  '2a00:1450:4001::1',
  '2001:4860:4860::8888',
]

describe('an address', () => {
  test.each(PRIVATE)('%s is not public', (address) => expect(isPublicAddress(address)).toBe(false))
  test.each(PUBLIC)('%s is public', (address) => expect(isPublicAddress(address)).toBe(true))
  test.each(['', 'localhost', '1.2.3', '0x7f.1', '1.2.3.4.5', ':::'])('is not public when it is none: "%s"', (text) => {
    expect(isPublicAddress(text)).toBe(false)
  })
})

describe('a URL with an address in it', () => {
  const host = (address: string) => (address.includes(':') ? `[${address}]` : address)

  test.each(PRIVATE.filter((address) => !address.includes('%')))('is refused at %s', async (address) => {
    await expect(pin(`https://${host(address)}/`)).rejects.toMatchObject(refusal)
  })
  test.each(PUBLIC)('is pinned to itself at %s', async (address) => {
    expect(await pin(`https://${host(address)}:8443/path`)).toBe(address)
  })
  test.each([
    '127.1',
    '127.0.1',
    '2130706433',
    '0x7f000001',
    '0x7f.0.0.1',
    '0177.0.0.1',
    '017700000001',
    '１２７.0.0.1',
    '127.0.0.1.',
  ])(
    'is refused when loopback is written as %s',
    async (text) => await expect(pin(`https://${text}/`)).rejects.toMatchObject(refusal),
  )

  test('is judged alike in every notation of the same IPv4 address', async () => {
    const part = (byte: number, radix: number) =>
      radix === 16 ? `0x${byte.toString(16)}` : radix === 8 ? `0${byte.toString(8)}` : `${byte}`
    const radices = fc.array(fc.constantFrom(8, 10, 16), { minLength: 4, maxLength: 4 })
    const octets = fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255))
    await fc.assert(
      fc.asyncProperty(octets, radices, async (bytes, radix) => {
        const plain = bytes.join('.')
        const whole = bytes.reduce((sum, byte) => sum * 256 + byte, 0)
        const mixed = bytes.map((byte, i) => part(byte, radix[i] ?? 10)).join('.')
        const short = `${bytes[0]}.${whole % 2 ** 24}`
        for (const text of [plain, `${whole}`, `0x${whole.toString(16)}`, `0${whole.toString(8)}`, mixed, short]) {
          const outcome = await pin(`https://${text}/`).catch(() => 'refused')
          expect(outcome).toBe(isPublicAddress(plain) ? plain : 'refused')
        }
      }),
    )
  })

  test('is refused for an IPv4 address inside an IPv6 address, whichever it is', async () => {
    const carriers = ['::ffff:', '::', '64:ff9b::', '::ffff:0:']
    await fc.assert(
      fc.asyncProperty(fc.ipV4(), fc.constantFrom(...carriers), async (address, carrier) => {
        await expect(pin(`https://[${carrier}${address}]/`)).rejects.toMatchObject(refusal)
      }),
    )
  })
})

describe('a URL with a name in it', () => {
  test('is pinned to what the name resolved to', async () => {
    expect(await pin('https://seller.example/', answering('1.1.1.1', '9.9.9.9'))).toBe('1.1.1.1')
  })
  test('is pinned to a public address where there are others', async () => {
    expect(await pin('https://seller.example/', answering('fd00::1', '10.0.0.1', '9.9.9.9'))).toBe('9.9.9.9')
  })
  test.each(PRIVATE)('is refused when the name resolves to %s', async (address) => {
    await expect(pin('https://seller.example/', answering(address))).rejects.toMatchObject(refusal)
  })
  test('is resolved once, so that a name which changes its answer gains nothing', async () => {
    const answers = [['1.1.1.1'], ['127.0.0.1']]
    expect(await pin('https://seller.example/', async () => answers.shift() ?? [])).toBe('1.1.1.1')
    expect(answers).toHaveLength(1)
  })
  test('says so when the name is unknown', async () => {
    await expect(pin('https://nowhere.example/', answering())).rejects.toMatchObject({ code: 'peer-failed' })
    await expect(pin('https://nowhere.example/', unasked)).rejects.toMatchObject({ code: 'peer-failed' })
  })
})

describe('any URL', () => {
  test.each([
    'http://1.1.1.1/',
    'ftp://1.1.1.1/',
    'file:///etc/passwd',
    'data:,x',
    'ws://1.1.1.1/',
    'blob:https://a/b',
  ])('is refused unless it is https: %s', async (url) => {
    for (const allowLoopback of [false, true]) {
      await expect(pin(url, unasked, allowLoopback)).rejects.toMatchObject(refusal)
    }
  })
  test.each(['https://me@1.1.1.1/', 'https://me:secret@1.1.1.1/', 'https://:secret@1.1.1.1/'])(
    'is refused when it carries credentials: %s',
    async (url) => await expect(pin(url)).rejects.toMatchObject(refusal),
  )
  test('does not repeat credentials in the refusal', async () => {
    const error: unknown = await pin('https://me:secret@1.1.1.1/').catch((thrown: unknown) => thrown)
    expect(JSON.stringify(error)).not.toContain('secret')
  })
  test('is judged to be an address or refused, never anything else', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.webUrl({ validSchemes: ['http', 'https', 'ftp'], withQueryParameters: true }),
        fc.oneof(fc.ipV4(), fc.ipV6()),
        async (url, address) => {
          const outcome: unknown = await pin(url, answering(address)).catch((thrown: unknown) => thrown)
          if (typeof outcome === 'string') expect(isPublicAddress(outcome)).toBe(true)
          else expect(outcome).toMatchObject(refusal)
        },
      ),
    )
  })
})

describe('with loopback allowed', () => {
  test.each(['http://127.0.0.1:8402/', 'https://127.0.0.1/', 'http://127.8.8.8/', 'http://[::1]:1/'])(
    '%s may be called',
    async (url) => {
      expect(await pin(url, unasked, true)).toBe(new URL(url).hostname.replace(/[[\]]/g, ''))
    },
  )
  test('a name at loopback may be called', async () => {
    expect(await pin('http://localhost:8402/', answering('::1', '127.0.0.1'), true)).toBe('::1')
  })
  test.each(PRIVATE.filter((address) => address !== '::1' && !address.startsWith('127.')))(
    '%s stays refused',
    async (address) => {
      await expect(pin('https://seller.example/', answering(address), true)).rejects.toMatchObject(refusal)
    },
  )
  test('http to a public address stays refused, by name too', async () => {
    await expect(pin('http://seller.example/', answering('1.1.1.1'), true)).rejects.toMatchObject(refusal)
  })
})
