/** Chunk entries in the order of their ids: of memtables, of tables (chunk-table-reader.ts) and merged. */
import { allEnded } from '../base/sync.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import {
  ChunkColumns,
  chunkEntry,
  chunkEntryFlags,
  chunkIdPrefix,
  compareChunkIds,
} from '../format/chunk-table.ts';
import type { ChunkMemtable } from './chunk-memtable.ts';
import { END, MISS, OK, type Step } from './cursor.ts';
import { MergeHeap } from './merge-heap.ts';

/** Goes forward only. After MISS call `load`, then `next` again. */
export interface ChunkCursor {
  next(): Step;
  load(): Promise<void>;
  /** Current entry: its id is idBytes[idAt .. idAt+32), borrowed until the next move, as are its columns. */
  readonly idBytes: Uint8Array;
  readonly idAt: number;
  readonly columns: ChunkColumns;
}

const refsMax = 2 ** 31 - 1;
const refsMin = -(2 ** 31);
const settled = chunkEntryFlags.hasLocation | chunkEntryFlags.dropped;

/** Reads the columns of a memtable's slot. */
export function readSlot(memtable: ChunkMemtable, slot: number, out: ChunkColumns): void {
  out.segment = memtable.segmentAt(slot);
  out.off8 = memtable.off8At(slot);
  out.storedLen = memtable.storedLenAt(slot);
  out.rawLen = memtable.rawLenAt(slot);
  out.refs = memtable.refsAt(slot);
  out.kind = memtable.kindAt(slot);
  out.codec = memtable.codecAt(slot);
  out.flags = memtable.flagsAt(slot);
}

/**
 * Adds a newer-to-older sequence of entries of one id into one: references add up, the newest entry that
 * has a location or says DROPPED gives all other columns. A count that saturated stays as it is.
 */
export class ChunkSum {
  readonly columns: ChunkColumns = new ChunkColumns();

  clear(): void {
    const c = this.columns;
    c.segment = c.off8 = c.storedLen = c.rawLen = c.refs = c.kind = c.codec = c.flags = 0;
  }

  add(older: ChunkColumns): void {
    const c = this.columns;
    if ((c.flags & settled) === 0 && (older.flags & settled) !== 0) {
      c.segment = older.segment;
      c.off8 = older.off8;
      c.storedLen = older.storedLen;
      c.rawLen = older.rawLen;
      c.kind = older.kind;
      c.codec = older.codec;
      c.flags |= older.flags & settled;
    }
    if ((c.flags & chunkEntryFlags.saturated) !== 0) return;
    if ((older.flags & chunkEntryFlags.saturated) !== 0) {
      c.refs = older.refs;
      c.flags |= chunkEntryFlags.saturated;
      return;
    }
    const sum = c.refs + older.refs;
    c.refs = Math.max(refsMin, Math.min(refsMax, sum));
    if (sum !== c.refs) c.flags |= chunkEntryFlags.saturated;
  }
}

/** Entries of a frozen memtable, in place. 4 B per entry. */
export class FrozenChunks implements ChunkCursor {
  readonly columns: ChunkColumns = new ChunkColumns();
  idAt = 0;
  readonly #memtable: ChunkMemtable;
  readonly #slots: Uint32Array;
  #position = 0;

  constructor(memtable: ChunkMemtable) {
    this.#memtable = memtable;
    this.#slots = memtable.sorted();
  }

  get idBytes(): Uint8Array {
    return this.#memtable.ids;
  }

  next(): Step {
    if (this.#position === this.#slots.length) return END;
    const slot = this.#slots[this.#position++]!;
    this.idAt = this.#memtable.idFrom(slot);
    readSlot(this.#memtable, slot, this.columns);
    return OK;
  }

  async load(): Promise<void> {
    // Never misses.
  }
}

/** Entries of a live memtable as they are now: a copy, 56 B per entry. */
export class CopiedChunks implements ChunkCursor {
  readonly columns: ChunkColumns = new ChunkColumns();
  readonly idBytes: Uint8Array;
  idAt: number = -chunkEntry.size;

  constructor(memtable: ChunkMemtable) {
    this.idBytes = new Uint8Array(memtable.entries * chunkEntry.size);
    const view = new DataView(this.idBytes.buffer);
    let to = 0;
    for (const slot of memtable.sorted()) {
      readSlot(memtable, slot, this.columns);
      this.columns.write(view, to, memtable.ids, memtable.idFrom(slot));
      to += chunkEntry.size;
    }
  }

  next(): Step {
    const at = this.idAt + chunkEntry.size;
    if (at >= this.idBytes.length) return END;
    this.idAt = at;
    this.columns.read(this.idBytes, at);
    return OK;
  }

  async load(): Promise<void> {
    // Never misses.
  }
}

/** One entry per id over all sources (newest first, taken): see ChunkSum. */
export class MergedChunks implements ChunkCursor {
  readonly idBytes: Uint8Array = new Uint8Array(chunkIdBytes);
  readonly idAt = 0;
  /** Entries that became part of another one of the same id. */
  joined = 0;
  readonly #sources: readonly ChunkCursor[];
  readonly #heap: MergeHeap;
  readonly #sum = new ChunkSum();
  /** Sources still to be moved before the next entry is known. Cutting an array would free its memory. */
  readonly #behind: Int32Array;
  #behindCount: number;
  /** The entry under way has its id and first part. */
  #open = false;

  constructor(sources: readonly ChunkCursor[]) {
    this.#sources = sources;
    this.#heap = new MergeHeap(sources.length, (a, b) => this.#precedes(a, b));
    this.#behind = Int32Array.from(sources.keys());
    this.#behindCount = sources.length;
  }

  get columns(): ChunkColumns {
    return this.#sum.columns;
  }

  next(): Step {
    for (;;) {
      if (!this.#catchUp()) return MISS;
      const heap = this.#heap;
      if (heap.size === 0 || (this.#open && !this.#sameId(heap.top))) {
        if (!this.#open) return END;
        this.#open = false;
        return OK;
      }
      const top = heap.top;
      const source = this.#sources[top]!;
      if (!this.#open) {
        for (let i = 0; i < chunkIdBytes; i++) this.idBytes[i] = source.idBytes[source.idAt + i]!;
        this.#sum.clear();
        this.#open = true;
      } else this.joined++;
      this.#sum.add(source.columns);
      heap.pop();
      this.#behind[this.#behindCount++] = top;
    }
  }

  async load(): Promise<void> {
    const behind = Array.from(this.#behind.subarray(0, this.#behindCount));
    await allEnded(behind.map((i) => this.#sources[i]!.load()));
  }

  /** Moves every source that is behind; false while some of them miss. */
  #catchUp(): boolean {
    const behind = this.#behind;
    const count = this.#behindCount;
    if (count === 0) return true;
    let left = 0;
    for (let i = 0; i < count; i++) {
      const step = this.#sources[behind[i]!]!.next();
      if (step === OK) this.#heap.push(behind[i]!);
      else if (step === MISS) behind[left++] = behind[i]!;
    }
    this.#behindCount = left;
    return left === 0;
  }

  #sameId(index: number): boolean {
    const source = this.#sources[index]!;
    return compareChunkIds(source.idBytes, source.idAt, this.idBytes, 0) === 0;
  }

  #precedes(a: number, b: number): boolean {
    const x = this.#sources[a]!;
    const y = this.#sources[b]!;
    const first = chunkIdPrefix(x.idBytes, x.idAt) - chunkIdPrefix(y.idBytes, y.idAt);
    const order = first !== 0 ? first : compareChunkIds(x.idBytes, x.idAt, y.idBytes, y.idAt);
    return order !== 0 ? order < 0 : a < b;
  }
}
