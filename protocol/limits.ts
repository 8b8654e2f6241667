/** Every limit of the protocol and the services, in one place. Sizes in bytes, times in milliseconds. */
const KiB = 1024
const MiB = 1024 * KiB
const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

export const limits = {
  /** Largest integer on the wire: money, sizes and counts are below 2^63. */
  integer: 2n ** 63n - 1n,
  /** A JSON request body, but for the endpoints that name their own limit. */
  jsonBytes: 64 * KiB,
  /** What an owner sends their agent: a torrent file in base64url, a vouch book. */
  ownerBodyBytes: 48 * MiB,
  bencodeDepth: 32,
  /** Values in one bencoded object: a torrent of `filesPerTorrent` files has about 25 each. */
  bencodeValues: 2 ** 19,
  signedBytes: 32 * KiB,
  bookBytes: 8 * MiB,
  torrentBytes: 32 * MiB,
  /** A run of 16 KiB hashes, as it is uploaded. */
  leavesBytes: MiB,
  filesPerTorrent: 20_000,
  pathBytes: 4096,
  nameBytes: 255,
  pathDepth: 32,
  /** Piece lengths are powers of two (BEP 52). */
  pieceBytesMin: 16 * KiB,
  pieceBytesMax: 64 * MiB,
  pieceBytesDefault: 4 * MiB,
  pieces: 2 ** 24,
  unitsPerDeclaration: 2 ** 20,
  segmentUnitsMax: 64,
  segmentsPerDeclaration: 2 ** 14,
  /** A sealed lane's keys are one hash chain, from its last unit to its anchor: 1.2 ms of hashing at the most. */
  unitsPerSealedLane: 2 ** 12,
  /** What a seller puts up for a sealed lane, in units, or all of the lane where that is shorter. */
  bondUnits: 4,
  /** How many times what is asked a sealed lane pays at the most: its payer chooses, and the bond grows with it. */
  sealedPriceTimes: 2,
  declarationMs: 30 * DAY,
  disputeWindowMs: 7 * DAY,
  keysPerIdentity: 8,
  operationsPerIdentity: 256,
  recoveryWindowMs: 72 * HOUR,
  payeesPerDelegation: 32,
  delegationMs: 400 * DAY,
  membershipMs: 400 * DAY,
  /** A majority of them signs in one entry. */
  federationKeys: 15,
  peerPolicyBytes: 4 * KiB,
  referenceBytes: 128,
  /** How far ahead a lock expires. */
  lockMs: 7 * DAY,
  /** The checkpoint that comes with an entry of another ledger. */
  carriedNoteBytes: 16 * KiB,
  /** How far a signed time may lie in the future. */
  clockSkewMs: 5 * MINUTE,
  /** How old a signed request may be; its nonce is remembered for as long. */
  requestAgeMs: 5 * MINUTE,
  /** For how long an agent waits for the answer of a provider's page to which it has sent its owner. */
  authorizationMs: 10 * MINUTE,
  mergeDelayMs: 10 * SECOND,
  /** A ledger accepts nothing more while what it accepted so long ago waits yet: what is left of the merge delay is to catch up. */
  holdBackMs: 3 * SECOND,
  /** What a ledger has not begun to write after so long, it decides anew; and it begins no try of a write after so long. */
  decisionMs: 2 * SECOND,
  ledgerWriteMs: 2 * SECOND,
  entriesPerTile: 256,
  /** A bundle states the length of an entry in 16 bits (C2SP tlog-tiles). */
  entryBytes: 2 ** 16 - 1,
  partsPerEntry: 8,
  /** A signed note: room for post-quantum signatures of 5 kB each. */
  noteBytes: 256 * KiB,
  signaturesPerNote: 32,
  /**
   * For how long a witness's word on a checkpoint counts. Where its log rests, a ledger asks for it again after so long,
   * and puts the checkpoint again where copies are read.
   */
  cosignatureMs: HOUR,
  cosignedAgainMs: 20 * MINUTE,
  bookMs: 7 * DAY,
  /** How far a book may be after the newest that a repository has. */
  booksSkipped: 4096,
  vouchMs: 90 * DAY,
  vouchesPerBook: 10_000,
  vouchDepth: 4,
  vouchCredit: 1_000_000,
  scopeBytes: 64,
  /** Vouching chains in one answer, and vouches in one chain: as many as the verifier's own depth. */
  chains: 16,
  chainVouches: 4,
  /** Books that an agent reads around its owner, to say what a prune would cost. */
  booksAround: 512,
  /** Notices that a repository keeps for one id, and for how long. */
  noticesPerIdentity: 256,
  noticeMs: 30 * DAY,
  /** Credit in pieces by hop from the verifier. */
  creditByHop: [64, 32, 16, 8],
  announcementMs: DAY,
  /** An agent announces again after this. */
  announcedAgainMs: HOUR,
  urlsPerAnnouncement: 8,
  urlBytes: 512,
  /** An x402 header as sent, in base64. */
  paymentHeaderBytes: 8 * KiB,
  /** Editions of one owner that a repository keeps, the newest, and how many it answers with at once. */
  editionsPerOwner: 4096,
  /** How far an edition may be after the newest that a repository has, and the highest number of the first. */
  editionsSkipped: 4096,
  editionsBefore: 2 ** 24,
  editionsAnswered: 64,
  /** Owners that an agent follows, how often it asks for their editions, and series of each that it keeps the newest of. */
  follows: 64,
  followMs: MINUTE,
  seriesFollowed: 256,
  /** The life of a session, and what is left of it when its holder asks for another. */
  sessionMs: 5 * MINUTE,
  sessionRenewedMs: MINUTE,
  /** Circles that an agent keeps or has joined, members of one, and how often a bubble asks who was taken out. */
  circles: 64,
  membersPerCircle: 4096,
  revocationsMs: 30 * SECOND,
  /** Brokers that an agent asks first, and for how long it waits for one. */
  brokers: 8,
  brokerTimeoutMs: 5 * SECOND,
  /** Days in one statement of usage; days that an agent keeps, peers that it tells apart in one, and keys that may read them. */
  usageDaysStated: 366,
  usageDays: 400,
  usagePeers: 1024,
  usageReaders: 8,
  /** Offers in one PAYMENT-REQUIRED, other schemes' among them. */
  offersPerPiece: 16,
  /** Announcements of one owner that a repository keeps, those withdrawn a short while ago among them. */
  announcementsPerOwner: 4096,
  /** How long a repository keeps a content that nobody announces. */
  contentMs: 30 * DAY,
  searchResults: 100,
  queryBytes: 256,
  swarmSellers: 64,
  /** The same piece is answered again for the same tick, after a lost reply or a crash, at most so often. */
  repeatsPerTick: 8,
  itemBytes: 380 * KiB,
  changesPerWrite: 100,
  /** The bodies and keys of one write. */
  writeBytes: 3 * MiB,
  keyBytes: 1024,
  /** A call to another service: how long one try may take, how often it is tried, the pause before the second try. */
  callTimeoutMs: 15 * SECOND,
  uploadTimeoutMs: 2 * MINUTE,
  callAttempts: 4,
  callPauseMs: 200,
  /** For one that says when to come back, at the most. */
  callWaitMs: 5 * SECOND,
  replyBytes: 16 * MiB,
  /** An answer of another agent, beside the bitfield of what it sells: many strangers may answer at once. */
  peerReplyBytes: 256 * KiB,
  /** How long a ledger waits for a witness. */
  witnessTimeoutMs: 5 * SECOND,
  /** How often an agent looks at its ledger's log, and how long after the merge delay it still waits for an entry. */
  logWatchMs: MINUTE,
  receiptPatienceMs: MINUTE,
  /** A seller redeems a lane after so long without a piece, and from so long before its expiry; it sends nothing close to it. */
  laneIdleMs: 5 * MINUTE,
  redeemAheadMs: HOUR,
  expiryMarginMs: 10 * MINUTE,
  redeemPauseMs: MINUTE,
  /** How long a link to a piece in the seller's storage is good. */
  linkMs: MINUTE,
  /** Pieces on their way out at one time; who comes beyond that waits. */
  servingBytes: 64 * MiB,
  servingQueue: 1024,
  /** For how long a reader may take nothing. */
  sendStallMs: 30 * SECOND,
  /** For how long it may read one piece while others wait for the memory. */
  sendPatienceMs: MINUTE,
  /** Stock BitTorrent clients that are connected, in all and from one address. */
  bittorrentPeers: 64,
  bittorrentPeersPerAddress: 10,
  /** Of those, whom blocks are sent to, and for how long while others wait. */
  bittorrentSlots: 8,
  bittorrentSlotMs: MINUTE,
  /** What one may ask for before it is answered, in blocks of up to so many bytes. */
  bittorrentRequests: 512,
  bittorrentBlockBytes: 128 * KiB,
  /** A message from one; its longest is the bitfield of a content. */
  bittorrentMessageBytes: 64 * KiB,
  /** Pieces kept for their other blocks. */
  bittorrentCacheBytes: 32 * MiB,
  /** How long one may say nothing: before it has said what it wants, and after. */
  bittorrentHandshakeMs: 10 * SECOND,
  bittorrentIdleMs: 3 * MINUTE,
  /** For how long an agent believes what it found out about a payer, and how many it remembers. */
  verdictMs: 4 * SECOND,
  /** How old a repository's checkpoint may be for all the credit that chains give, for up to `agingCredit` pieces of it, and for none. */
  freshMs: 10 * MINUTE,
  staleMs: HOUR,
  agingCredit: 8,
  /** Subjects whose chains an agent keeps as they brought them. */
  chainsCarried: 256,
  /** Entries of a repository's log that an agent reads to catch up; beyond that it begins anew at the end. */
  entriesFollowed: 4096,
  /** How long it leaves a repository alone that did not answer. */
  askAgainMs: MINUTE,
  verdictsCached: 4096,
  /** Lanes that a seller, or a process of a ledger, keeps at hand. */
  lanesCached: 2048,
  /** Declarations of one account that hold credits: a ledger adds up all of them for a balance. */
  openDeclarations: 1024,
  /** Shards of one log: a join holds the checkpoints of all of them. */
  logShards: 16,
  /** How often a conditional write is tried anew after another change came first. */
  writeAttempts: 16,
} as const
