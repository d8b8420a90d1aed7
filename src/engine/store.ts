/**
 * One open store: the modules of the engine, put together by open.ts and shared by every space.
 *
 * Invariants (test/engine/lifecycle.test.ts):
 * - after close() has been called no call starts, and close resolves when those under way have ended;
 * - once a write or sync has failed, or damage was found at open, no write is accepted; reads go on.
 */
import type { Seq } from '../base/brands.ts';
import { awaited } from '../base/clock.ts';
import { isGoneFile, isVarveError, VarveError } from '../base/errors.ts';
import { type Deferred, deferred } from '../base/sync.ts';
import type { BlockCache } from '../cache/block-cache.ts';
import { newestGeneration } from '../catalog/super-file.ts';
import type { ChunkStore } from '../chunk/chunk-store.ts';
import type { LocalityCache } from '../chunk/locality-cache.ts';
import type { NodePresence } from '../chunk/node-presence.ts';
import type { SegmentLanes } from '../chunk/segment-lanes.ts';
import type { Catalog } from '../format/catalog.ts';
import { superName } from '../format/file-names.ts';
import type { SuperSlot } from '../format/superblock.ts';
import type { ChunkerPool } from '../kernels/chunker/chunker.ts';
import type { GroupCommit } from '../log/group-commit.ts';
import { LogHistory } from '../log/log-history.ts';
import type { IndexBook } from '../secondary/index-book.ts';
import type { SegmentSet } from '../segment/segment-set.ts';
import type { Forest } from '../tree/forest.ts';
import type { KeepRule } from '../tree/keep-rule.ts';
import type { KeyTree } from '../tree/key-tree.ts';
import type { TreeView } from '../tree/tree-view.ts';
import type { TxnWriter } from '../txn/txn-writer.ts';
import type { ValidatorOptions } from '../txn/validator.ts';
import type { Checkpointer } from './background/checkpointer.ts';
import type { Compactor } from './background/compactor.ts';
import type { Expirer } from './background/expirer.ts';
import type { Reaper } from './background/reaper.ts';
import { BackupBook } from './backups/backup-book.ts';
import type { BackgroundCleaning } from './cleaning/background-cleaning.ts';
import type { Cleaner } from './cleaning/cleaner.ts';
import type { DiskRoom } from './cleaning/disk-room.ts';
import type { Companions } from './companion-types.ts';
import type { Env } from './env.ts';
import { Listeners } from './events.ts';
import { FeedWaits } from './feed/feed-waits.ts';
import type { HealthBook } from './health/health-book.ts';
import { History } from './history/history.ts';
import { Views } from './history/views.ts';
import { keyOut } from './key-args.ts';
import type { RestingFiles } from './opening/resting.ts';
import type { CheckedOptions } from './options.ts';
import type { Purger } from './purging/purger.ts';
import type { IndexWork } from './queries/index-work.ts';
import { ReadMarks } from './reading/read-marks.ts';
import type { QuotaCounts } from './spaces/quota-counts.ts';
import type { Spaces } from './spaces/spaces.ts';
import type { Threads } from './threads.ts';
import { KeyQueues } from './writing/key-queues.ts';
import { Sequences } from './writing/sequences.ts';
import type { WritePacer } from './writing/write-pacer.ts';

/** What only a store open for writing has. */
export interface WriteSide {
  readonly log: GroupCommit;
  readonly logHistory: LogHistory;
  readonly txn: TxnWriter;
  readonly checkpointer: Checkpointer;
  readonly compactor: Compactor;
  readonly reaper: Reaper;
  readonly cleaner: Cleaner;
  readonly cleaning: BackgroundCleaning;
  readonly purger: Purger;
  readonly expirer: Expirer;
  /** Merges, range deletes and purges that are due begin. */
  readonly startIfDue: () => void;
  readonly indexWork: IndexWork;
  readonly quotas: QuotaCounts;
  readonly room: DiskRoom;
  readonly marks: ReadMarks;
  readonly history: History;
  readonly pacer: WritePacer;
  /** A snapshot was deleted for good; `prev`, `next`: the pinned numbers around its own. */
  readonly snapshotDeleted?: (prev: Seq, seq: Seq, next: Seq) => void;
}

/** The parts of a store, made by open.ts. */
export interface StoreParts {
  readonly env: Env;
  readonly options: CheckedOptions;
  readonly identity: SuperSlot;
  readonly forest: Forest;
  readonly segments: SegmentSet;
  readonly lanes: SegmentLanes;
  readonly chunks: ChunkStore;
  readonly locality: LocalityCache;
  readonly presence: NodePresence;
  readonly chunkers: ChunkerPool;
  /** Undefined: everything on the calling thread. */
  readonly threads: Threads | undefined;
  readonly blockCache: BlockCache;
  readonly health: HealthBook;
  readonly spaces: Spaces;
  readonly indexes: IndexBook;
  /** Absent for a read-only or degraded store. */
  readonly write: WriteSide | undefined;
  /** Present where `write` is not. */
  readonly resting: RestingFiles | undefined;
  /** Last number recovered. */
  readonly openedSeq: Seq;
  /** Its commit time, ms since 1970. */
  readonly openedMs: number;
  /** The log ended with bytes that are no whole frame then. */
  readonly openedTorn: boolean;
  /** Chunks a value names before they are staged; undefined: the bound of the value folder. */
  readonly stageBirthsMax: number | undefined;
  /** A flush also waits for the merges it makes due. */
  readonly flushMerges: boolean;
  /** Test-only, see ValidatorOptions. */
  readonly weakenedValidation: ValidatorOptions['weakened'];
  /** The set of live files. */
  readonly catalog: () => Catalog;
  /** Ends what open.ts began: files, lock. */
  readonly shutDown: () => Promise<void>;
}

/** Without a write side nothing is dropped, and nothing set. */
function readerHistory({ forest, openedSeq }: StoreParts, marks: ReadMarks): History {
  return new History({ marks, forest, visibleSeq: () => openedSeq, writer: undefined });
}

export class Store {
  readonly parts: StoreParts;
  readonly forest: Forest;
  readonly chunks: ChunkStore;
  readonly keyEncoding: 'utf8' | 'bytes';
  /** Reads under way: what they see, merges keep. */
  readonly marks: ReadMarks;
  readonly history: History;
  /** Updates of one key that wait for each other. */
  readonly updates: KeyQueues = new KeyQueues();
  readonly sequences: Sequences = new Sequences();
  /** The last backup into each vault. */
  readonly backups: BackupBook = new BackupBook();
  /** A policy of a space is being set: writes wait until it is sequenced. Never rejects. */
  settling: Promise<void> | undefined;
  readonly views: Views;
  /** Change feeds that wait for commits. */
  readonly feeds: FeedWaits = new FeedWaits();
  readonly logHistory: LogHistory;
  /** Who is told of events. */
  readonly listeners: Listeners;
  /** Set when the store is put together; see companions.ts. */
  companions!: Companions;
  ingestedBytes = 0;
  readonly #views = new Set<TreeView>();
  #running = 0;
  #idle: Deferred<void> | undefined;
  #closing: Promise<void> | undefined;

  constructor(parts: StoreParts) {
    this.parts = parts;
    this.forest = parts.forest;
    this.chunks = parts.chunks;
    this.keyEncoding = parts.options.keyEncoding;
    const told = parts.options.logger;
    this.listeners = new Listeners((error) => told.error?.('a listener failed', { error }));
    this.#listen();
    this.marks = parts.write?.marks ?? new ReadMarks(parts.openedSeq);
    const { marks } = this;
    this.history = parts.write?.history ?? readerHistory(parts, marks);
    const { env, options } = parts;
    const { logger, maxViewAgeMs } = options;
    this.views = new Views({ marks, clock: env.clock, logger, maxAgeMs: maxViewAgeMs });
    this.history.onRule = () => this.views.sweep();
    this.logHistory = parts.write?.logHistory ?? new LogHistory(parts.env.fs, parts.identity.dbUuid, 0);
    if (parts.write !== undefined) parts.write.log.onProgress = () => this.feeds.wake();
  }

  /** Commit time of the newest commit, ms since 1970. */
  get lastCommitMs(): number {
    return this.parts.write?.log.lastTimeMs ?? this.parts.openedMs;
  }

  /** The moment by which a read made now judges what has expired: a clock that steps back revives nothing. */
  get nowMs(): number {
    return Math.max(this.parts.env.clock.now(), this.lastCommitMs);
  }

  /** Listeners hear of keys that expire. */
  #listen(): void {
    const { write, spaces } = this.parts;
    if (write === undefined) return;
    write.expirer.onExpired = (space, userKey) => {
      this.listeners.tell({ key: keyOut(userKey, this.keyEncoding), space: spaces.nameOf(space) });
    };
  }

  /** Which old versions somebody may still ask for; of this very moment, so ask again after each wait. */
  keepRule(): KeepRule {
    return this.history.keepRule();
  }

  /** Highest number a read made now sees. */
  get visibleSeq(): Seq {
    return this.parts.write?.log.visibleSeq ?? this.parts.openedSeq;
  }

  get isReadOnly(): boolean {
    return this.parts.options.readOnly;
  }

  get isClosing(): boolean {
    return this.#closing !== undefined;
  }

  /** VARVE_CLOSED once close() has been called. */
  assertReadable(): void {
    if (this.#closing !== undefined) throw new VarveError('VARVE_CLOSED', 'the engine is closed');
  }

  /** The write side; VARVE_CLOSED, VARVE_READ_ONLY or VARVE_POISONED when there is none to use. */
  writable(): WriteSide {
    this.assertReadable();
    return this.stillWritable();
  }

  /** The write side; undefined where `writable` would throw. */
  writableNow(): WriteSide | undefined {
    const { write, health } = this.parts;
    if (this.#closing !== undefined || this.isReadOnly || health.refusal !== undefined) return undefined;
    return write?.log.failure === undefined ? write : undefined;
  }

  /** The same for a call under way, which close() waits for: VARVE_READ_ONLY or VARVE_POISONED. */
  stillWritable(): WriteSide {
    const { write, health } = this.parts;
    if (this.isReadOnly) throw new VarveError('VARVE_READ_ONLY', 'the engine was opened readOnly');
    if (health.refusal !== undefined || write === undefined) {
      throw new VarveError(
        'VARVE_READ_ONLY',
        'the store is damaged and open for reading only; see health()',
        {
          cause: health.refusal,
        },
      );
    }
    if (write.log.failure !== undefined) {
      throw new VarveError('VARVE_POISONED', 'an earlier write failed; reopen the store to write again', {
        cause: write.log.failure,
      });
    }
    return write;
  }

  /** Notes damage for health() and returns the error to throw. */
  seen(error: unknown): unknown {
    if (this.isReadOnly && isGoneFile(error) && this.#isLeftBehind()) return expired(error);
    if (isVarveError(error, 'VARVE_CORRUPT')) this.parts.health.note(error);
    return error;
  }

  /** A writer has installed other files since this reader was opened. */
  #isLeftBehind(): boolean {
    const { env, identity, options } = this.parts;
    try {
      const file = env.fs.openSync(superName);
      const generation = newestGeneration(file);
      file.close().catch((error: unknown) => options.logger.warn?.('closing SUPER failed', { error }));
      return generation > identity.generation;
    } catch (error) {
      if (!isVarveError(error)) throw error;
      return false;
    }
  }

  /** Pins the rows of a tree, the key tree if not said otherwise; give it back with `closeView`. */
  openView(tree: KeyTree = this.forest.keys): TreeView {
    this.assertReadable();
    const view = tree.view();
    this.#views.add(view);
    return view;
  }

  closeView(view: TreeView): void {
    this.#views.delete(view);
    view.release();
  }

  /** Runs a call so that close() waits for it and health() knows of the damage it met. */
  async run<T>(call: () => Promise<T>): Promise<T> {
    this.assertReadable();
    this.enter();
    try {
      return await call();
    } catch (error) {
      throw this.seen(error);
    } finally {
      this.leave();
    }
  }

  /** A call begins that close() is to wait for; pair with `leave`. The store is open. */
  enter(): void {
    this.#running++;
  }

  leave(): void {
    this.#running--;
    if (this.#running === 0) this.#idle?.resolve();
  }

  /**
   * Drains, makes everything durable, releases the lock. Idempotent; rejects when something could not be
   * kept.
   */
  close(): Promise<void> {
    // Work in the background that only rests would let the process end before all is closed.
    this.#closing ??= awaited(this.parts.env.clock, () => this.#close());
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.feeds.wake();
    await this.companions.stop();
    if (this.#running > 0) {
      this.#idle = deferred<void>();
      await this.#idle.promise;
    }
    await this.feeds.close();
    // A scan that was left in the middle must not keep the files open; going on with it is VARVE_CLOSED.
    for (const view of this.#views) this.closeView(view);
    await this.parts.shutDown();
  }
}

/** A reader holds nothing: a writer beside it may have emptied a segment since. */
function expired(error: VarveError): VarveError {
  return new VarveError(
    'VARVE_SNAPSHOT_EXPIRED',
    'a file that was live when this reader was opened is gone: open it again',
    { cause: error, ...(error.file === undefined ? {} : { file: error.file }) },
  );
}
