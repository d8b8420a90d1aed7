/**
 * Merges cursors into one: all their entries in key order, those with equal keys newest source first (and in
 * exactly the opposite order backwards).
 *
 * Sources may be live memtables: entries inserted between moves appear if they lie ahead of the sources'
 * positions, which a reader at a fixed sequence number cannot tell apart.
 *
 * Invariants
 * - Both directions, turned at any entry, go through the same sequence ("scans both ways, turned
 *   anywhere, equal the model").
 * - Keys that begin otherwise than those of tables are found in their place, whenever they are inserted
 *   ("rows inserted under a scan of tables come in order, whatever they begin with").
 * - A move that answers MISS can be repeated until it ends ("a cursor without a cache ends every move").
 */
import { assert } from '../base/assert.ts';
import { compareRange, emptyBytes, keyHead } from '../base/bytes.ts';
import { allEnded } from '../base/sync.ts';
import { END, type KeyCursor, MISS, OK, type Step } from './cursor.ts';
import { MergeHeap } from './merge-heap.ts';

/** See KeyCursor. `sources` newest first; taken by this cursor. */
export class MergeCursor implements KeyCursor {
  // Where the current source stands: readers ask a dozen times for each row, which must not be two calls.
  keyBytes: Uint8Array = emptyBytes;
  keyFrom = 0;
  keyTo = 0;
  valueBytes: Uint8Array = emptyBytes;
  valueFrom = 0;
  valueTo = 0;
  readonly #sources: readonly KeyCursor[];
  readonly #heap: MergeHeap;
  /** Per source: stands on an entry. */
  readonly #placed: boolean[];
  #missed: KeyCursor[] = [];
  /**
   * What was missed is loaded and the move is being repeated: only those sources move again. Moving the
   * others too could make them miss in turn, for ever where the cache keeps nothing.
   */
  #repeats = false;
  #forward = true;
  #positioned = false;
  /** What all keys begin with, and how many bytes that are; -1 = not known. */
  readonly #start: Uint8Array | undefined;
  #shared: number;
  /** Sources before this one may have keys that begin otherwise. */
  readonly #sureFrom: number;
  /** Per source, where that is known: the bytes of its key that follow, as a number (`keyHead`). */
  readonly #heads: Float64Array;
  /** Copy of the key a turn starts from, with a zero byte behind it: the next greater key. */
  #turnKey: Uint8Array = new Uint8Array(256);

  /**
   * `start` (borrowed): what the keys of all sources begin with; the bytes behind it are compared first. It
   * is looked whether those of the first `unsure` sources do: where one does not, all are compared whole.
   */
  constructor(sources: readonly KeyCursor[], start?: Uint8Array, unsure = 0) {
    this.#start = start;
    this.#shared = start === undefined ? -1 : start.length;
    this.#sureFrom = unsure;
    this.#heads = new Float64Array(start === undefined ? 0 : sources.length);
    this.#sources = sources;
    this.#placed = sources.map(() => false);
    this.#heap = new MergeHeap(sources.length, (a, b) => this.#precedes(a, b));
  }

  first(): Step {
    return this.#placeAll(true, (source) => source.first());
  }

  last(): Step {
    return this.#placeAll(false, (source) => source.last());
  }

  seek(key: Uint8Array): Step {
    return this.#placeAll(true, (source) => source.seek(key));
  }

  seekBefore(key: Uint8Array): Step {
    return this.#placeAll(false, (source) => source.seekBefore(key));
  }

  next(): Step {
    return this.#forward ? this.#advance((source) => source.next()) : this.#turn(true);
  }

  prev(): Step {
    return this.#forward ? this.#turn(false) : this.#advance((source) => source.prev());
  }

  async load(): Promise<void> {
    await allEnded(this.#missed.map((source) => source.load()));
    this.#repeats = true;
  }

  loadSync(): void {
    for (const source of this.#missed) source.loadSync();
    this.#repeats = true;
  }

  get #current(): KeyCursor {
    return this.#sources[this.#heap.top]!;
  }

  /** Moves every source, then starts from the first in order. Missing blocks are asked for together. */
  #placeAll(forward: boolean, move: (source: KeyCursor, index: number) => Step): Step {
    const moves = this.#toMove();
    for (let i = 0; i < this.#sources.length; i++) {
      const source = this.#sources[i]!;
      if (moves !== undefined && !moves.includes(source)) continue;
      const step = move(source, i);
      if (step === MISS) this.#missed.push(source);
      this.#placed[i] = step === OK;
    }
    if (this.#missed.length > 0) return MISS;
    return this.#rebuild(forward);
  }

  /** The sources a repeated move still waits for; undefined when the move is a new one. */
  #toMove(): readonly KeyCursor[] | undefined {
    const moves = this.#repeats ? this.#missed : undefined;
    this.#repeats = false;
    this.#missed = [];
    return moves;
  }

  #rebuild(forward: boolean): Step {
    this.#forward = forward;
    this.#heap.clear();
    for (let i = 0; i < this.#sources.length; i++) {
      if (!this.#placed[i]) continue;
      this.#noteHead(i);
      this.#heap.push(i);
    }
    return this.#stand();
  }

  /** Moves the current source on in the direction of travel. */
  #advance(move: (source: KeyCursor) => Step): Step {
    assert(this.#positioned, 'a cursor moves on only from an entry');
    this.#repeats = false;
    const step = move(this.#current);
    if (step === MISS) {
      this.#missed = [this.#current];
      return MISS;
    }
    if (step === OK) {
      this.#noteHead(this.#heap.top);
      this.#heap.settleTop();
    } else {
      this.#placed[this.#heap.top] = false;
      this.#heap.pop();
    }
    return this.#stand();
  }

  /** Stands on the entry that is first in order now. */
  #stand(): Step {
    this.#positioned = this.#heap.size > 0;
    if (!this.#positioned) return END;
    const at = this.#current;
    this.keyBytes = at.keyBytes;
    this.keyFrom = at.keyFrom;
    this.keyTo = at.keyTo;
    this.valueBytes = at.valueBytes;
    this.valueFrom = at.valueFrom;
    this.valueTo = at.valueTo;
    return OK;
  }

  /**
   * Turns round at the current entry: every other source is placed anew on the far side of it. Sources newer
   * than the current one have their entries with an equal key before it, older ones after it.
   */
  #turn(forward: boolean): Step {
    assert(this.#positioned, 'a cursor moves on only from an entry');
    const top = this.#heap.top;
    const { key, after } = this.#copyKey();
    const moves = this.#toMove();
    for (let i = 0; i < this.#sources.length; i++) {
      const source = this.#sources[i]!;
      if (i === top || (moves !== undefined && !moves.includes(source))) continue;
      const bound = i < top ? after : key;
      const step = forward ? source.seek(bound) : source.seekBefore(bound);
      if (step === MISS) this.#missed.push(source);
      this.#placed[i] = step === OK;
    }
    if (this.#missed.length > 0) return MISS;
    // The current source goes last: until it has moved, the current entry is still what it was.
    const source = this.#sources[top]!;
    const step = forward ? source.next() : source.prev();
    if (step === MISS) {
      this.#missed = [source];
      return MISS;
    }
    this.#placed[top] = step === OK;
    return this.#rebuild(forward);
  }

  #copyKey(): { key: Uint8Array; after: Uint8Array } {
    const { keyBytes, keyFrom, keyTo } = this;
    const length = keyTo - keyFrom;
    if (length + 1 > this.#turnKey.length) this.#turnKey = new Uint8Array(2 * length + 1);
    this.#turnKey.set(keyBytes.subarray(keyFrom, keyTo));
    this.#turnKey[length] = 0;
    return { key: this.#turnKey.subarray(0, length), after: this.#turnKey.subarray(0, length + 1) };
  }

  #noteHead(source: number): void {
    if (this.#shared === -1) return;
    const { keyBytes, keyFrom, keyTo } = this.#sources[source]!;
    const shared = this.#shared;
    if (source < this.#sureFrom && !beginsWith(this.#start!, keyBytes, keyFrom, keyTo)) this.#shared = -1;
    else this.#heads[source] = keyHead(keyBytes, keyFrom + shared, keyTo);
  }

  #precedes(a: number, b: number): boolean {
    if (this.#shared !== -1) {
      const headA = this.#heads[a]!;
      const headB = this.#heads[b]!;
      if (headA !== headB) return this.#forward ? headA < headB : headA > headB;
    }
    const x = this.#sources[a]!;
    const y = this.#sources[b]!;
    const order = compareRange(x.keyBytes, x.keyFrom, x.keyTo, y.keyBytes, y.keyFrom, y.keyTo);
    if (order !== 0) return this.#forward ? order < 0 : order > 0;
    return this.#forward ? a < b : a > b;
  }
}

/** buf[from..to) begins with the bytes of `start`. */
function beginsWith(start: Uint8Array, buf: Uint8Array, from: number, to: number): boolean {
  if (to - from < start.length) return false;
  for (let i = 0; i < start.length; i++) if (buf[from + i] !== start[i]) return false;
  return true;
}
