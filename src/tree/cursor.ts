/**
 * The one cursor shape of the ordered trees (K, X, S): memtables, tables and merges of them.
 *
 * A move returns OK, END (no such entry; the cursor is then unpositioned) or MISS: a block is not in the
 * cache. After MISS call `load()` (or `loadSync()`) and repeat the same move; nothing else may be called in
 * between. This keeps one code path for getSync and for asynchronous reads.
 *
 * The current key and value are borrowed: valid until the next move of this cursor.
 */
export const OK = 1;
export const END = 0;
export const MISS = -1;
export type Step = typeof OK | typeof END | typeof MISS;

/** Rows one after another, as a table writer takes them: `first`, then `next` until END. */
export interface RowSource {
  first(): Step;
  next(): Step;

  /** Current entry: key = keyBytes[keyFrom..keyTo), value = valueBytes[valueFrom..valueTo). */
  readonly keyBytes: Uint8Array;
  readonly keyFrom: number;
  readonly keyTo: number;
  readonly valueBytes: Uint8Array;
  readonly valueFrom: number;
  readonly valueTo: number;

  load(): Promise<void>;
}

export interface KeyCursor extends RowSource {
  /** Moves to the first entry with key >= `key`. */
  seek(key: Uint8Array): Step;
  /** Moves to the last entry with key < `key`. */
  seekBefore(key: Uint8Array): Step;
  last(): Step;
  prev(): Step;
  loadSync(): void;
}

/** Makes a move, loading the blocks it misses; never MISS. Nothing else may use the cursor meanwhile. */
export async function settle(cursor: KeyCursor, move: () => Step): Promise<Step> {
  let step = move();
  while (step === MISS) {
    await cursor.load();
    step = move();
  }
  return step;
}
