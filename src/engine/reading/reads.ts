/**
 * Point reads of one space: get, getSync, has, stat, getMany, stream. Each sees the newest state, or that of
 * a moment which the caller keeps while the call is under way.
 *
 * Invariants (test/engine/reads.test.ts):
 * - every read sees one committed state: the rows at or below the visible number when the call was made;
 * - what a read has found is kept until it has read the value (test/engine/history-model.test.ts);
 * - a cache hit costs no trip to another thread; getSync never makes a promise;
 * - damage is reported to health and thrown, never served.
 */
import type { Seq } from '../../base/brands.ts';
import { toHex } from '../../base/bytes.ts';
import { invalid } from '../../base/errors.ts';
import { KiB } from '../../base/limits.ts';
import { checkFlags, checkNames } from '../../base/names.ts';
import { expiresBy } from '../../format/expiry.ts';
import { decodeMetadata } from '../../format/metadata.ts';
import { rowKinds } from '../../format/row-kinds.ts';
import { parseValueRecord, recordFlags, recordHead, type ValueRecord } from '../../format/value-record.ts';
import { END, MISS, OK, type Step } from '../../tree/cursor.ts';
import { RowRef } from '../../tree/row-ref.ts';
import {
  readLongValue,
  readPlainNow,
  readValue,
  readValueNow,
  readValueSync,
} from '../../value/value-reader.ts';
import { recordDigest } from '../../value/value-writer.ts';
import type { Moment } from '../history/point.ts';
import { rowPrefix, throwIfAborted, writeKey } from '../key-args.ts';
import { checkRange } from '../options.ts';
import type { Store } from '../store.ts';
import type { EntryStat, Key, ReadOptions, StreamOptions } from '../types.ts';
import { piecesOf, streamOf, type ValueRequest } from './value-stream.ts';

/** A version found by a lookup; the record lies in bytes of its own or in immutable ones. */
export interface FoundVersion {
  readonly seq: Seq;
  readonly record: ValueRecord;
}

const readNames = ['at', 'signal'] as const;
const streamNames = ['at', 'start', 'end', 'verify', 'signal'] as const;
/** Longer values are read in runs of many chunks. */
const longBytesMin: number = 256 * KiB;
/** Lookups that may be kept in reserve for the next caller. */
const spareRowsMax = 64;

export class Reads {
  readonly #store: Store;
  readonly #row = new RowRef(true);
  /** Bytes of the row prefix last written to `#row`. */
  #keyLength = 0;
  readonly #spareRows: RowRef[] = [];

  constructor(store: Store) {
    this.#store = store;
  }

  getSync(space: number, key: Key, moment?: Moment): Uint8Array | undefined {
    const store = this.#store;
    store.assertReadable();
    const row = this.#row;
    const length = writeKey(row, space, key);
    try {
      const step = store.forest.keys.findSync(row.target, 0, length, moment?.seq ?? store.visibleSeq, row);
      if (step !== OK || !this.#isLive(row, moment)) return undefined;
      const { bytes, valueFrom, valueTo } = row;
      const { chunks } = store;
      return readPlainNow(bytes, valueFrom, valueTo, chunks) ?? readValueSync(recordOf(row), chunks);
    } catch (error) {
      throw store.seen(error);
    }
  }

  async get(
    space: number,
    key: Key,
    options?: ReadOptions,
    moment?: Moment,
  ): Promise<Uint8Array | undefined> {
    const store = this.#store;
    const row = this.#row;
    const step = this.#findNow(space, key, options, moment);
    if (step === END) return undefined;
    if (step === OK) {
      if (!this.#isLive(row, moment)) return undefined;
      const { bytes, valueFrom, valueTo } = row;
      try {
        const { chunks } = store;
        const value = readPlainNow(bytes, valueFrom, valueTo, chunks) ?? readValueNow(recordOf(row), chunks);
        if (value !== undefined) return value;
      } catch (error) {
        throw store.seen(error);
      }
    }
    const later = this.#later(step, moment);
    return await store.run(() =>
      this.#kept(async () => {
        const found = await later();
        return found === undefined ? undefined : await this.value(found.record);
      }),
    );
  }

  async has(space: number, key: Key, options?: ReadOptions, moment?: Moment): Promise<boolean> {
    const step = this.#findNow(space, key, options, moment);
    if (step !== MISS) return step === OK && this.#isLive(this.#row, moment);
    return (await this.#store.run(this.#later(step, moment))) !== undefined;
  }

  async stat(
    space: number,
    key: Key,
    options?: ReadOptions,
    moment?: Moment,
  ): Promise<EntryStat | undefined> {
    const step = this.#findNow(space, key, options, moment);
    if (step === END) return undefined;
    const found = await this.#store.run(this.#later(step, moment));
    return found === undefined ? undefined : statOf(found);
  }

  async getMany(
    space: number,
    keys: readonly Key[],
    options: ReadOptions = {},
    moment?: Moment,
  ): Promise<(Uint8Array | undefined)[]> {
    if (!Array.isArray(keys)) throw invalid('getMany takes an array of keys');
    checkNames(options, readNames, 'option');
    this.#store.assertReadable();
    throwIfAborted(options.signal);
    const fixed = moment ?? this.#newest();
    const prefixes = keys.map((key) => rowPrefix(space, key));
    return this.#kept(() =>
      Promise.all(
        prefixes.map(async (prefix) => {
          const found = await this.find(prefix, fixed);
          throwIfAborted(options.signal);
          return found === undefined ? undefined : await this.value(found.record);
        }),
      ),
    );
  }

  stream(space: number, key: Key, options: StreamOptions = {}, moment?: Moment): ReadableStream<Uint8Array> {
    return streamOf(this.#store, this.#newestOf(space, key, options, moment));
  }

  /** As `stream`, in the pieces that were read: each answer is borrowed until the next is asked for. */
  pieces(space: number, key: Key, options: StreamOptions = {}): AsyncIterableIterator<readonly Uint8Array[]> {
    return piecesOf(this.#store, this.#newestOf(space, key, options, undefined));
  }

  /**
   * What reads the version that `find` gives when its first bytes are asked for; `seq` is kept until the read
   * ends, and something must keep it at the moment of the call. `check` throws when no more is to be read.
   */
  request(
    find: () => Promise<FoundVersion | undefined>,
    seq: Seq,
    options: StreamOptions,
    check: () => void = () => undefined,
  ): ValueRequest {
    checkNames(options, streamNames, 'option');
    checkFlags(options, ['verify']);
    const { start, end } = checkRange(options.start, options.end);
    this.#store.assertReadable();
    return { find, seq, options: { ...options, start, end }, check };
  }

  #newestOf(space: number, key: Key, options: StreamOptions, moment: Moment | undefined): ValueRequest {
    const prefix = rowPrefix(space, key);
    const fixed = moment ?? this.#newest();
    return this.request(() => this.find(prefix, fixed), fixed.seq, options);
  }

  /** The newest version a reader at the moment sees, unless it is a deletion or has expired. */
  async find(prefix: Uint8Array, moment: Moment): Promise<FoundVersion | undefined> {
    const view = moment.seq;
    const { keys } = this.#store.forest;
    const row = this.#spareRows.pop() ?? new RowRef(true);
    try {
      let step: Step = keys.find(prefix, 0, prefix.length, view, row);
      if (step === MISS) step = await this.#findLater(prefix, view, row);
      return step === OK && this.#isLive(row, moment) ? versionOf(row) : undefined;
    } finally {
      if (this.#spareRows.length < spareRowsMax) this.#spareRows.push(row);
    }
  }

  /** The whole value of a version. */
  value(record: ValueRecord): Promise<Uint8Array> {
    const { chunks, parts } = this.#store;
    const { readAheadBytes } = parts.options.memory;
    const read = record.size < longBytesMin ? readValue : readLongValue;
    return read(record, chunks, { readAheadBytes });
  }

  /** Merges must not drop the row while its block is read. */
  #findLater(prefix: Uint8Array, view: Seq, row: RowRef): Promise<Step> {
    const { keys } = this.#store.forest;
    return this.#kept(() => keys.findAsync(prefix, 0, prefix.length, view, row));
  }

  /** What is newest now stays until the call has ended: rows are not dropped, nor chunks taken away. */
  async #kept<T>(call: () => Promise<T>): Promise<T> {
    const { marks } = this.#store;
    const era = marks.enter();
    try {
      return await call();
    } finally {
      marks.leave(era);
    }
  }

  /** The newest state, for reads that go on in later turns. */
  #newest(): Moment {
    return { seq: this.#store.visibleSeq, expiryMs: this.#store.nowMs };
  }

  /** The row is a value, and has not expired. */
  #isLive(row: RowRef, moment: Moment | undefined): boolean {
    if (row.kind !== rowKinds.put) return false;
    if ((row.bytes[row.valueFrom + recordHead.at.flags]! & recordFlags.ttl) === 0) return true;
    return !expiresBy(row.bytes, row.valueFrom, moment?.expiryMs ?? this.#store.nowMs);
  }

  /** The first look of a read: no promise, no disk. OK: `#row` stands on the newest row the caller sees. */
  #findNow(space: number, key: Key, options: ReadOptions | undefined, moment: Moment | undefined): Step {
    const store = this.#store;
    if (options !== undefined) checkNames(options, readNames, 'option');
    store.assertReadable();
    throwIfAborted(options?.signal);
    const row = this.#row;
    this.#keyLength = writeKey(row, space, key);
    try {
      return store.forest.keys.find(row.target, 0, this.#keyLength, moment?.seq ?? store.visibleSeq, row);
    } catch (error) {
      throw store.seen(error);
    }
  }

  /** What `#findNow` has found or missed, in memory of its own: the call goes on when others have begun. */
  #later(step: Step, moment: Moment | undefined): () => Promise<FoundVersion | undefined> {
    const row = this.#row;
    if (step !== MISS) {
      const version = this.#isLive(row, moment) ? versionOf(row) : undefined;
      return async () => version;
    }
    row.pending.clear();
    const prefix = row.target.slice(0, this.#keyLength);
    const fixed = moment ?? this.#newest();
    return () => this.find(prefix, fixed);
  }
}

/** The version a lookup stands on, no deletion. Rows are never changed, so the record stays valid. */
function versionOf(row: RowRef): FoundVersion {
  return { seq: row.seq, record: recordOf(row) };
}

function recordOf(row: RowRef): ValueRecord {
  return parseValueRecord(row.bytes, row.valueFrom, row.valueTo, { file: 'key tree' });
}

/** Everything stat() tells, from the record alone. */
export function statOf({ seq, record }: FoundVersion): EntryStat {
  const stat: EntryStat = {
    seq,
    size: record.size,
    digest: toHex(recordDigest(record)),
    created: new Date(record.createdMs),
    modified: new Date(record.timeMs),
    chunks: record.chunks,
  };
  if (record.expireAtMs !== undefined) stat.expires = new Date(record.expireAtMs);
  if (record.metadataFrom === record.metadataTo) return stat;
  const place = { file: 'key tree' };
  const meta = decodeMetadata(record.buf, place, record.metadataFrom, record.metadataTo);
  if (meta.contentType !== undefined) stat.contentType = meta.contentType;
  if (meta.tags.length > 0) stat.tags = meta.tags;
  if (meta.metadata !== undefined) stat.metadata = meta.metadata;
  const whole = meta.system?.sha256;
  if (whole instanceof Uint8Array) stat.sha256 = toHex(whole);
  return stat;
}
