import { describeStorage } from '../conformance/storage.ts'
import { describeFaults } from '../conformance/storage-faults.ts'
import { openDropboxWorld } from './dropbox-world.ts'

describeStorage('a Dropbox', () => openDropboxWorld())
describeFaults('a Dropbox', () => openDropboxWorld())
