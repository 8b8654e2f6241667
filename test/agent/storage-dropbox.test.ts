import { describeStorage } from '../conformance/storage.ts'
import { describeHuge } from '../conformance/storage-huge.ts'
import { describeFaults } from '../conformance/storage-faults.ts'
import type { Content } from '../servers/s3-content.ts'
import { openDropboxWorld } from './dropbox-world.ts'

describeStorage('a Dropbox', () => openDropboxWorld())
describeFaults('a Dropbox', () => openDropboxWorld(), ['trailing space '])
describeHuge('a Dropbox', async () => {
  const world = await openDropboxWorld()
  world.server.state.allocated = 2 ** 40
  const plantContent = async (name: string, content: Content) => void world.server.state.write(`/${name}`, content)
  return Object.assign(world, { plantContent })
})
