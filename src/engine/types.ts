/** Shapes of the public face: what callers give and get. */
import type { Seq } from '../base/brands.ts';
import type { UserMetadata } from '../format/metadata.ts';
import type { BackupRecord } from './backups/backup-book.ts';
import type { SpaceStats } from './cleaning/space-types.ts';
import type { CheckHealth, DiskHealth, HealthLevel, HealthReason } from './health/health-types.ts';
import type { At } from './history/point.ts';
import type { PurgeStats } from './purging/purge-types.ts';

/** 0 to 65,535 bytes. Strings must be well-formed and are stored as UTF-8. Order is unsigned byte order. */
export type Key = string | Uint8Array;

/** A value: whole, or a stream that is chunked as it arrives. */
export type Bytes = string | Uint8Array | AsyncIterable<Uint8Array> | ReadableStream<Uint8Array>;

/** Options of one write. */
export interface PutOptions {
  /**
   * Plain object of null, boolean, number, string, Uint8Array, Date, arrays and plain objects; at most 64 KiB
   * encoded, depth 16.
   */
  metadata?: UserMetadata;
  contentType?: string;
  /** Kept sorted, without duplicates. */
  tags?: readonly string[];
  /** Commits only if the key's current seq is this; 0 = only if the key is absent. Else VARVE_CONFLICT. */
  ifSeq?: Seq;
  /** Also computes the plain SHA-256 of the whole value; stat() then has it. */
  sha256?: boolean;
  /**
   * The key is absent once so many ms have passed since the commit, 1 up to 2^45. Default: as the space says,
   * else never; Infinity is never in any space.
   */
  ttlMs?: number;
  signal?: AbortSignal;
}

/** What a put did. */
export interface PutResult {
  /** Number of the commit; rises with every commit, with gaps. */
  seq: Seq;
  /** Bytes of the value. */
  size: number;
  /** Content address, hex: equal bytes have equal digests within a store. */
  digest: string;
  /** Chunks the value consists of; 0 when it is kept inline. */
  chunks: number;
  /** Chunks that were not in the store before, list nodes included. */
  newChunks: number;
  /** Bytes of those chunks, list nodes included. */
  newBytes: number;
}

/** What is known of a key's current version. */
export interface EntryStat {
  seq: Seq;
  size: number;
  digest: string;
  /** Plain SHA-256, hex; only where the put asked for it. */
  sha256?: string;
  /** When the key was first put since it was last absent. */
  created: Date;
  modified: Date;
  metadata?: UserMetadata;
  contentType?: string;
  tags?: string[];
  /** From then on the key is absent. */
  expires?: Date;
  chunks: number;
}

/**
 * What a key is to hold, given what it holds (`old` and `stat` undefined: nothing). Undefined deletes. Called
 * once where the key's version is in memory and the result is small; else it is called again when the key has
 * changed before the result could be committed.
 */
export type UpdateFunction = (
  old: Uint8Array | undefined,
  stat: EntryStat | undefined,
) => Bytes | undefined | Promise<Bytes | undefined>;

/** Options of an update: what is not given stays as it was. */
export type UpdateOptions = Omit<PutOptions, 'ifSeq'>;

/** How a transaction is kept apart from others at the same time. */
export interface TransactionOptions {
  /**
   * 'snapshot' (default): reads see one moment, and of two transactions that write one key one commits.
   * 'serializable': also nothing that was read, keys or ranges scanned, was changed by others meanwhile.
   */
  isolation?: 'snapshot' | 'serializable';
  /** How often the function is run again after a VARVE_CONFLICT, with a random wait before. Default 0. */
  retries?: number;
  signal?: AbortSignal;
}

/** One operation of a batch. */
export type BatchOperation =
  | ({ type: 'put'; key: Key; value: string | Uint8Array } & Omit<PutOptions, 'signal'>)
  | { type: 'delete'; key: Key };

/** Which keys deleteRange removes. Bounds combine; all are on keys of the space. */
export interface DeleteRangeOptions {
  prefix?: Key;
  gt?: Key;
  gte?: Key;
  lt?: Key;
  lte?: Key;
  signal?: AbortSignal;
}

/** Which keys a scan returns and how. Bounds combine; all are on keys of the space. */
export interface ScanOptions {
  prefix?: Key;
  gt?: Key;
  gte?: Key;
  lt?: Key;
  lte?: Key;
  /** Last key first. */
  reverse?: boolean;
  /** At most this many entries. */
  limit?: number;
  /** Read the values (default true). Turn off for listings of large values. */
  values?: boolean;
  /** Add `stat` to each entry (default false). */
  stats?: boolean;
  /** Folds every key that has this text after the prefix into one `{ prefix }` entry. */
  delimiter?: string;
  /** The state to scan instead of the newest. */
  at?: At;
  /** The last key (or folded prefix) seen: the scan goes on behind it, in its direction. */
  after?: Key;
  signal?: AbortSignal;
}

/** A key found by a scan; `key` is a string or bytes as `keyEncoding` says. */
export interface KeyEntry<K extends Key = string> {
  key: K;
  prefix?: undefined;
  value?: Uint8Array;
  stat?: EntryStat;
  seq: Seq;
  size: number;
}

/** Keys folded by a delimiter. */
export interface PrefixEntry<K extends Key = string> {
  prefix: K;
  key?: undefined;
}

/** What a scan yields: a key, or with a delimiter a folded prefix. */
export type Entry<K extends Key = string> = KeyEntry<K> | PrefixEntry<K>;

/** A byte range; `end` is exclusive, both default to the whole value. */
export interface StreamOptions {
  /** The state to read instead of the newest. */
  at?: At;
  start?: number;
  end?: number;
  /**
   * Check the SHA-256 of every chunk before its bytes are handed out, with `workers` where there are some.
   * Default false: the checksum of each frame is checked, as in every read.
   */
  verify?: boolean;
  signal?: AbortSignal;
}

/** Options of a read. */
export interface ReadOptions {
  /**
   * The state to read instead of the newest: a commit's number, a Date (every commit stamped in or before
   * that millisecond) or `{ snapshot: name }`. VARVE_HISTORY_GONE where it is not kept as a whole; a version
   * that is still there can be read at its own number.
   */
  at?: At;
  signal?: AbortSignal;
}

/** A place where bytes on disk were found damaged. */
export interface Damage {
  file: string;
  offset?: number;
  /** Code of the error it was found by. */
  kind: string;
  message: string;
}

/** The state of a store: that of the worst of its reasons. */
export interface Health {
  /** 'healthy': there is no reason. */
  ok: boolean;
  status: HealthLevel;
  /** Everything that keeps it from being healthy. */
  reasons: HealthReason[];
  readOnly: boolean;
  /** Why writes are refused, when they are. */
  reason?: string;
  damage: Damage[];
  /** Sequence numbers that are lost between two valid parts of the log. */
  missing: { from: Seq; to?: Seq }[];
  /**
   * The last backup into each vault, newest first; empty: none was ever made. A reader has those of its open.
   */
  backups: BackupRecord[];
  /** Absent where the disk was not asked yet, or does not tell. */
  disk?: DiskHealth;
  /** Absent where there was none, and for readers. */
  lastCheck?: CheckHealth;
}

/**
 * Figures of a running engine. Sizes in bytes; counters since the engine was opened unless said otherwise.
 */
export interface Stats {
  /** Highest sequence number readers see. */
  seq: Seq;
  /** Highest sequence number known to be on disk. */
  durableSeq: Seq;
  /** Sequence number up to which the log is no longer needed. */
  checkpointSeq: Seq;
  /**
   * Live files: segments, tables and the log in use. Superblock, catalogs, and what was superseded and is
   * kept until the next checkpoint are not counted. A reader beside a writer has the figures of its open.
   */
  disk: { totalBytes: number; segmentBytes: number; tableBytes: number; logBytes: number };
  /** The log in use against the bytes at which a checkpoint begins (`checkpointLogBytes`). */
  log: { used: number; budget: number };
  /** Segment files, and the bytes of the chunk frames in them. */
  segments: { sealed: number; open: number; dataBytes: number };
  /** Immutable tables by tree. They are merged in the background. */
  tables: { keys: number; chunks: number; indexes: number; system: number; entries: number; bytes: number };
  /**
   * Of the past: open views, the age of the oldest, named snapshots, the lowest number some reader may ask
   * for.
   */
  history: { views: number; oldestViewMs: number; snapshots: number; horizon: Seq };
  /** Merging of tables in the background. */
  compaction: {
    /** Tables of each level, level 0 first, up to the deepest that has one. */
    levels: { keys: number[]; chunks: number[]; indexes: number[]; system: number[] };
    /** A merge is under way. */
    running: boolean;
    /** Most tables of level 0 in one tree, and bytes beyond what levels may hold. */
    level0Tables: number;
    debtBytes: number;
    merges: number;
    /** Tables that went down a level as they were. */
    moves: number;
    /** Merges that failed, or whose result was thrown away. */
    failures: number;
    bytesRead: number;
    bytesWritten: number;
    /** Rows that no reader could see any more. */
    rowsDropped: number;
    /** Bytes of tables written by checkpoints and merges for each byte written by checkpoints. */
    writeAmplification: number;
    /** How long writers were made to wait for merges, ms. */
    waitedMs: number;
  };
  /** Range deletes and dropped spaces, which are carried out in the background. */
  ranges: {
    /** Deleted for every reader, and not yet turned into deletes of their keys. */
    pending: number;
    /** That is under way. */
    running: boolean;
    /** Carried out, and the keys deleted for them. */
    done: number;
    deletes: number;
    /** Steps that failed. */
    failures: number;
  };
  /** Superseded versions, and what was given back of them. */
  purge: PurgeStats;
  /** What of the segments is in use, and what can be freed. */
  space: SpaceStats;
  /** Old log files kept for change feeds (counted in no size above), and feeds that wait for commits. */
  changes: { keptFiles: number; keptBytes: number; waiting: number };
  commits: {
    /** Transactions. */
    count: number;
    /** Frames written: several transactions share one. */
    groups: number;
    /** fsyncs of the log: fewer than commits when several writers share one. */
    syncs: number;
    /** Bytes of those frames. */
    logBytes: number;
  };
  /**
   * Lookups of chunks to be stored; chunks written, list nodes included; trailers read to find neighbours.
   */
  chunks: { lookups: number; stored: number; storedBytes: number; trailerLoads: number };
  /**
   * Lookups that the memtables did not answer; filters asked for them, at most one for each sorted run;
   * tables searched because the filter said maybe, at most one block of each. `remembered`: lookups that went
   * to the block they had found before, in no other count.
   */
  lookups: {
    keys: { lookups: number; filters: number; tables: number; remembered: number };
    chunks: { lookups: number; filters: number; tables: number };
  };
  /** Bytes of the values put and committed, before deduplication. */
  ingestedBytes: number;
  /** Memory in use against each budget of `memory`. */
  memory: {
    memtable: { used: number; budget: number };
    blockCache: { used: number; budget: number; hits: number; misses: number };
    trailerCache: { used: number; budget: number; hits: number; misses: number };
    pendingCommits: { used: number; budget: number };
    /** Places of rows that were read. */
    foundRows: { used: number; budget: number };
    /** Pieces of filters of tables, and filters over rows inserted lately. */
    tableFilters: { used: number; budget: number };
    /** Pieces of indexes of tables. Beside them a table has about 3 KB as long as it is open. */
    tableIndexes: { used: number; budget: number };
  };
  /** Threads beside the calling one, at most. */
  workers: number;
  /**
   * Tasks done by threads; tasks the calling thread did while it waited; tasks it did again because a thread
   * failed.
   */
  threads: { tasks: number; helped: number; failures: number };
  chunking: { algorithm: 'fastcdc' | 'sieve'; min: number; avg: number; max: number };
  durability: 'full' | 'os' | { groupMs: number };
}
