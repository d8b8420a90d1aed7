/** The public face of an open store, bound to one of its spaces. */
import { checkNames } from '../base/names.ts';
import { nameOfPrefix } from '../txn/claims.ts';
import type { ChangeFeed, ChangesOptions } from './feed/change-types.ts';
import { changes } from './feed/changes.ts';
import { diff } from './history/diff.ts';
import type { Difference, DiffOptions, VersionInfo, ViewOptions } from './history/history-types.ts';
import { PastReads } from './history/past-reads.ts';
import type { At } from './history/point.ts';
import { openReadView, type ReadView } from './history/read-view.ts';
import { versions } from './history/versions.ts';
import { rowPrefix } from './key-args.ts';
import { Indexes, type IndexList } from './queries/indexes.ts';
import { queryOrExplain } from './queries/queries.ts';
import type { QueryEntry, QueryOptions, QueryPlan } from './queries/query-types.ts';
import { Reads } from './reading/reads.ts';
import { newestScan, scan } from './reading/scans.ts';
import { type RetentionPlan, type RetentionPlanOptions, retentionPlan } from './spaces/retention-plan.ts';
import {
  checkSpaceOptions,
  type SpaceInfo,
  type SpaceOptions,
  setPolicy,
  setSpacePolicy,
  spaceInfo,
} from './spaces/space-policy.ts';
import type { Store } from './store.ts';
import { type TransactionFunction, Transactions } from './transactions/transactions.ts';
import type {
  BatchOperation,
  Bytes,
  DeleteRangeOptions,
  Entry,
  EntryStat,
  Key,
  KeyEntry,
  PutOptions,
  PutResult,
  ReadOptions,
  ScanOptions,
  StreamOptions,
  TransactionOptions,
  UpdateFunction,
  UpdateOptions,
} from './types.ts';
import { WholeStore } from './whole-store.ts';
import { RangeDeletes } from './writing/range-deletes.ts';
import { Updates } from './writing/updates.ts';
import { Writes } from './writing/writes.ts';

/**
 * An open store, or one space of it. All spaces share the store's chunks, log and options; `close`, `flush`,
 * `stats` and `health` concern the whole store.
 *
 * Every call rejects (or throws, where it is synchronous) with VarveError; calls after close() with
 * VARVE_CLOSED.
 */
export class Engine extends WholeStore {
  readonly #store: Store;
  readonly #name: string | undefined;
  readonly #reads: Reads;
  readonly #past: PastReads;
  readonly #writes: Writes;
  readonly #ranges: RangeDeletes;
  readonly #updates: Updates;
  readonly #transactions: Transactions;
  /** Secondary indexes of this space. */
  readonly indexes: IndexList;

  /** Use openEngine. `name`: of a space; undefined = the store's own keys. */
  constructor(store: Store, name?: string) {
    super(store);
    this.#store = store;
    this.#name = name;
    this.#reads = new Reads(store);
    this.#past = new PastReads(store, this.#reads, name);
    this.#writes = new Writes(store);
    this.#ranges = new RangeDeletes(store);
    this.#updates = new Updates(store, this.#writes);
    this.#transactions = new Transactions(store, { writes: this.#writes, reads: this.#reads }, name);
    this.indexes = new Indexes(store, () => this.#space);
  }

  /** The number of the space; another one once it was dropped. */
  get #space(): number {
    return this.#name === undefined ? 0 : this.#store.parts.spaces.numberOf(this.#name);
  }

  /**
   * Stores a value under a key. When it resolves the value is as durable as `durability` says, and every read
   * begun later sees it. A buffer may be changed as soon as put has returned its promise; a stream is read to
   * its end, chunked as it arrives, and seen whole or never.
   * VARVE_CONFLICT (ifSeq), VARVE_INVALID_ARGUMENT, VARVE_ABORTED, VARVE_NO_SPACE, VARVE_COMMIT_UNKNOWN,
   * VARVE_POISONED, VARVE_READ_ONLY; whatever a stream throws.
   */
  put(key: Key, value: Bytes, options?: PutOptions): Promise<PutResult> {
    const now = options === undefined ? this.#writes.putNow(this.#space, key, value) : undefined;
    return now ?? this.#store.run(() => this.#writes.put(this.#space, key, value, options));
  }

  /** The value of a key (the caller's to keep), or undefined. VARVE_CORRUPT when it is damaged. */
  get(key: Key, options?: ReadOptions): Promise<Uint8Array | undefined> {
    if (options?.at !== undefined) return this.#past.get(key, options);
    return this.#reads.get(this.#space, key, options);
  }

  /** `get` without a promise; reads the disk on the calling thread where memory does not have it. */
  getSync(key: Key): Uint8Array | undefined {
    return this.#reads.getSync(this.#space, key);
  }

  /** Values of many keys as of one moment, in the order of `keys`. */
  getMany(keys: readonly Key[], options?: ReadOptions): Promise<(Uint8Array | undefined)[]> {
    return this.#store.run(() =>
      options?.at === undefined
        ? this.#reads.getMany(this.#space, keys, options)
        : this.#past.getMany(keys, options),
    );
  }

  has(key: Key, options?: ReadOptions): Promise<boolean> {
    if (options?.at !== undefined) return this.#past.has(key, options);
    return this.#reads.has(this.#space, key, options);
  }

  /** Size, digest, times and metadata of a key, or undefined; does not read the value. */
  stat(key: Key, options?: ReadOptions): Promise<EntryStat | undefined> {
    if (options?.at !== undefined) return this.#past.stat(key, options);
    return this.#reads.stat(this.#space, key, options);
  }

  /**
   * The bytes of a value, or of a range of it, as a byte stream with back-pressure; the version is the one at
   * the moment of the call. The first read rejects with VARVE_NOT_FOUND when there is none.
   */
  stream(key: Key, options?: StreamOptions): ReadableStream<Uint8Array> {
    if (options?.at !== undefined) return this.#past.stream(key, options);
    return this.#reads.stream(this.#space, key, options);
  }

  /**
   * As `stream`, without a copy: the bytes in order, some pieces at a time, where they were read and checked.
   * Pieces are borrowed until the next are asked for or the iteration ends, may lie in memory shared with
   * threads, and must not be changed. What lies behind them is read meanwhile. For writing a value elsewhere.
   */
  pieces(key: Key, options?: StreamOptions): AsyncIterableIterator<readonly Uint8Array[]> {
    if (options?.at !== undefined) return this.#past.pieces(key, options);
    return this.#reads.pieces(this.#space, key, options);
  }

  /** Removes a key. True when there was something to remove. Durable as put. */
  delete(key: Key, options?: { ifSeq?: number; signal?: AbortSignal }): Promise<boolean> {
    return this.#store.run(() => this.#writes.delete(this.#space, key, options));
  }

  /**
   * Removes every key within the bounds, as one commit whatever their number; bounds combine as in a scan,
   * and at least one must be given. Keys put later stay. What they held is freed in the background. Durable
   * as put.
   */
  deleteRange(options: DeleteRangeOptions): Promise<{ seq: number }> {
    return this.#store.run(() => this.#ranges.deleteRange(this.#space, options));
  }

  /** Removes every key of this space (not of others), as deleteRange does. */
  clear(options?: { signal?: AbortSignal }): Promise<{ seq: number }> {
    return this.#store.run(() => this.#ranges.clear(this.#space, options));
  }

  /**
   * Several puts and deletes as one commit: all or nothing, one seq; of several operations on one key the
   * last counts. At most 32 MiB encoded without chunk data (VARVE_INVALID_ARGUMENT beyond).
   */
  batch(operations: readonly BatchOperation[], options?: { signal?: AbortSignal }): Promise<{ seq: number }> {
    return this.#store.run(() => this.#writes.batch(this.#space, operations, options));
  }

  /**
   * Gives `fn` what the key holds and commits what it answers; no other write comes between, and no conflict
   * is seen. `fn` answers the new value, or undefined to delete the key. Metadata, content type, tags and
   * expiry stay as they were unless given. Resolves as put does; with undefined when the key is gone. A
   * function that throws changes nothing.
   */
  update(key: Key, fn: UpdateFunction, options?: UpdateOptions): Promise<PutResult | undefined> {
    return this.#store.run(() => this.#updates.update(this.#space, key, fn, options));
  }

  /**
   * Adds `by` (default 1) to the integer that the key holds as decimal text, and resolves with the sum. An
   * absent key counts as 0. VARVE_INVALID_ARGUMENT when the key holds something else, or where old value, sum
   * or `by` are not within 2^53 - 1. Durable as put.
   */
  increment(key: Key, by = 1, options: { signal?: AbortSignal } = {}): Promise<number> {
    return this.#store.run(async () => {
      checkNames(options, ['signal'], 'option');
      return await this.#updates.increment(this.#space, key, by, options);
    });
  }

  /**
   * The next number of a sequence: 1, then rising, each given out once, also by callers at the same time and
   * after a crash. The key holds the highest number reserved, as increment does. With `cache` (default 1)
   * that many numbers are reserved by one commit and given out from memory; what is left of them at the end
   * is skipped.
   */
  sequence(key: Key, options: { cache?: number } = {}): Promise<number> {
    return this.#store.run(async () => {
      checkNames(options, ['cache'], 'option');
      const { cache = 1 } = options;
      const space = this.#space;
      const name = nameOfPrefix(rowPrefix(space, key));
      // A sequence that expired would begin again.
      const reserve = (count: number): Promise<number> =>
        this.#updates.increment(space, key, count, { ttlMs: Number.POSITIVE_INFINITY });
      return await this.#store.sequences.next(name, cache, reserve);
    });
  }

  /**
   * Runs `fn` over one moment of the store and commits what it wrote as one commit, or nothing when it
   * throws. No lock is taken: VARVE_CONFLICT when something it depends on was changed meanwhile (see
   * `isolation`), and with `retries` it is run again. `fn` begins in this space; `tx.space(name)` is another
   * one. It must do all of its reading and writing through `tx`. At most 32 MiB encoded without chunk data.
   * Durable as put.
   */
  transaction<T>(fn: TransactionFunction<T>, options?: TransactionOptions): Promise<T> {
    return this.#store.run(() => this.#transactions.run(fn, options));
  }

  /** Keys in byte order over one consistent view taken at the call. */
  scan<K extends Key = string>(options?: ScanOptions & { delimiter?: undefined }): AsyncIterable<KeyEntry<K>>;
  /** With a delimiter, keys that have it behind the prefix come folded, as `{ prefix }`. */
  scan<K extends Key = string>(options: ScanOptions): AsyncIterable<Entry<K>>;
  scan<K extends Key = string>(options: ScanOptions = {}): AsyncIterable<Entry<K>> {
    if (options?.at !== undefined) return this.#past.scan(options) as AsyncIterable<Entry<K>>;
    return scan(this.#store, newestScan(this.#store, this.#space), options) as AsyncIterable<Entry<K>>;
  }

  /**
   * The versions of a key that are still there, newest first, deletions included, and why each is kept. Any
   * of them can be read with `at` its own seq.
   */
  versions(key: Key, options?: { signal?: AbortSignal }): AsyncIterable<VersionInfo> {
    return versions(this.#store, this.#space, key, options);
  }

  /**
   * Keys whose version is another one at `to` than at `from`, in byte order; after merges the work is that of
   * the difference. A put of equal bytes is a change: compare the digests. Values count until a commit
   * deletes them, also where they had expired. VARVE_HISTORY_GONE where one of the states is not kept.
   */
  diff<K extends Key = string>(from: At, to: At, options: DiffOptions = {}): AsyncIterable<Difference<K>> {
    const points = { from, to };
    return diff(this.#store, this.#reads, this.#name, points, options) as AsyncIterable<Difference<K>>;
  }

  /**
   * A pinned state, the newest or one of the past: reads of it give the same as long as it is open. Close it,
   * or declare it with `using`; what it sees is kept until then. VARVE_HISTORY_GONE, VARVE_NOT_FOUND
   * (snapshot).
   */
  view(options: ViewOptions = {}): ReadView {
    return openReadView(this.#store, this.#name, options);
  }

  /**
   * What was committed to this space since a number, in order, and then on as it is committed. Each commit
   * comes once, whole; keep the `seq` of the last change that had `last` set, or the feed's own `seq`, to go
   * on later. What `changesRetention` keeps can be read: else, and never with a gap, VARVE_HISTORY_GONE. With
   * durability 'os' or groupMs commits are shown that a power cut may still lose. A slow consumer costs no
   * memory.
   */
  changes<K extends Key = string>(options: ChangesOptions = {}): ChangeFeed<K> {
    return changes(this.#store, this.#name, options) as ChangeFeed<Key> as ChangeFeed<K>;
  }

  /**
   * Keys by an index, or by conditions on them, over one consistent view taken at the call. An index that is
   * being built is VARVE_NOT_READY, one that is not there VARVE_NOT_FOUND, one that was not ready at the
   * point in time VARVE_HISTORY_GONE.
   */
  query<K extends Key = string>(options: QueryOptions & { explain?: false }): AsyncIterable<QueryEntry<K>>;
  /** Tells how a query would be answered. */
  query(options: QueryOptions & { explain: true }): Promise<QueryPlan>;
  query(options: QueryOptions): AsyncIterable<QueryEntry<Key>> | Promise<QueryPlan> {
    const at = options?.at;
    const state = at === undefined ? newestScan(this.#store, this.#space) : () => this.#past.state(at);
    return queryOrExplain(this.#store, state, options);
  }

  /**
   * A named key space of the same store: same methods, keys of its own, shared chunks, and the policies asked
   * for here, from now on.
   */
  space(name: string, options: SpaceOptions = {}): Engine {
    this.#store.assertReadable();
    const asked = checkSpaceOptions(options);
    // A name that cannot be one is refused here.
    setSpacePolicy(this.#store, this.#store.parts.spaces.numberOf(name), asked);
    return new Engine(this.#store, name);
  }

  /**
   * What these policies would keep and drop of the superseded versions of this space; drops nothing. What is
   * not given is as it is set: without options it tells of what is kept now. Goes over all of its keys.
   */
  retentionPlan(options: RetentionPlanOptions = {}): Promise<RetentionPlan> {
    return this.#store.run(() => retentionPlan(this.#store, this.#space, options));
  }

  /** The policies of this space, and what its values take where it has a quota. */
  policy(): SpaceInfo {
    this.#store.assertReadable();
    return spaceInfo(this.#store, this.#space);
  }

  /**
   * Sets policies of this space, durably when it resolves. Of the store's own keys, `history` counts for
   * every space without its own; the other policies are of this space only.
   */
  setPolicy(options: SpaceOptions): Promise<SpaceInfo> {
    return this.#store.run(async () => {
      const asked = checkSpaceOptions(options);
      const space = this.#space;
      await setPolicy(this.#store, space, asked);
      return spaceInfo(this.#store, space);
    });
  }
}
