/**
 * Reads of one space at a point in time. Where the state is not kept as a whole, a version that is still
 * there can be read at its own number; everything else is VARVE_HISTORY_GONE, never a guess.
 *
 * Invariants (test/engine/history-model.test.ts)
 * - What is served is what the space held then ("every state that can be read equals the model").
 */
import { invalid } from '../../base/errors.ts';
import { checkNames } from '../../base/names.ts';
import { rowPrefix } from '../key-args.ts';
import { type FoundVersion, type Reads, statOf } from '../reading/reads.ts';
import { type ScanMoment, scan } from '../reading/scans.ts';
import { piecesOf, streamOf, type ValueRequest } from '../reading/value-stream.ts';
import type { Store } from '../store.ts';
import type { Entry, EntryStat, Key, ReadOptions, ScanOptions, StreamOptions } from '../types.ts';
import { historyGone, momentOf, spaceAt } from './moment.ts';
import { ownVersion } from './own-version.ts';
import type { AskedMoment, At } from './point.ts';

/** Where a read at a point in time goes. */
interface Place {
  readonly moment: AskedMoment;
  /** Undefined: the space was not there. */
  readonly space: number | undefined;
  /** All of it can be read, not only versions by their own number. */
  readonly isWhole: boolean;
}

export class PastReads {
  readonly #store: Store;
  readonly #reads: Reads;
  readonly #name: string | undefined;

  /** `name`: of a space, as it was called at the point in time; undefined = the unnamed one. */
  constructor(store: Store, reads: Reads, name: string | undefined) {
    this.#store = store;
    this.#reads = reads;
    this.#name = name;
  }

  get(key: Key, options: ReadOptions): Promise<Uint8Array | undefined> {
    return this.#at(options, async (place) => {
      const { moment, space, isWhole } = place;
      if (isWhole) return space === undefined ? none(key) : this.#reads.get(space, key, options, moment);
      const found = await this.#own(place, key);
      return found === undefined ? undefined : await this.#reads.value(found.record);
    });
  }

  async has(key: Key, options: ReadOptions): Promise<boolean> {
    return (await this.stat(key, options)) !== undefined;
  }

  stat(key: Key, options: ReadOptions): Promise<EntryStat | undefined> {
    return this.#at(options, async (place) => {
      const { moment, space, isWhole } = place;
      if (isWhole) return space === undefined ? none(key) : this.#reads.stat(space, key, options, moment);
      const found = await this.#own(place, key);
      return found === undefined ? undefined : statOf(found);
    });
  }

  getMany(keys: readonly Key[], options: ReadOptions): Promise<(Uint8Array | undefined)[]> {
    if (!Array.isArray(keys)) throw invalid('getMany takes an array of keys');
    return this.#at(options, async (place) => {
      const { moment, space, isWhole } = place;
      if (isWhole && space !== undefined) return this.#reads.getMany(space, keys, options, moment);
      // Keys that cannot be one are refused wherever the space is.
      const prefixes = keys.map((key) => rowPrefix(space ?? 0, key));
      if (isWhole) return prefixes.map(() => undefined);
      return Promise.all(
        prefixes.map(async (prefix) => {
          const found = await this.#ownAt(place, prefix);
          return found === undefined ? undefined : await this.#reads.value(found.record);
        }),
      );
    });
  }

  stream(key: Key, options: StreamOptions): ReadableStream<Uint8Array> {
    return streamOf(this.#store, this.#requestOf(key, options));
  }

  pieces(key: Key, options: StreamOptions): AsyncIterableIterator<readonly Uint8Array[]> {
    return piecesOf(this.#store, this.#requestOf(key, options));
  }

  #requestOf(key: Key, options: StreamOptions): ValueRequest {
    const place = this.#place(options.at!);
    const { moment, space, isWhole } = place;
    if (!isWhole) return this.#reads.request(() => this.#own(place, key), moment.seq, options);
    const prefix = rowPrefix(space ?? 0, key);
    const find = async (): Promise<FoundVersion | undefined> =>
      space === undefined ? undefined : this.#reads.find(prefix, moment);
    return this.#reads.request(find, moment.seq, options);
  }

  scan(options: ScanOptions): AsyncIterable<Entry<Key>> {
    return scan(this.#store, () => this.state(options.at!), options);
  }

  /** The state a scan or query goes through. VARVE_HISTORY_GONE where not all of it is kept. */
  state(at: At): ScanMoment {
    const { moment, space, isWhole } = this.#place(at);
    if (!isWhole) throw historyGone(moment);
    return { seq: moment.seq, expiryMs: moment.expiryMs, space, check: () => undefined };
  }

  /** Runs a read of the moment, which is kept until it ends. */
  async #at<T>(options: ReadOptions, read: (place: Place) => Promise<T>): Promise<T> {
    checkNames(options, ['at', 'signal'], 'option');
    const place = this.#place(options.at!);
    const pin = this.#store.marks.pin(place.moment.seq);
    try {
      return await this.#store.run(() => read(place));
    } finally {
      pin.end();
    }
  }

  #place(at: At): Place {
    const store = this.#store;
    store.assertReadable();
    const moment = momentOf(store, at);
    const then = spaceAt(store, this.#name, moment.seq);
    const isWhole = moment.isWhole(then ?? 0);
    if (isWhole || this.#name === undefined) return { moment, space: then, isWhole };
    return { moment, space: store.parts.spaces.known(this.#name), isWhole };
  }

  /** The version whose own number the moment is; undefined for a deletion. VARVE_HISTORY_GONE. */
  #own(place: Place, key: Key): Promise<FoundVersion | undefined> {
    return this.#ownAt(place, rowPrefix(place.space ?? 0, key));
  }

  async #ownAt({ moment, space }: Place, prefix: Uint8Array): Promise<FoundVersion | undefined> {
    if (space === undefined) throw historyGone(moment);
    const found = await ownVersion(this.#store, prefix, moment.seq);
    if (found === 'gone') throw historyGone(moment);
    return found;
  }
}

/** What a key has where its space was not there. VARVE_INVALID_ARGUMENT for what is no key all the same. */
function none(key: Key): undefined {
  rowPrefix(0, key);
  return undefined;
}
