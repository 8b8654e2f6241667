import fc from 'fast-check'
import { expect, test } from 'vitest'
import { fromHex, toHex } from '../../protocol/bytes.ts'
import { formatMagnet, parseMagnet } from '../../protocol/magnet.ts'
import { coded } from '../problems.ts'

// The test torrent of https://blog.libtorrent.org/2020/09/bittorrent-v2/
const V1 = '631a31dd0a46257d5078c0dee4e66e26f73e42ac'
const V2 = 'd8dd32ac93357c368556af3ac1d95c9d76bd0dff6fa9833ecdac3d53134efabb'
const HYBRID = `magnet:?xt=urn:btih:${V1}&xt=urn:btmh:1220${V2}&dn=bittorrent-v1-v2-hybrid-test`

const hybrid = { infoHash: fromHex(V2), infoHashV1: fromHex(V1), name: 'bittorrent-v1-v2-hybrid-test' }

test('reads and writes the published hybrid link', () => {
  expect(parseMagnet(HYBRID)).toEqual(hybrid)
  expect(formatMagnet(hybrid)).toBe(HYBRID)
})

test('names a tracker and a web seed to stock clients, and goes by neither', () => {
  const places = { tracker: 'https://agent.example/announce', webSeed: 'https://agent.example/v1/files/00/' }
  const link = formatMagnet({ ...hybrid, ...places })
  expect(link).toBe(
    `${HYBRID}&tr=https%3A%2F%2Fagent.example%2Fannounce&ws=https%3A%2F%2Fagent.example%2Fv1%2Ffiles%2F00%2F`,
  )
  expect(parseMagnet(link)).toEqual(hybrid)
})

test('reads links that name one version, in hex of any case or in base32', () => {
  expect(parseMagnet(`magnet:?xt=urn:btmh:1220${V2.toUpperCase()}`)).toEqual({ infoHash: hybrid.infoHash })
  expect(parseMagnet(`MAGNET:?dn=a+b%20c&xt=URN:BTIH:${V1}`)).toEqual({ infoHashV1: hybrid.infoHashV1, name: 'a b c' })
  const { infoHashV1 } = parseMagnet('magnet:?xt=urn:btih:MMNDDXIKIYSX2UDYYDPOJZTOE33T4QVM')
  expect(toHex(infoHashV1 as Uint8Array)).toBe(V1)
})

test('reads its own links back, whatever the name', () => {
  const hash = (length: number) =>
    fc.uint8Array({ minLength: length, maxLength: length }).map((bytes) => Uint8Array.from(bytes))
  const name = fc.string({ unit: 'grapheme' })
  fc.assert(
    fc.property(hash(32), hash(20), name, (infoHash, infoHashV1, name) => {
      expect(parseMagnet(formatMagnet({ infoHash, infoHashV1, name }))).toEqual({ infoHash, infoHashV1, name })
    }),
  )
})

test.each([
  '',
  'magnet:',
  'magnet:?dn=name',
  `http://example.org/?xt=urn:btih:${V1}`,
  `magnet:?xt=urn:btih:${V1.slice(1)}`,
  `magnet:?xt=urn:btmh:1120${V2}`,
  `magnet:?xt=urn:sha1:${V1}`,
  `magnet:?xt=urn:btih:${V1}&xt=urn:btih:${V1.replace('6', '7')}`,
  `magnet:?xt=urn:btih:${V1}&dn=${'x'.repeat(20_000)}`,
])('refuses %j', (text) => {
  expect(() => parseMagnet(text)).toThrow(coded('bad-encoding'))
})
