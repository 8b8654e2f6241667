import { createChance } from './chance.ts'
import { createDisk } from './memory-storage.ts'
import { describeStorage } from '../conformance/storage.ts'

describeStorage('the memory of the simulation', async () => {
  const disk = createDisk()
  const random = createChance('storage')
  return {
    storage: disk.open(random),
    reopen: async () => disk.open(random),
    plant: async (name, bytes) => disk.plant(name, bytes),
    uproot: async (name) => disk.uproot(name),
    everything: async () => [...disk.files.keys(), ...disk.unfinished.keys()],
    dispose: async () => undefined,
  }
})
