/** A BitTorrent tracker over HTTP (BEP 3), in a process of its own: `bittorrent-tracker` as it comes. */
import type { AddressInfo } from 'node:net'
import { onTermination } from '../../infra/service-process.ts'

interface Tracker {
  readonly http: { address(): AddressInfo }
  listen(port: number, host: string, onListening: () => void): void
  close(onClose: () => void): void
}

const name: string = 'bittorrent-tracker'
const { Server } = (await import(name)) as { readonly Server: new (options: object) => Tracker }
const tracker = new Server({ udp: false, ws: false, stats: false })
onTermination(() => new Promise((resolve) => tracker.close(resolve)))
tracker.listen(0, '127.0.0.1', () => {
  console.log(JSON.stringify({ url: `http://127.0.0.1:${tracker.http.address().port}` }))
})
