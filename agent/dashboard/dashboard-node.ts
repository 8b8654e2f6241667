import { readFile } from 'node:fs/promises'
import type { Dashboard } from './dashboard.ts'

const TYPES = {
  html: 'text/html; charset=utf-8',
  css: 'text/css',
  js: 'text/javascript',
  svg: 'image/svg+xml',
} as const
const PAGE = 'index.html'
const FILES = [
  PAGE,
  'style.css',
  'icon.svg',
  'app.js',
  'agent-client.js',
  'bytes.js',
  'claim.js',
  'figures.js',
  'forms.js',
  'guard.js',
  'identity.js',
  'printable.js',
  'rounds.js',
  'signed-requests.js',
  'storage.js',
  'view.js',
]

/** The page from the files beside this one. */
export async function readDashboard(): Promise<Dashboard> {
  const entries = FILES.map(async (name) => {
    const path = name === PAGE ? '/' : `/dashboard/${name}`
    const type = TYPES[name.slice(name.lastIndexOf('.') + 1) as keyof typeof TYPES]
    return [path, { type, body: new Uint8Array(await readFile(new URL(name, import.meta.url))) }] as const
  })
  return new Map(await Promise.all(entries))
}
