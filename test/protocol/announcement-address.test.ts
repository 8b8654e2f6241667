import { describe, expect, it } from 'vitest'
import { checkUrl, isLoopbackAddress, isPublicAddress } from '../../protocol/address.ts'
import { coded } from '../problems.ts'

const strict = { allowLoopback: false }
const local = { allowLoopback: true }

describe('a URL from a stranger', () => {
  it.each([
    'https://agent.example',
    'https://agent.example:8443/a/b',
    'https://93.184.215.14',
    'https://[2606:2800:21f:cb07::1]/',
  ])('may be %s', (url) => {
    expect(checkUrl(url, strict)).toEqual(new URL(url))
    expect(checkUrl(url, local)).toEqual(new URL(url))
  })

  it.each([
    'http://agent.example',
    'https://10.0.0.1',
    'https://172.31.255.255',
    'https://192.168.1.1',
    'https://169.254.169.254/latest/meta-data',
    'https://168.63.129.16',
    'https://100.100.100.200',
    'https://0.0.0.0',
    'https://0',
    'https://0x0a000001',
    'https://012.1',
    'https://167772161',
    'https://224.0.0.1',
    'https://255.255.255.255',
    'https://[::]',
    'https://[fe80::1]',
    'https://[fd00:ec2::254]',
    'https://[::ffff:10.0.0.1]',
    'https://[::ffff:127.0.0.1]',
    'https://[64:ff9b::a00:1]',
    'https://[2002:a00:1::1]',
    'https://[2001:db8::1]',
    'https://intranet',
    'https://printer.local',
    'https://metadata.google.internal',
    'https://router.lan.',
    'https://nas.home.arpa',
  ])('may never be %s', (url) => {
    expect(() => checkUrl(url, strict)).toThrow(coded('address-refused'))
    expect(() => checkUrl(url, local)).toThrow(coded('address-refused'))
  })

  it.each([
    'http://127.0.0.1:8402',
    'https://127.1.2.3',
    'http://[::1]:1',
    'http://localhost:8402',
    'http://a.localhost',
    'http://2130706433',
  ])('may be %s where the operator allows this machine', (url) => {
    checkUrl(url, local)
    expect(() => checkUrl(url, strict)).toThrow(coded('address-refused'))
  })

  it.each([
    '',
    'agent.example',
    'javascript:alert(1)',
    'file:///etc/passwd',
    'https://',
    'https://u@a.example',
    'https://a.example#x',
    'https://a.example?',
    'https://[::1',
  ])('is malformed as %j', (url) => {
    expect(() => checkUrl(url, local)).toThrow(coded('bad-request'))
  })

  it('has a limited length', () => {
    expect(() => checkUrl(`https://a.example/${'x'.repeat(512)}`, strict)).toThrow(coded('too-large'))
  })
})

describe('an address', () => {
  it('is public or not at the edges of the special networks', () => {
    const isPublic = [
      '9.255.255.255',
      '11.0.0.0',
      '172.15.255.255',
      '172.32.0.0',
      '192.167.255.255',
      '223.255.255.255',
      '2001:200::',
      '3ffe::',
    ]
    const isNot = [
      '10.0.0.0',
      '10.255.255.255',
      '172.16.0.0',
      '192.168.255.255',
      '2001:1ff::',
      '3fff::',
      '4000::',
      '1fff::',
      '',
      'x',
      '1.2.3',
      '1.2.3.256',
      '1::2::3',
      '1:2:3',
      ':::',
      '12345::',
    ]
    expect(isPublic.filter((address) => !isPublicAddress(address))).toEqual([])
    expect(isNot.filter(isPublicAddress)).toEqual([])
    expect(['127.0.0.0', '127.255.255.255', '::1'].every(isLoopbackAddress)).toBe(true)
    expect(['126.255.255.255', '128.0.0.0', '::2', '::ffff:127.0.0.1'].some(isLoopbackAddress)).toBe(false)
  })
})
