/** As much of it as is measured. */
declare module 'bittorrent-tracker' {
  import type { AddressInfo } from 'node:net'

  export class Server {
    constructor(options: { readonly udp: boolean; readonly ws: boolean; readonly stats: boolean })
    readonly http: { address(): AddressInfo }
    listen(port: number, host: string, onListening: () => void): void
    close(onClose: () => void): void
  }
}
