/** Secondary indexes of one space: defined, dropped, listed, measured, rebuilt. */
import { compareBytes, equalBytes, prefixEnd } from '../../base/bytes.ts';
import { invalid, VarveError } from '../../base/errors.ts';
import { indexesPerSpaceMax } from '../../base/limits.ts';
import { checkNames } from '../../base/names.ts';
import { indexesFeature } from '../../format/format-ladder.ts';
import { indexIdBytes, indexPrefix, tupleEnd } from '../../format/index-key.ts';
import { type IndexRow, indexKinds, indexStates } from '../../format/index-rows.ts';
import { seqBytes, seqOf } from '../../format/internal-key.ts';
import { putSys } from '../../format/log-ops.ts';
import { rowKindAt, rowKinds } from '../../format/row-kinds.ts';
import {
  checkDefinition,
  checkIndexName,
  type IndexDefinition,
  type IndexInfo,
  type IndexSpec,
  type IndexStats,
  infoOf,
  isSameSpec,
} from '../../secondary/definition.ts';
import type { BookChange } from '../../secondary/index-book.ts';
import { OK, settle } from '../../tree/cursor.ts';
import { throwIfAborted } from '../key-args.ts';
import type { Store, WriteSide } from '../store.ts';

/** What the rows of a definition take in the log, at most, beside its fields. */
const definitionBytes = 2048;

/** Options of `define` and `rebuild`. */
export interface DefineOptions {
  /** False: resolve once the definition is durable, and build in the background. Default true. */
  wait?: boolean;
  signal?: AbortSignal;
}

/** Entries looked at between two looks at the signal. */
const entriesPerCheck = 4096;

/** Secondary indexes of a space. */
export interface IndexList {
  /**
   * Defines an index over the keys that are there and all that come, and resolves when it is built: writes go
   * on meanwhile, queries on it are VARVE_NOT_READY. The definition is durable before; a build that is cut
   * short by a close or a crash goes on at the next open. An index of that name that is the same already is
   * left as it is; one that is not is VARVE_CONFLICT. VARVE_CONFLICT too when keys have one value of a unique
   * index, VARVE_INVALID_ARGUMENT when a value is too long for a range index: it then stays in the list as
   * failed, and is no more kept up.
   */
  define(definition: IndexDefinition, options?: DefineOptions): Promise<IndexInfo>;
  /** Drops an index; true when there was one. Its entries are removed in the background. Durable as put. */
  drop(name: string, options?: { signal?: AbortSignal }): Promise<boolean>;
  /** The indexes of the space, by name. */
  list(): IndexInfo[];
  /** Size and selectivity; goes through the whole index. VARVE_NOT_FOUND. */
  stats(name: string, options?: { signal?: AbortSignal }): Promise<IndexStats>;
  /** Makes an index anew, as `define` does. VARVE_NOT_FOUND. */
  rebuild(name: string, options?: DefineOptions): Promise<IndexInfo>;
}

export class Indexes implements IndexList {
  readonly #store: Store;
  readonly #space: () => number;

  constructor(store: Store, space: () => number) {
    this.#store = store;
    this.#space = space;
  }

  async define(given: IndexDefinition, options: DefineOptions = {}): Promise<IndexInfo> {
    const store = this.#store;
    store.writable();
    if (typeof given !== 'object' || given === null) throw invalid('define takes an object');
    checkNames(given, ['name', 'kind', 'unique', 'on'], 'field of an index');
    checkNames(options, ['wait', 'signal'], 'option');
    const spec = checkDefinition(given);
    const space = this.#space();
    const row = await store.run(() => this.#define(space, spec, false, options.signal));
    return await this.#built(row, options);
  }

  /** Makes all entries anew; until that is done the index answers no query. */
  async rebuild(name: string, options: DefineOptions = {}): Promise<IndexInfo> {
    const store = this.#store;
    store.writable();
    checkNames(options, ['wait', 'signal'], 'option');
    const space = this.#space();
    const spec = this.#get(space, name);
    const row = await store.run(() => this.#define(space, spec, true, options.signal));
    return await this.#built(row, options);
  }

  async drop(name: string, options: { signal?: AbortSignal } = {}): Promise<boolean> {
    const store = this.#store;
    const write = store.writable();
    checkNames(options, ['signal'], 'option');
    checkIndexName(name);
    throwIfAborted(options.signal);
    const space = this.#space();
    const { indexes } = store.parts;
    return await store.run(async () => {
      const row = indexes.get(space, name);
      if (row === undefined) {
        await write.log.drained();
        return false;
      }
      await this.#commit(write, () => indexes.drop([row]));
      return true;
    });
  }

  list(): IndexInfo[] {
    this.#store.assertReadable();
    const { parts, visibleSeq } = this.#store;
    return parts.indexes.list(this.#space()).map((row) => infoOf(row, visibleSeq));
  }

  /** Walks the index. */
  async stats(name: string, options: { signal?: AbortSignal } = {}): Promise<IndexStats> {
    const store = this.#store;
    store.assertReadable();
    checkNames(options, ['signal'], 'option');
    const row = this.#get(this.#space(), name);
    return await store.run(() => this.#measure(row, options.signal));
  }

  #get(space: number, name: string): IndexRow {
    checkIndexName(name);
    const row = this.#store.parts.indexes.get(space, name);
    if (row === undefined) throw new VarveError('VARVE_NOT_FOUND', `no index ${JSON.stringify(name)}`);
    return row;
  }

  async #built(row: IndexRow, { wait = true, signal }: DefineOptions): Promise<IndexInfo> {
    if (typeof wait !== 'boolean') throw invalid('wait must be true or false');
    const { indexes, write } = this.#store.parts;
    if (!wait) {
      write!.indexWork.work.startIfDue();
      return infoOf(indexes.current(row) ?? row, this.#store.visibleSeq);
    }
    const built = write!.indexWork.built(row);
    return infoOf(await (signal === undefined ? built : orAborted(built, signal)), this.#store.visibleSeq);
  }

  async #define(
    space: number,
    spec: IndexSpec,
    anew: boolean,
    signal: AbortSignal | undefined,
  ): Promise<IndexRow> {
    const store = this.#store;
    const { spaces, indexes } = store.parts;
    const write = store.writable();
    throwIfAborted(signal);
    await write.pacer.wait();
    await write.checkpointer.require(indexesFeature);
    throwIfAborted(signal);
    store.stillWritable();
    spaces.assertLive(space);
    const before = indexes.get(space, spec.name);
    const isSame = before !== undefined && isSameSpec(before, spec);
    if (before !== undefined && !(isSame && (anew || before.state === indexStates.failed))) {
      // Whoever defined it may be waiting for the disk still.
      await write.log.drained();
      if (isSame) return before;
      const named = JSON.stringify(spec.name);
      const message = `there is an index ${named} that is defined otherwise; drop it first`;
      throw new VarveError('VARVE_CONFLICT', message, { retryable: false });
    }
    if (before === undefined && indexes.list(space).length >= indexesPerSpaceMax) {
      throw invalid(`a space has at most ${indexesPerSpaceMax} indexes`);
    }
    const spaceRows = spaces.rowsFor(space);
    await this.#commit(
      write,
      (seq) => {
        const { rows, apply } = indexes.define(space, spec, seq);
        return { rows: [...spaceRows, ...rows], apply };
      },
      () => spaces.sequenced(space),
    );
    const row = indexes.get(space, spec.name);
    if (row !== undefined) return row;
    // Another call has dropped it while this one waited for the disk.
    throw new VarveError('VARVE_NOT_FOUND', `index ${JSON.stringify(spec.name)} was dropped`);
  }

  /** Rows and their change in one turn; resolves when they are durable. */
  async #commit(
    write: WriteSide,
    change: (seq: number) => BookChange,
    sequenced: () => void = () => undefined,
  ): Promise<void> {
    let made: BookChange | undefined;
    const committed = write.txn.sequence(definitionBytes, (writer, seq) => {
      made = change(seq);
      for (const { key, value } of made.rows) putSys(writer, key, value);
    });
    made?.apply();
    sequenced();
    write.checkpointer.startIfDue();
    await committed.done;
    write.indexWork.work.startIfDue();
  }

  async #measure(row: IndexRow, signal: AbortSignal | undefined): Promise<IndexStats> {
    const store = this.#store;
    const { forest, visibleSeq } = store;
    const place = { file: 'index tree' };
    const from = indexPrefix(row.index);
    const to = prefixEnd(from);
    const columns = row.kind === indexKinds.hash ? 1 : row.on.length;
    forest.indexes.lost.refuseRange(from, to);
    const stats: IndexStats = {
      ...infoOf(row, visibleSeq),
      entries: 0,
      bytes: 0,
      distinct: 0,
      selectivity: 1,
    };
    let entry: Uint8Array | undefined;
    let tuple: Uint8Array | undefined;
    let rows = 0;
    const view = store.openView(forest.indexes);
    try {
      const cursor = view.cursor();
      let step = await settle(cursor, () => cursor.seek(from));
      while (step === OK) {
        if (++rows % entriesPerCheck === 0) {
          await store.parts.env.clock.turn();
          throwIfAborted(signal);
        }
        const { keyBytes, keyFrom, keyTo, valueBytes, valueFrom, valueTo } = cursor;
        const prefix = keyBytes.subarray(keyFrom, keyTo - seqBytes);
        if (to !== undefined && compareBytes(prefix, to) >= 0) break;
        stats.bytes += keyTo - keyFrom + valueTo - valueFrom;
        const isSeen = seqOf(keyBytes, keyTo) <= visibleSeq;
        if (isSeen && (entry === undefined || !equalBytes(prefix, entry))) {
          entry = prefix.slice();
          if (rowKindAt(valueBytes, valueFrom) === rowKinds.put) {
            stats.entries++;
            const value = entry.subarray(indexIdBytes, tupleEnd(entry, 0, entry.length, columns, place));
            if (tuple === undefined || !equalBytes(value, tuple)) stats.distinct++;
            tuple = value;
          }
        }
        step = await settle(cursor, () => cursor.next());
      }
    } finally {
      store.closeView(view);
    }
    if (stats.entries > 0) stats.selectivity = stats.distinct / stats.entries;
    return stats;
  }
}

/** The promise, or VARVE_ABORTED as soon as the signal fires. */
async function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  throwIfAborted(signal);
  let onAbort: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => {
      try {
        throwIfAborted(signal);
      } catch (error) {
        reject(error);
      }
    };
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort!);
  }
}
