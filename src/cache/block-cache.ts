/**
 * Blocks of immutable files in memory: one budget in bytes over all files, least recently used go first.
 *
 * Budget: the bytes of each block and 160 B for its bookkeeping. For readers it may borrow what other budgets
 * leave free, and gives it back when they take it. File numbers are never reused and tables are never
 * changed, so an entry is never wrong, only old.
 *
 * Invariants
 * - `used` never exceeds `budget` ("the cache stays within its budget and drops the least recently used"),
 *   whatever lenders take ("what is borrowed is given back when its lender takes it").
 * - Two blocks never share a key, whatever their numbers ("blocks of files with large numbers stay apart").
 */
import { LRUCache } from 'lru-cache';
import type { FileNo } from '../base/brands.ts';
import { invalid } from '../base/errors.ts';

const entryOverheadBytes = 160;
/** Numeric keys: file number * 2^28 + offset / 8, exact while the file number is below this. */
const numericFilesMax = 2 ** 25;
const offsets8Max = 2 ** 28;

/** A budget that lends what it does not use. */
export interface Lender {
  /** Bytes. */
  readonly free: number;
  /** Called whenever there is less of it. */
  onTaken: () => void;
}

/** How much a cache may borrow, in bytes. */
export interface Borrowing {
  readonly most: number;
  /** What is left to the lenders to grow into, so that they seldom have to ask. */
  readonly leaves: number;
}

/** A byte-budgeted LRU over (file number, block offset). */
export class BlockCache {
  readonly #own: number;
  readonly #borrowing: Borrowing;
  #lenders: readonly Lender[] = [];
  readonly #blocks: LRUCache<number | string, Uint8Array> | undefined;
  #hits = 0;
  #misses = 0;

  /**
   * `budget` in bytes; 0 keeps nothing. `borrowing`: how much more it may take of what lenders have free.
   * VARVE_INVALID_ARGUMENT on anything but an integer >= 0.
   */
  constructor(budget: number, borrowing: Borrowing = { most: 0, leaves: 0 }) {
    if (!Number.isSafeInteger(budget) || budget < 0) throw invalid('cache budget must be an integer >= 0');
    this.#own = budget;
    this.#borrowing = borrowing;
    if (budget > 0) {
      this.#blocks = new LRUCache({
        maxSize: budget + borrowing.most,
        sizeCalculation: (block) => block.buffer.byteLength + entryOverheadBytes,
      });
    }
  }

  /** Bytes it may take now. */
  get budget(): number {
    const { most, leaves } = this.#borrowing;
    let free = -leaves;
    for (const lender of this.#lenders) free += lender.free;
    return this.#own + Math.max(0, Math.min(free, most));
  }

  /** Whom it may borrow from, from now on. */
  borrow(lenders: readonly Lender[]): void {
    this.#lenders = lenders;
    for (const lender of lenders) {
      lender.onTaken = (): void => {
        this.#shrink(this.budget);
      };
    }
  }

  /** Bytes taken, bookkeeping included. */
  get used(): number {
    return this.#blocks?.calculatedSize ?? 0;
  }

  get hits(): number {
    return this.#hits;
  }

  get misses(): number {
    return this.#misses;
  }

  /** The block of file `no` at `offset` (a multiple of 8); never to be written to. */
  get(no: FileNo, offset: number): Uint8Array | undefined {
    const block = this.#blocks?.get(keyOf(no, offset));
    if (block === undefined) this.#misses++;
    else this.#hits++;
    return block;
  }

  /**
   * Keeps `block` (taken, with the whole buffer under it) unless it is larger than the budget. Unless it
   * `borrows`, it takes the place of others where the cache has taken its own budget or more.
   */
  set(no: FileNo, offset: number, block: Uint8Array, borrows = false): void {
    const most = borrows ? this.budget : Math.min(this.budget, Math.max(this.#own, this.used));
    this.#blocks?.set(keyOf(no, offset), block);
    this.#shrink(most);
  }

  /** Forgets every block. */
  clear(): void {
    this.#blocks?.clear();
  }

  #shrink(most: number): void {
    while (this.used > most) this.#blocks!.pop();
  }
}

function keyOf(no: FileNo, offset: number): number | string {
  const offset8 = offset / 8;
  return no < numericFilesMax && offset8 < offsets8Max ? no * offsets8Max + offset8 : `${no}:${offset}`;
}
