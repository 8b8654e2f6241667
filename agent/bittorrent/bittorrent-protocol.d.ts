/** What is used of bittorrent-protocol 5. */
declare module 'bittorrent-protocol' {
  type Respond = (error: Error | null, block?: Uint8Array) => void

  interface Events {
    data: [chunk: Uint8Array]
    error: [error: Error]
    /** It says nothing more. */
    finish: []
    /** Info hash and peer id in hex. */
    handshake: [infoHash: string, peerId: string]
    interested: []
    uninterested: []
    request: [index: number, offset: number, length: number, respond: Respond]
    cancel: [index: number, offset: number, length: number]
    /** A block has left. */
    upload: [bytes: number]
  }

  interface Extension {
    onMessage(message: Uint8Array): void
  }

  /** One end of the peer wire protocol, a duplex stream of its bytes. */
  export default class Wire {
    constructor(type: 'tcpIncoming' | 'tcpOutgoing')
    readonly hasFast: boolean
    readonly peerInterested: boolean
    extendedHandshake: Record<string, number | string>
    on<E extends keyof Events>(event: E, listener: (...values: Events[E]) => void): this
    write(chunk: Uint8Array): boolean
    _write(chunk: Uint8Array, done: () => void): void
    _onExtended(number: number, message: Uint8Array): void
    use(extension: { new (): Extension; readonly prototype: { readonly name: string } }): void
    handshake(infoHash: string, peerId: string, extensions: { readonly fast: boolean }): void
    extended(number: number, message: Uint8Array): void
    bitfield(bitfield: Uint8Array): void
    haveAll(): void
    choke(): void
    reject(index: number, offset: number, length: number): void
    unchoke(): void
    keepAlive(): void
    destroy(): void
  }
}
