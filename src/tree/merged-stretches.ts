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
import { allEnded } from '../base/sync.ts';
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
  readonly #behind: Int32Array;
  #behindCount: number;
  readonly #shared: SharedIds;

  constructor(sources: readonly ChunkStretches[]) {
    this.#sources = sources;
    this.#at = new Uint32Array(sources.length);
    this.#end = new Uint32Array(sources.length);
    this.#behind = Int32Array.from(sources.keys());
    this.#behindCount = sources.length;
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
    const behind = Array.from(this.#behind.subarray(0, this.#behindCount));
    await allEnded(behind.map((i) => this.#sources[i]!.load()));
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
    const { bytes: boundBytes, view: boundView } = this.#sources[lowest]!;
    const boundAt = this.#end[lowest]! - entryBytes;
    const boundHead = boundView.getUint32(boundAt);
    let count = 0;
    let parts = 0;
    for (const index of standing) {
      if (index !== lowest) this.#cut(index, boundBytes, boundAt, boundHead);
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
  #cut(index: number, boundBytes: Uint8Array, boundAt: number, boundHead: number): void {
    const { bytes, view } = this.#sources[index]!;
    const at = this.#at[index]!;
    let low = 0;
    let high = (this.#end[index]! - at) / entryBytes;
    while (low < high) {
      const middle = (low + high) >> 1;
      const entry = at + middle * entryBytes;
      const head = view.getUint32(entry);
      const isWithin =
        head !== boundHead ? head < boundHead : compareChunkIds(bytes, entry, boundBytes, boundAt) <= 0;
      if (isWithin) low = middle + 1;
      else high = middle;
    }
    this.#end[index] = at + low * entryBytes;
  }

  #moved(index: number, to: number): void {
    this.#at[index] = to;
    if (to === this.#sources[index]!.to) this.#behind[this.#behindCount++] = index;
  }

  /** Moves every source that is behind; false while some of them miss. */
  #catchUp(): boolean {
    const behind = this.#behind;
    const count = this.#behindCount;
    if (count === 0) return true;
    let left = 0;
    for (let i = 0; i < count; i++) {
      const index = behind[i]!;
      const source = this.#sources[index]!;
      const step = source.next();
      if (step === OK) {
        this.#at[index] = source.from;
        this.#stand(index);
      } else if (step === MISS) behind[left++] = index;
    }
    this.#behindCount = left;
    return left === 0;
  }

  /** Newest first; there are few, and sorting anew would cost more. */
  #stand(index: number): void {
    const standing = this.#standing;
    let at = standing.length;
    standing.push(index);
    for (; at > 0 && standing[at - 1]! > index; at--) standing[at] = standing[at - 1]!;
    standing[at] = index;
  }
}

/** Entries of one round: hands on those of ids that one source has, and adds up the others. */
class SharedIds {
  readonly #sources: readonly ChunkStretches[];
  /** The sources of the round, newest first, and where the entries of each begin. */
  #standing: readonly number[] = [];
  #from: Uint32Array = new Uint32Array(0);
  /** Entries are numbered source by source; of each source the first one's number. */
  readonly #first: Uint32Array;
  /** Of each entry: 1 where several sources have its id, and then the next older one of it, or -1. */
  readonly #isShared: Uint8Array;
  readonly #older: Int32Array;
  /** The newest entries of those ids. */
  readonly #heads: Uint32Array;
  #headCount = 0;
  /** Open addressing: number + 1 of the newest entry of each id, 0: free; and what its id hashes to. */
  #slots: Int32Array = new Int32Array(0);
  #hashes: Int32Array = new Int32Array(0);
  readonly #sum = new ChunkSum();
  readonly #columns = new ChunkColumns();
  readonly #joined: Uint8Array;
  readonly #joinedView: DataView;

  constructor(sources: readonly ChunkStretches[]) {
    this.#sources = sources;
    const most = sources.length * windowEntries;
    this.#first = new Uint32Array(sources.length);
    this.#isShared = new Uint8Array(most);
    this.#older = new Int32Array(most);
    this.#heads = new Uint32Array(most);
    this.#joined = new Uint8Array((most >> 1) * entryBytes);
    this.#joinedView = viewOf(this.#joined);
  }

  /** Entries of `standing` sources (newest first), each `from` .. `to`, `count` in all. */
  take(
    standing: readonly number[],
    from: Uint32Array,
    to: Uint32Array,
    count: number,
    take: TakeEntries,
  ): void {
    this.#restart(standing, from, to, count);
    for (const index of standing) this.#enter(index, from[index]!, to[index]!);
    for (const index of standing) {
      if (from[index] === to[index]) continue;
      if (this.#headCount > 0) this.#passOwn(index, from[index]!, to[index]!, take);
      else take(this.#sources[index]!.bytes, this.#sources[index]!.view, from[index]!, to[index]!);
    }
    if (this.#headCount > 0) this.#join(take);
  }

  #restart(standing: readonly number[], from: Uint32Array, to: Uint32Array, count: number): void {
    this.#standing = standing;
    this.#from = from;
    let first = 0;
    for (const index of standing) {
      this.#first[index] = first;
      first += (to[index]! - from[index]!) / entryBytes;
    }
    // A power of 2, so that a quarter to a half of the slots are used.
    const wanted = 1 << (33 - Math.clz32(count));
    if (this.#slots.length < wanted) {
      this.#slots = new Int32Array(wanted);
      this.#hashes = new Int32Array(wanted);
    } else this.#slots.fill(0);
    this.#isShared.fill(0, 0, count);
    this.#headCount = 0;
  }

  /** Finds the ids of a source among those of newer ones. */
  #enter(index: number, from: number, to: number): void {
    const { bytes, view } = this.#sources[index]!;
    const slots = this.#slots;
    const hashes = this.#hashes;
    const mask = slots.length - 1;
    let entry = this.#first[index]!;
    for (let at = from; at < to; at += entryBytes, entry++) {
      // Ids are digests. What those of one round have in common stands in front.
      const hash = view.getInt32(at + 8, true) ^ view.getInt32(at + 21, true);
      let slot = hash & mask;
      while (slots[slot] !== 0 && !(hashes[slot] === hash && this.#isSame(slots[slot]! - 1, bytes, at))) {
        slot = (slot + 1) & mask;
      }
      if (slots[slot] === 0) {
        slots[slot] = entry + 1;
        hashes[slot] = hash;
      } else this.#link(slots[slot]! - 1, entry);
    }
  }

  #isSame(entry: number, bytes: Uint8Array, at: number): boolean {
    const source = this.#sourceOf(entry);
    return compareChunkIds(this.#sources[source]!.bytes, this.#placeOf(entry, source), bytes, at) === 0;
  }

  #sourceOf(entry: number): number {
    let found = -1;
    for (const index of this.#standing) {
      if (this.#first[index]! > entry) break;
      found = index;
    }
    return found;
  }

  #placeOf(entry: number, source: number): number {
    return this.#from[source]! + (entry - this.#first[source]!) * entryBytes;
  }

  /** `entry` has the id whose newest entry is `head`. */
  #link(head: number, entry: number): void {
    if (this.#isShared[head] === 0) {
      this.#isShared[head] = 1;
      this.#older[head] = -1;
      this.#heads[this.#headCount++] = head;
    }
    this.#isShared[entry] = 1;
    this.#older[entry] = -1;
    let last = head;
    while (this.#older[last] !== -1) last = this.#older[last]!;
    this.#older[last] = entry;
  }

  /** Hands on what only this source has. */
  #passOwn(index: number, from: number, to: number, take: TakeEntries): void {
    const { bytes, view } = this.#sources[index]!;
    const isShared = this.#isShared;
    let entry = this.#first[index]!;
    let start = from;
    for (let at = from; at < to; at += entryBytes, entry++) {
      if (isShared[entry] === 0) continue;
      if (start < at) take(bytes, view, start, at);
      start = at + entryBytes;
    }
    if (start < to) take(bytes, view, start, to);
  }

  /** Adds up what several sources have, newest to oldest. */
  #join(take: TakeEntries): void {
    const sum = this.#sum;
    for (let i = 0; i < this.#headCount; i++) {
      const head = this.#heads[i]!;
      sum.clear();
      for (let entry = head; entry !== -1; entry = this.#older[entry]!) {
        const source = this.#sourceOf(entry);
        this.#columns.read(this.#sources[source]!.bytes, this.#placeOf(entry, source));
        sum.add(this.#columns);
      }
      const source = this.#sourceOf(head);
      const at = this.#placeOf(head, source);
      sum.columns.write(this.#joinedView, i * entryBytes, this.#sources[source]!.bytes, at);
    }
    take(this.#joined, this.#joinedView, 0, this.#headCount * entryBytes);
  }
}
