/** Every bound of the engine by name. Each is tested at the bound and one past it. */

export const KiB = 1024;
export const MiB = 1024 * 1024;
export const GiB = 1024 * 1024 * 1024;

/** Longest user key, bytes. */
export const keyBytesMax = 65_535;
/** Encoded metadata of one version (content type, tags, user map, system map), bytes. */
export const metadataBytesMax = 64 * KiB;
/** Nesting depth of user metadata. */
export const metadataDepthMax = 16;
/** Largest value kept inline in the key tree that an option may ask for, bytes. */
export const inlineBytesMax = 64 * KiB;
/** Payload of one log frame, bytes. */
export const framePayloadBytesMax = 32 * MiB;
/** A commit group closes when its payload reaches this many bytes. */
export const groupBytesTarget = 4 * MiB;
/** Chunk references held directly in a value record. */
export const directChunksMax = 16;
/** Children of one list node: fewest before a content-defined end, and most. */
export const listNodeEntriesMin = 128;
export const listNodeEntriesMax = 2_048;
/** Height of a value tree: 2048^5 leaves are beyond 2^53 bytes. */
export const listHeightMax = 5;
/** Chunk size parameters. */
export const chunkMinFloor = 64;
export const chunkMaxCeiling = 16 * MiB;
/**
 * Segments: sealed at the target, never longer than the maximum (offsets are stored divided by 8 in 32 bits).
 */
export const segmentBytesTarget = 64 * MiB;

/** With durability 'full', bytes of a segment after which what is written is synced in the background. */
export const segmentSyncBytes = 16 * MiB;
export const segmentBytesMax = 2 * GiB;
/** Where commits do not wait for a sync, bytes of log after which it is synced in the background. */
export const logSyncBytes = 8 * MiB;
/** Bytes of the log at which a checkpoint begins, where no option says otherwise. */
export const logBytesTarget = 64 * MiB;
/** Old log files kept for change feeds: bytes, where no option says otherwise, and files at most. */
export const logHistoryBytes = 16 * MiB;
/** The least they may take before they count as much beside a small store, bytes. */
export const logHistoryBytesMin: number = MiB;
export const logHistoryFilesMax = 128;
/** Merging of tables: those of level 0 in one tree from which on a merge is due. */
export const level0TablesTarget = 8;
/** Rows after which a merge begins another table, bytes. */
export const mergedTableBytesTarget = 64 * MiB;
/** What level 1 of a tree may hold, bytes; each deeper level `levelRatio` times the one above. */
export const level1BytesTarget = 512 * MiB;
export const levelRatio = 8;
/**
 * Tables of level 0 are added to a merge up to this many bytes, where the free space of the disk is
 * `mergeFreeShare` times as much; up to the least ones always. A larger merge writes level 1 less often.
 */
export const mergeBytesTarget = 768 * MiB;
export const mergeBytesLeast = 256 * MiB;
export const mergeFreeShare = 4;
/** Fewer delete markers than this start no merge of their own. */
export const tombstonesWorthMerging = 1024;
/** Tables of level 0, and bytes due to be merged, at which writers begin to wait; where a byte costs most. */
export const paceLevel0Soft = 16;
export const paceLevel0Hard = 48;
export const paceBytesSoft = 2 * GiB;
export const paceBytesHard = 8 * GiB;
/** What a mebibyte of rows costs a writer at the hard bounds, ms; below them less, by the square. */
export const paceMsPerMiB = 1000;
/** Longest wait of one write for merges and flushes, ms. */
export const paceWaitMsMax = 120;
/** How full memory may get during a flush before writers begin to wait for it, as a share of the budget. */
export const paceFillSoft = 0.25;
/** Range deletes that may be pending; more wait until some are carried out. */
export const pendingRangesMax = 4096;
/** What one step of the reaper looks at and writes, at most: rows, late deletes, bytes of those. */
export const reapRowsMax = 4096;
export const reapDeletesMax = 512;
export const reapBytesTarget = 256 * KiB;
/** List nodes that one step ends, and keys remembered for a look at their old versions, at most. */
export const listDropsMax = 64;
export const rankedKeysMax = 4096;
/** Longest time to live of a value, ms: times of expiry are stored in 48 bits. */
export const ttlMsMax: number = 2 ** 45;
/** A batch or transaction, encoded without chunk data, bytes. */
export const batchBytesMax = 32 * MiB - 64 * KiB;
/**
 * Keys and ranges written by others that are noted while a transaction is validated; then it begins again.
 */
export const watchedKeysMax = 65_536;
/** Beginnings of a validation before it is given up as a conflict. */
export const validationTriesMax = 8;
/** Rows of a range looked at before the event loop has its turn. */
export const validationRowsPerTurn = 4096;
/** Retries of one transaction, and the longest wait before one, ms. */
export const transactionRetriesMax = 1_000_000;
export const transactionBackoffMsMax = 64;
/** Numbers that one commit of a sequence reserves, and sequences whose rest is kept in memory, at most. */
export const sequenceBlockMax = 1_000_000;
export const sequencesKeptMax = 1024;
/** Longest name of a space, bytes of UTF-8. */
export const spaceNameBytesMax = 255;
/** Longest span of kept history, ms: what a commit time can say. */
export const historyMsMax: number = 2 ** 48 - 1;
/** Longest name and note of a snapshot, bytes of UTF-8. */
export const snapshotNameBytesMax = 255;
export const snapshotNoteBytesMax: number = 16 * KiB;
/** Threads an option may ask for. */
export const workersMax = 64;
/** Largest exact integer on disk. */
export const integerMax: number = Number.MAX_SAFE_INTEGER;
/** Secondary indexes: definitions of one space, fields of one, longest name (bytes of UTF-8). */
export const indexesPerSpaceMax = 64;
export const indexFieldsMax = 16;
export const indexNameBytesMax = 255;
/** Entries one row may have in one index, and bytes of the values of one entry of a range index, encoded. */
export const indexEntriesPerRowMax = 1024;
export const indexTupleBytesMax = 4 * KiB;
/** What one step of building an index, or of removing its entries, looks at and writes, at most. */
export const indexStepRowsMax = 2048;
export const indexStepEntriesMax = 1024;
export const indexStepBytesTarget = 256 * KiB;
/** Rows a query sorts in memory, at most; rows of one source counted to choose between sources. */
export const queryHeapRowsMax = 10_000;
export const queryProbeRowsMax = 4096;
