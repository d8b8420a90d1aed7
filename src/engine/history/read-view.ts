/**
 * A pinned state of the store: every read of it gives the same, whatever is written, deleted, merged or
 * reclaimed meanwhile.
 *
 * Invariants (test/engine/read-view.test.ts, test/engine/history-model.test.ts)
 * - A view gives the same bytes as long as it lives ("a view gives the same bytes as long as it lives").
 */
import type { Seq } from '../../base/brands.ts';
import { invalid } from '../../base/errors.ts';
import { checkNames } from '../../base/names.ts';
import { rowPrefix } from '../key-args.ts';
import { queryOrExplain } from '../queries/queries.ts';
import type { QueryEntry, QueryOptions, QueryPlan, StateQuery } from '../queries/query-types.ts';
import { Reads } from '../reading/reads.ts';
import { refuseAt, type ScanMoment, scan } from '../reading/scans.ts';
import { streamOf } from '../reading/value-stream.ts';
import type { Store } from '../store.ts';
import type { Entry, EntryStat, Key, KeyEntry, ReadOptions, ScanOptions, StreamOptions } from '../types.ts';
import type { ViewOptions } from './history-types.ts';
import { historyGone, momentOf, newestMoment, spaceAt } from './moment.ts';
import type { At } from './point.ts';
import type { HeldView } from './views.ts';

/** Options of a read of a view, which has its point in time. */
export type ViewReadOptions = Omit<ReadOptions, 'at'>;

/**
 * One space as it was at a point in time, and the way to the others. Close it, or declare it with `using`:
 * what it sees is kept until then. Reads after that are VARVE_CLOSED; VARVE_SNAPSHOT_EXPIRED when it is older
 * than `maxViewAgeMs`.
 */
export class ReadView {
  readonly #store: Store;
  readonly #held: HeldView;
  readonly #space: number | undefined;
  readonly #reads: Reads;

  /** Use engine.view(). */
  constructor(store: Store, held: HeldView, space: number | undefined) {
    this.#store = store;
    this.#held = held;
    this.#space = space;
    this.#reads = new Reads(store);
  }

  /** The number of the last commit it sees. */
  get seq(): Seq {
    return this.#held.moment.seq;
  }

  /** As of the engine, of this state; so are the other reads. */
  get(key: Key, options?: ViewReadOptions): Promise<Uint8Array | undefined> {
    return this.#call([key], options, async (space) =>
      this.#reads.get(space, key, options, this.#held.moment),
    );
  }

  getSync(key: Key): Uint8Array | undefined {
    const space = this.#open();
    if (space !== undefined) return this.#reads.getSync(space, key, this.#held.moment);
    rowPrefix(0, key);
    return undefined;
  }

  async getMany(keys: readonly Key[], options?: ViewReadOptions): Promise<(Uint8Array | undefined)[]> {
    if (!Array.isArray(keys)) throw invalid('getMany takes an array of keys');
    const values = await this.#call(keys, options, (space) =>
      this.#store.run(() => this.#reads.getMany(space, keys, options, this.#held.moment)),
    );
    return values ?? keys.map(() => undefined);
  }

  async has(key: Key, options?: ViewReadOptions): Promise<boolean> {
    const found = await this.#call([key], options, (space) =>
      this.#reads.has(space, key, options, this.#held.moment),
    );
    return found ?? false;
  }

  stat(key: Key, options?: ViewReadOptions): Promise<EntryStat | undefined> {
    return this.#call([key], options, (space) => this.#reads.stat(space, key, options, this.#held.moment));
  }

  stream(key: Key, options: Omit<StreamOptions, 'at'> = {}): ReadableStream<Uint8Array> {
    const space = this.#open();
    checkNames(options, ['start', 'end', 'verify', 'signal'], 'option');
    const { moment } = this.#held;
    const prefix = rowPrefix(space ?? 0, key);
    const request = this.#reads.request(
      async () => (space === undefined ? undefined : this.#reads.find(prefix, moment)),
      moment.seq,
      options,
      () => this.#held.assertOpen(),
    );
    return streamOf(this.#store, request);
  }

  scan<K extends Key = string>(
    options?: Omit<ScanOptions, 'at'> & { delimiter?: undefined },
  ): AsyncIterable<KeyEntry<K>>;
  scan<K extends Key = string>(options: Omit<ScanOptions, 'at'>): AsyncIterable<Entry<K>>;
  scan<K extends Key = string>(options: ScanOptions = {}): AsyncIterable<Entry<K>> {
    refuseAt(options, 'view');
    return scan(this.#store, () => this.#moment(), options) as AsyncIterable<Entry<K>>;
  }

  #moment(): ScanMoment {
    const held = this.#held;
    const space = this.#open();
    const { seq, expiryMs } = held.moment;
    return { seq, expiryMs, space, check: () => held.assertOpen() };
  }

  /** As Engine.query, over this state: an index answers that was ready by then. */
  query<K extends Key = string>(options: StateQuery & { explain?: false }): AsyncIterable<QueryEntry<K>>;
  query(options: StateQuery & { explain: true }): Promise<QueryPlan>;
  query(options: QueryOptions): AsyncIterable<QueryEntry<Key>> | Promise<QueryPlan> {
    refuseAt(options, 'view');
    return queryOrExplain(this.#store, () => this.#moment(), options);
  }

  /** Another space, as it was called then. VARVE_HISTORY_GONE where it is not kept as far back. */
  space(name: string): ReadView {
    this.#open();
    const store = this.#store;
    const space = spaceAt(store, name, this.seq);
    if (!this.#held.moment.isWhole(space ?? 0)) throw historyGone(this.#held.moment);
    return faceOf(store, this.#held, space);
  }

  /** Lets go of the state, for all spaces. Idempotent. */
  close(): void {
    this.#held.end();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** The space; VARVE_CLOSED, VARVE_SNAPSHOT_EXPIRED. */
  #open(): number | undefined {
    this.#store.assertReadable();
    this.#store.views.sweep();
    this.#held.assertOpen();
    return this.#space;
  }

  /** Runs a read, through which the state is kept. Undefined where the space was not there. */
  async #call<T>(
    keys: readonly Key[],
    options: object | undefined,
    read: (space: number) => Promise<T>,
  ): Promise<T | undefined> {
    if (options !== undefined) checkNames(options, ['signal'], 'option');
    const space = this.#open();
    if (space === undefined) {
      // What is no key is refused wherever the space is.
      for (const key of keys) rowPrefix(0, key);
      return undefined;
    }
    const pin = this.#store.marks.pin(this.seq);
    try {
      return await read(space);
    } finally {
      pin.end();
    }
  }
}

/**
 * Opens a view of a space. Errors as of a read at that point in time; VARVE_HISTORY_GONE where it is not
 * whole.
 */
export function openReadView(store: Store, name: string | undefined, options: ViewOptions): ReadView {
  store.assertReadable();
  checkNames(options, ['at', 'snapshot'], 'view option');
  if (options.at !== undefined && options.snapshot !== undefined) {
    throw invalid('a view takes one of at and snapshot');
  }
  const at: At | undefined = options.snapshot === undefined ? options.at : { snapshot: options.snapshot };
  const asked = at === undefined ? newestMoment(store) : momentOf(store, at);
  const space = spaceAt(store, name, asked.seq);
  if (!asked.isWhole(space ?? 0)) throw historyGone(asked);
  return faceOf(store, store.views.open(asked), space);
}

function faceOf(store: Store, held: HeldView, space: number | undefined): ReadView {
  const view = new ReadView(store, held, space);
  store.views.watch(view, held);
  return view;
}
