import { describeStorage } from '../conformance/storage.ts'
import { describeHuge } from '../conformance/storage-huge.ts'
import { describeFaults } from '../conformance/storage-faults.ts'
import type { DriveFile } from '../servers/drive-state.ts'
import { holeContent, type Content } from '../servers/s3-content.ts'
import { openDriveWorld } from './drive-world.ts'

describeStorage('a Drive', () => openDriveWorld())
describeFaults('a Drive', () => openDriveWorld())
describeHuge('a Drive', async () => {
  const world = await openDriveWorld()
  world.server.state.setLimit(2 ** 40)
  return Object.assign(world, {
    async plantContent(name: string, content: Content) {
      await world.plant(name, new Uint8Array(1))
      world.server.state.replace(world.find(name) as DriveFile, content)
    },
    receive: (bytes: number) => world.server.receive(holeContent(bytes)),
  })
})
