/**
 * Point reads of one space: get, getSync, has, stat, getMany, stream.
 *
 * Invariants (test/engine/reads.test.ts):
 * - every read sees one committed state: the rows at or below the visible number when the call was made;
 * - a cache hit costs no trip to another thread; getSync never makes a promise;
 * - damage is reported to health and thrown, never served.
 */
import type { Seq } from '../base/brands.ts';
import { toHex } from '../base/bytes.ts';
import { invalid, VarveError } from '../base/errors.ts';
import { decodeMetadata } from '../format/metadata.ts';
import { plainValueFrom } from '../format/plain-value.ts';
import { rowKinds } from '../format/row-kinds.ts';
import { parseValueRecord, type ValueRecord } from '../format/value-record.ts';
import { END, MISS, OK, type Step } from '../tree/cursor.ts';
import { RowRef } from '../tree/row-ref.ts';
import { copyOut } from '../value/value-copy.ts';
import { RangeReader, readValue, readValueNow, readValueSync } from '../value/value-reader.ts';
import { recordDigest } from '../value/value-writer.ts';
import { rowPrefix, throwIfAborted, writeKey } from './key-args.ts';
import { checkNames, checkRange } from './options.ts';
import type { Pin } from './read-marks.ts';
import type { Store } from './store.ts';
import type { EntryStat, Key, ReadOptions, StreamOptions } from './types.ts';

/** A version found by a lookup; the record lies in bytes of its own or in immutable ones. */
export interface FoundVersion {
  readonly seq: Seq;
  readonly record: ValueRecord;
}

/** Lookups that may be kept in reserve for the next caller. */
const spareRowsMax = 64;

export class Reads {
  readonly #store: Store;
  readonly #row = new RowRef();
  /** Bytes of the row prefix last written to `#row`. */
  #keyLength = 0;
  readonly #spareRows: RowRef[] = [];

  constructor(store: Store) {
    this.#store = store;
  }

  getSync(space: number, key: Key): Uint8Array | undefined {
    const store = this.#store;
    store.assertReadable();
    const row = this.#row;
    const length = writeKey(row, space, key);
    try {
      const step = store.forest.keys.findSync(row.target, 0, length, store.visibleSeq, row);
      if (step !== OK || row.kind !== rowKinds.put) return undefined;
      const { bytes, valueFrom, valueTo } = row;
      const from = plainValueFrom(bytes, valueFrom, valueTo);
      return from >= 0 ? copyOut(bytes, from, valueTo) : readValueSync(recordOf(row), store.chunks);
    } catch (error) {
      throw store.seen(error);
    }
  }

  async get(space: number, key: Key, options?: ReadOptions): Promise<Uint8Array | undefined> {
    const store = this.#store;
    const row = this.#row;
    const step = this.#findNow(space, key, options);
    if (step === END) return undefined;
    if (step === OK) {
      if (row.kind !== rowKinds.put) return undefined;
      const { bytes, valueFrom, valueTo } = row;
      const from = plainValueFrom(bytes, valueFrom, valueTo);
      if (from >= 0) return copyOut(bytes, from, valueTo);
      try {
        const value = readValueNow(recordOf(row), store.chunks);
        if (value !== undefined) return value;
      } catch (error) {
        throw store.seen(error);
      }
    }
    const later = this.#later(step);
    return await store.run(() =>
      this.#marked(async () => {
        const found = await later();
        return found === undefined ? undefined : await this.value(found.record);
      }),
    );
  }

  async has(space: number, key: Key, options?: ReadOptions): Promise<boolean> {
    const step = this.#findNow(space, key, options);
    if (step !== MISS) return step === OK && this.#row.kind === rowKinds.put;
    return (await this.#store.run(this.#later(step))) !== undefined;
  }

  async stat(space: number, key: Key, options?: ReadOptions): Promise<EntryStat | undefined> {
    const step = this.#findNow(space, key, options);
    if (step === END) return undefined;
    const found = await this.#store.run(this.#later(step));
    return found === undefined ? undefined : statOf(found);
  }

  async getMany(
    space: number,
    keys: readonly Key[],
    options: ReadOptions = {},
  ): Promise<(Uint8Array | undefined)[]> {
    if (!Array.isArray(keys)) throw invalid('getMany takes an array of keys');
    checkNames(options, ['signal'], 'option');
    this.#store.assertReadable();
    throwIfAborted(options.signal);
    const view = this.#store.visibleSeq;
    const prefixes = keys.map((key) => rowPrefix(space, key));
    return await this.#marked(() =>
      Promise.all(
        prefixes.map(async (prefix) => {
          const found = await this.find(prefix, view);
          throwIfAborted(options.signal);
          return found === undefined ? undefined : await this.value(found.record);
        }),
      ),
    );
  }

  stream(space: number, key: Key, options: StreamOptions = {}): ReadableStream<Uint8Array> {
    checkNames(options, ['start', 'end', 'signal'], 'option');
    const { start, end } = checkRange(options.start, options.end);
    this.#store.assertReadable();
    const prefix = rowPrefix(space, key);
    const view = this.#store.visibleSeq;
    const mark = this.#store.marks.mark();
    let reader: RangeReader | undefined;
    let pin: Pin | undefined;
    const letGo = (): void => {
      mark.end();
      pin?.end();
    };
    const open = async (): Promise<RangeReader> => {
      // It may last: from here on only what it sees is kept for it.
      pin = this.#store.marks.pin(view);
      const found = await this.find(prefix, view).finally(mark.end);
      if (found === undefined) throw new VarveError('VARVE_NOT_FOUND', 'no such key');
      const range = options.signal === undefined ? {} : { signal: options.signal };
      return new RangeReader(found.record, start, end ?? Number.MAX_SAFE_INTEGER, this.#store.chunks, range);
    };
    return new ReadableStream({
      type: 'bytes',
      pull: (controller: ReadableByteStreamController) =>
        this.#store.run(async () => {
          let isOver = true;
          try {
            throwIfAborted(options.signal);
            reader ??= await open();
            const piece = await reader.next();
            isOver = piece === undefined;
            if (piece !== undefined) return controller.enqueue(piece.chunk.slice(piece.from, piece.to));
            controller.close();
            answerEmpty(controller);
          } finally {
            if (isOver) letGo();
          }
        }),
      cancel: () => {
        letGo();
        return reader?.cancel();
      },
    });
  }

  /** The newest version at or below `view` that is not a deletion. */
  async find(prefix: Uint8Array, view: Seq): Promise<FoundVersion | undefined> {
    const { keys } = this.#store.forest;
    const row = this.#spareRows.pop() ?? new RowRef();
    try {
      let step: Step = keys.find(prefix, 0, prefix.length, view, row);
      if (step === MISS) step = await this.#findLater(prefix, view, row);
      return step === OK ? versionOf(row) : undefined;
    } finally {
      if (this.#spareRows.length < spareRowsMax) this.#spareRows.push(row);
    }
  }

  /** The whole value of a version. */
  value(record: ValueRecord): Promise<Uint8Array> {
    return readValue(record, this.#store.chunks);
  }

  /** Runs a read: nothing it may find goes before it has ended. It begins in this turn. */
  async #marked<T>(read: () => Promise<T>): Promise<T> {
    const { marks } = this.#store;
    const era = marks.enter();
    try {
      return await read();
    } finally {
      marks.leave(era);
    }
  }

  /** Merges must not drop the row while its block is read. */
  async #findLater(prefix: Uint8Array, view: Seq, row: RowRef): Promise<Step> {
    const { marks, forest } = this.#store;
    const era = marks.enter();
    try {
      return await forest.keys.findAsync(prefix, 0, prefix.length, view, row);
    } finally {
      marks.leave(era);
    }
  }

  /** The first look of a read: no promise, no disk. OK: `#row` stands on the newest row the caller sees. */
  #findNow(space: number, key: Key, options: ReadOptions | undefined): Step {
    const store = this.#store;
    if (options !== undefined) checkNames(options, ['signal'], 'option');
    store.assertReadable();
    throwIfAborted(options?.signal);
    const row = this.#row;
    this.#keyLength = writeKey(row, space, key);
    try {
      return store.forest.keys.find(row.target, 0, this.#keyLength, store.visibleSeq, row);
    } catch (error) {
      throw store.seen(error);
    }
  }

  /** What `#findNow` has found or missed, in memory of its own: the call goes on when others have begun. */
  #later(step: Step): () => Promise<FoundVersion | undefined> {
    const row = this.#row;
    if (step !== MISS) {
      return async () => versionOf(row);
    }
    row.pending.clear();
    const prefix = row.target.slice(0, this.#keyLength);
    const view = this.#store.visibleSeq;
    return () => this.find(prefix, view);
  }
}

/**
 * The version a lookup stands on; undefined for a deletion. Rows are never changed, so the record stays
 * valid.
 */
function versionOf(row: RowRef): FoundVersion | undefined {
  return row.kind === rowKinds.put ? { seq: row.seq, record: recordOf(row) } : undefined;
}

function recordOf(row: RowRef): ValueRecord {
  return parseValueRecord(row.bytes, row.valueFrom, row.valueTo, { file: 'key tree' });
}

/** A reader with a buffer of its own waits for an answer even at the end. */
function answerEmpty(controller: { readonly byobRequest?: unknown }): void {
  const request = controller.byobRequest as { respond(bytes: number): void } | null | undefined;
  request?.respond(0);
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
