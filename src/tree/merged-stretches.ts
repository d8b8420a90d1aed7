/**
 * Every id of several sources once, many at a time, in rounds: the entries up to the lowest id with which a
 * window of a source ends. Of each source those lie side by side, and whatever other sources have of their
 * ids is in the same round; so nothing is put in order. A small hash table finds the ids that several
 * sources have. They are added up in entries of their own; all others are handed on as they lie in the
 * source's block, and cost no call and no object.
 *
 * Invariants (test/tree/chunk-stretches.test.ts)
 * - The entries are those of MergedChunks ("stretches have the entries of a scan, however sources overlap").
 */
import { viewOf } from '../base/bytes.ts';
import { ChunkColumns, chunkEntry, compareChunkIds } from '../format/chunk-table.ts';
import { ChunkSum } from './chunk-cursor.ts';
import type { TakeEntries } from './chunk-stretches.ts';
import type { ChunkStretches } from './chunk-table-blocks.ts';
import { END, MISS, OK, type Step } from './cursor.ts';

const entryBytes = chunkEntry.size;
/**
 * Entries of one source in a round, at most: more than a block has, so that a memtable goes along with it.
 */
const windowEntries = 128;

/** One entry per id over all sources (newest first, taken), in no order: see ChunkSum. Goes forward only. */
export class MergedStretches {
  readonly #sources: readonly ChunkStretches[];
  /** Of each source: where its next entry is, and the end of what it has in this round. */
  readonly #at: Uint32Array;
  readonly #end: Uint32Array;
  /** Sources that stand on an entry, newest first. */
  #standing: number[] = [];
  /** Sources still to be moved to their next stretch. */
  readonly #behind: number[];
  readonly #shared: SharedIds;

  constructor(sources: readonly ChunkStretches[]) {
    this.#sources = sources;
    this.#at = new Uint32Array(sources.length);
    this.#end = new Uint32Array(sources.length);
    this.#behind = sources.map((_, i) => i);
    this.#shared = new SharedIds(sources);
  }

  /**
   * Gives `take` about `max` further entries. OK: there may be more. END: that was all. MISS: `load`, then go
   * on. VARVE_CORRUPT and VARVE_FORMAT_VERSION of the tables.
   */
  run(max: number, take: TakeEntries): Step {
    for (let left = max; left > 0; ) {
      if (!this.#catchUp()) return MISS;
      const standing = this.#standing;
      if (standing.length === 0) return END;
      left -= standing.length === 1 ? this.#passOn(standing[0]!, left, take) : this.#round(take);
    }
    return OK;
  }

  /** Reads what the sources miss. */
  async load(): Promise<void> {
    const results = await Promise.allSettled(this.#behind.map((i) => this.#sources[i]!.load()));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  /** Hands on what is left of a stretch, as no other source has an entry; returns the number of entries. */
  #passOn(index: number, max: number, take: TakeEntries): number {
    const source = this.#sources[index]!;
    const from = this.#at[index]!;
    const to = Math.min(source.to, from + max * entryBytes);
    take(source.bytes, source.view, from, to);
    this.#moved(index, to);
    if (to === source.to) this.#standing = [];
    return (to - from) / entryBytes;
  }

  /** Hands on everything up to the lowest end of a window; returns the number of entries read. */
  #round(take: TakeEntries): number {
    const standing = this.#standing;
    const lowest = this.#lowestEnd();
    const { bytes: boundBytes } = this.#sources[lowest]!;
    const boundAt = this.#end[lowest]! - entryBytes;
    let count = 0;
    let parts = 0;
    for (const index of standing) {
      if (index !== lowest) this.#cut(index, boundBytes, boundAt);
      const entries = (this.#end[index]! - this.#at[index]!) / entryBytes;
      count += entries;
      if (entries > 0) parts++;
    }
    if (parts === 1) {
      const { bytes, view } = this.#sources[lowest]!;
      take(bytes, view, this.#at[lowest]!, this.#end[lowest]!);
    } else this.#shared.take(standing, this.#at, this.#end, count, take);
    let isOver = false;
    for (const index of standing) {
      const end = this.#end[index]!;
      this.#moved(index, end);
      isOver ||= end === this.#sources[index]!.to;
    }
    if (isOver) this.#standing = standing.filter((one) => this.#at[one]! < this.#sources[one]!.to);
    return count;
  }

  /** The source whose window ends with the lowest id; sets the ends of all windows. */
  #lowestEnd(): number {
    let lowest = -1;
    for (const index of this.#standing) {
      const { bytes, to } = this.#sources[index]!;
      const end = Math.min(to, this.#at[index]! + windowEntries * entryBytes);
      this.#end[index] = end;
      const last = end - entryBytes;
      if (lowest === -1) lowest = index;
      else {
        const lowestLast = this.#end[lowest]! - entryBytes;
        if (compareChunkIds(bytes, last, this.#sources[lowest]!.bytes, lowestLast) < 0) lowest = index;
      }
    }
    return lowest;
  }

  /** Cuts the window of a source behind the last id that is not above the bound. */
  #cut(index: number, boundBytes: Uint8Array, boundAt: number): void {
    const { bytes } = this.#sources[index]!;
    const at = this.#at[index]!;
    let low = 0;
    let high = (this.#end[index]! - at) / entryBytes;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (compareChunkIds(bytes, at + middle * entryBytes, boundBytes, boundAt) <= 0) low = middle + 1;
      else high = middle;
    }
    this.#end[index] = at + low * entryBytes;
  }

  #moved(index: number, to: number): void {
    this.#at[index] = to;
    if (to === this.#sources[index]!.to) this.#behind.push(index);
  }

  /** Moves every source that is behind; false while some of them miss. */
  #catchUp(): boolean {
    const behind = this.#behind;
    if (behind.length === 0) return true;
    let left = 0;
    for (let i = 0; i < behind.length; i++) {
      const index = behind[i]!;
      const source = this.#sources[index]!;
      const step = source.next();
      if (step === OK) {
        this.#at[index] = source.from;
        this.#standing.push(index);
      } else if (step === MISS) behind[left++] = index;
    }
    behind.length = left;
    this.#standing.sort((a, b) => a - b);
    return left === 0;
  }
}

/** Entries of one round: hands on those of ids that one source has, and adds up the others. */
class SharedIds {
  readonly #sources: readonly ChunkStretches[];
  /** Of each entry of the round, source by source: where it is, and the next older one of its id. */
  readonly #source: Uint16Array;
  readonly #at: Uint32Array;
  readonly #older: Int32Array;
  /** 1: several sources have its id. */
  readonly #isShared: Uint8Array;
  /** Open addressing: entry + 1 of the newest of each id, 0: free; and what its id hashes to. */
  #slots: Uint32Array = new Uint32Array(0);
  #hashes: Uint32Array = new Uint32Array(0);
  readonly #sum = new ChunkSum();
  readonly #columns = new ChunkColumns();
  /** The newest entries of ids that several sources have. */
  readonly #heads: Uint32Array;
  #headCount = 0;
  readonly #joined: Uint8Array;
  readonly #joinedView: DataView;

  constructor(sources: readonly ChunkStretches[]) {
    this.#sources = sources;
    const most = sources.length * windowEntries;
    this.#source = new Uint16Array(most);
    this.#at = new Uint32Array(most);
    this.#older = new Int32Array(most);
    this.#isShared = new Uint8Array(most);
    this.#heads = new Uint32Array(most);
    this.#joined = new Uint8Array((most >> 1) * entryBytes);
    this.#joinedView = viewOf(this.#joined);
  }

  /** Entries of `standing` sources (newest first) from `at` to `end`, `count` in all. */
  take(
    standing: readonly number[],
    at: Uint32Array,
    end: Uint32Array,
    count: number,
    take: TakeEntries,
  ): void {
    this.#restart(count);
    let entry = 0;
    for (const index of standing) entry = this.#enter(index, at[index]!, end[index]!, entry);
    if (this.#headCount === 0) {
      for (const index of standing) {
        const { bytes, view } = this.#sources[index]!;
        if (at[index]! < end[index]!) take(bytes, view, at[index]!, end[index]!);
      }
      return;
    }
    entry = 0;
    for (const index of standing) entry = this.#passOwn(index, at[index]!, end[index]!, entry, take);
    this.#join(take);
  }

  #restart(count: number): void {
    const wanted = 2 ** Math.ceil(Math.log2(2 * count));
    if (this.#slots.length < wanted) {
      this.#slots = new Uint32Array(wanted);
      this.#hashes = new Uint32Array(wanted);
    } else this.#slots.fill(0);
    this.#headCount = 0;
  }

  /** Finds the ids of a source among those of newer ones; returns the number of entries so far. */
  #enter(index: number, from: number, to: number, first: number): number {
    const { bytes, view } = this.#sources[index]!;
    const slots = this.#slots;
    const hashes = this.#hashes;
    const mask = slots.length - 1;
    let entry = first;
    for (let at = from; at < to; at += entryBytes, entry++) {
      const hash = Math.imul(view.getUint32(at + 4, true) ^ view.getUint32(at + 16, true), 0x9e3779b1) >>> 0;
      this.#source[entry] = index;
      this.#at[entry] = at;
      this.#older[entry] = -1;
      this.#isShared[entry] = 0;
      let slot = (hash >>> 8) & mask;
      for (; slots[slot] !== 0; slot = (slot + 1) & mask) {
        if (hashes[slot] === hash && this.#isSame(slots[slot]! - 1, bytes, at)) break;
      }
      if (slots[slot] === 0) {
        slots[slot] = entry + 1;
        hashes[slot] = hash;
      } else this.#link(slots[slot]! - 1, entry);
    }
    return entry;
  }

  #isSame(entry: number, bytes: Uint8Array, at: number): boolean {
    return compareChunkIds(this.#sources[this.#source[entry]!]!.bytes, this.#at[entry]!, bytes, at) === 0;
  }

  /** `entry` has the id whose newest entry is `head`. */
  #link(head: number, entry: number): void {
    if (this.#isShared[head] === 0) {
      this.#isShared[head] = 1;
      this.#heads[this.#headCount++] = head;
    }
    this.#isShared[entry] = 1;
    let last = head;
    while (this.#older[last] !== -1) last = this.#older[last]!;
    this.#older[last] = entry;
  }

  /** Hands on what only this source has. */
  #passOwn(index: number, from: number, to: number, first: number, take: TakeEntries): number {
    const { bytes, view } = this.#sources[index]!;
    let entry = first;
    let start = from;
    for (let at = from; at < to; at += entryBytes, entry++) {
      if (this.#isShared[entry] === 0) continue;
      if (start < at) take(bytes, view, start, at);
      start = at + entryBytes;
    }
    if (start < to) take(bytes, view, start, to);
    return entry;
  }

  /** Adds up what several sources have, newest to oldest. */
  #join(take: TakeEntries): void {
    const sum = this.#sum;
    for (let i = 0; i < this.#headCount; i++) {
      const head = this.#heads[i]!;
      sum.clear();
      for (let entry = head; entry !== -1; entry = this.#older[entry]!) {
        this.#columns.read(this.#sources[this.#source[entry]!]!.bytes, this.#at[entry]!);
        sum.add(this.#columns);
      }
      const { bytes } = this.#sources[this.#source[head]!]!;
      sum.columns.write(this.#joinedView, i * entryBytes, bytes, this.#at[head]!);
    }
    take(this.#joined, this.#joinedView, 0, this.#headCount * entryBytes);
  }
}
