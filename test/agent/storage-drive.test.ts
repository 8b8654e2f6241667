import { describeStorage } from '../conformance/storage.ts'
import { describeFaults } from '../conformance/storage-faults.ts'
import { openDriveWorld } from './drive-world.ts'

describeStorage('a Drive', () => openDriveWorld())
describeFaults('a Drive', () => openDriveWorld())
