/** A BitTorrent tracker over HTTP (BEP 3), in a process of its own: `bittorrent-tracker` as it comes. */
import { Server } from 'bittorrent-tracker'
import { onTermination } from '../../infra/service-process.ts'

const tracker = new Server({ udp: false, ws: false, stats: false })
onTermination(() => new Promise((resolve) => tracker.close(resolve)))
tracker.listen(0, '127.0.0.1', () => {
  console.log(JSON.stringify({ url: `http://127.0.0.1:${tracker.http.address().port}` }))
})
