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
import { rowKinds } from '../format/row-kinds.ts';
import { parseValueRecord, type ValueRecord } from '../format/value-record.ts';
import { MISS, OK, type Step } from '../tree/cursor.ts';
import { RowRef } from '../tree/row-ref.ts';
import { RangeReader, readValue, readValueSync } from '../value/value-reader.ts';
import { recordDigest } from '../value/value-writer.ts';
import { rowPrefix, throwIfAborted } from './key-args.ts';
import { checkNames, checkRange } from './options.ts';
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
  readonly #spareRows: RowRef[] = [];

  constructor(store: Store) {
    this.#store = store;
  }

  getSync(space: number, key: Key): Uint8Array | undefined {
    const store = this.#store;
    store.assertReadable();
    const prefix = rowPrefix(space, key);
    try {
      const found = this.#findSync(prefix, store.visibleSeq);
      return found === undefined ? undefined : readValueSync(found.record, store.chunks);
    } catch (error) {
      throw store.seen(error);
    }
  }

  async get(space: number, key: Key, options: ReadOptions = {}): Promise<Uint8Array | undefined> {
    const found = await this.#version(space, key, options);
    return found === undefined ? undefined : await this.value(found.record);
  }

  async has(space: number, key: Key, options: ReadOptions = {}): Promise<boolean> {
    return (await this.#version(space, key, options)) !== undefined;
  }

  async stat(space: number, key: Key, options: ReadOptions = {}): Promise<EntryStat | undefined> {
    const found = await this.#version(space, key, options);
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
    return Promise.all(
      prefixes.map(async (prefix) => {
        const found = await this.find(prefix, view);
        throwIfAborted(options.signal);
        return found === undefined ? undefined : await this.value(found.record);
      }),
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
    const open = async (): Promise<RangeReader> => {
      const found = await this.find(prefix, view).finally(mark.end);
      if (found === undefined) throw new VarveError('VARVE_NOT_FOUND', 'no such key');
      const range = options.signal === undefined ? {} : { signal: options.signal };
      return new RangeReader(found.record, start, end ?? Number.MAX_SAFE_INTEGER, this.#store.chunks, range);
    };
    return new ReadableStream({
      type: 'bytes',
      pull: (controller: ReadableByteStreamController) =>
        this.#store.run(async () => {
          throwIfAborted(options.signal);
          reader ??= await open();
          const piece = await reader.next();
          if (piece !== undefined) return controller.enqueue(piece.chunk.slice(piece.from, piece.to));
          controller.close();
          answerEmpty(controller);
        }),
      cancel: () => {
        mark.end();
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

  #findSync(prefix: Uint8Array, view: Seq): FoundVersion | undefined {
    const row = this.#row;
    const step = this.#store.forest.keys.findSync(prefix, 0, prefix.length, view, row);
    return step === OK ? versionOf(row) : undefined;
  }

  async #version(space: number, key: Key, options: ReadOptions): Promise<FoundVersion | undefined> {
    checkNames(options, ['signal'], 'option');
    this.#store.assertReadable();
    throwIfAborted(options.signal);
    return await this.find(rowPrefix(space, key), this.#store.visibleSeq);
  }
}

/**
 * The version a lookup stands on; undefined for a deletion. Rows are never changed, so the record stays
 * valid.
 */
function versionOf(row: RowRef): FoundVersion | undefined {
  if (row.kind !== rowKinds.put) return undefined;
  const record = parseValueRecord(row.bytes, row.valueFrom, row.valueTo, { file: 'key tree' });
  return { seq: row.seq, record };
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
