import { describeStore } from '../conformance/store.ts'

describeStore('SQLite', (folder) => `sqlite:${folder}/store.sqlite`)
