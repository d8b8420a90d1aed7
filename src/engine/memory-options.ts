/** Budgets in memory: each is an option, checked here and kept by whoever it is given to. */
import { GiB, KiB, MiB } from '../base/limits.ts';
import { checkNames } from '../base/names.ts';
import type { Borrowing } from '../cache/block-cache.ts';
import { integer } from './option-checks.ts';

/** Memory budgets in bytes. Each is enforced; stats() shows what is used of it. */
export interface MemoryOptions {
  /** Rows and chunk entries held before they are flushed to tables. Default 32 MiB. */
  memtableBytes?: number;
  /**
   * Blocks of tables and chunks kept in memory. Default 32 MiB and, up to 128 MiB more, what
   * `tableFilterBytes` and `tableIndexBytes` leave free of theirs beyond 32 MiB: so small stores are read
   * from memory as a whole.
   */
  blockCacheBytes?: number;
  /** Segment trailers kept for finding neighbours of known chunks. Default 16 MiB. */
  trailerCacheBytes?: number;
  /** Commits accepted and not yet written; put waits beyond it. Default 16 MiB. */
  pendingCommitBytes?: number;
  /** Places of rows that were read, 80 B each: a key read again is found without a search. Default 2 MiB. */
  foundRowBytes?: number;
  /**
   * Filters of tables, in pieces that are read when they are needed. Where it is full of pieces in use, a
   * lookup reads a block instead. Default 128 MiB.
   */
  tableFilterBytes?: number;
  /** Indexes of tables, in pieces that are read when they are needed; cold ones go. Default 32 MiB. */
  tableIndexBytes?: number;
  /** What each long scan reads ahead, past the cache. Default 1 MiB; 0: block by block. */
  scanAheadBytes?: number;
  /**
   * Each read of a large value holds up to twice as much: what is under way ahead of its reader and what that
   * works on. Half as much is read at once. Default 2 MiB; a chunk is read at least.
   */
  readAheadBytes?: number;
  /** What a merge of tables reads of its inputs at once, one block of each at least. Default 8 MiB. */
  mergeReadBytes?: number;
  /** Rows that a query sorts in memory; one that needs more is refused. Default 16 MiB. */
  sortBytes?: number;
}

/** Of each budget: its default, and the least and the most it may be. */
const bounds: Readonly<Record<keyof MemoryOptions, readonly [number, number, number]>> = {
  memtableBytes: [32 * MiB, 64 * KiB, GiB],
  blockCacheBytes: [32 * MiB, 0, 16 * GiB],
  trailerCacheBytes: [16 * MiB, 0, GiB],
  pendingCommitBytes: [16 * MiB, 64 * KiB, GiB],
  foundRowBytes: [2 * MiB, 0, GiB],
  tableFilterBytes: [128 * MiB, 0, 64 * GiB],
  tableIndexBytes: [32 * MiB, 0, 64 * GiB],
  scanAheadBytes: [MiB, 0, GiB],
  readAheadBytes: [2 * MiB, 64 * KiB, GiB],
  mergeReadBytes: [8 * MiB, 64 * KiB, GiB],
  sortBytes: [16 * MiB, 64 * KiB, GiB],
};

/** What blocks may take of the budgets of filters and indexes, which have 160 MiB by default. */
const borrowing: Borrowing = { most: 128 * MiB, leaves: 32 * MiB };

export interface CheckedMemory extends Required<MemoryOptions> {
  /** What blocks may take beyond `blockCacheBytes`, while filters and indexes do not. */
  readonly blockBorrowing: Borrowing | undefined;
}

/** VARVE_INVALID_ARGUMENT names what is unknown or out of range. */
export function checkMemory(given: MemoryOptions): CheckedMemory {
  checkNames(given, Object.keys(bounds), 'memory option');
  const names = Object.keys(bounds) as (keyof MemoryOptions)[];
  const checked = names.map((name): [keyof MemoryOptions, number] => {
    const [byDefault, least, most] = bounds[name];
    return [name, integer(`memory.${name}`, given[name] ?? byDefault, least, most)];
  });
  const budgets = Object.fromEntries(checked) as Record<keyof MemoryOptions, number>;
  return { ...budgets, blockBorrowing: given.blockCacheBytes === undefined ? borrowing : undefined };
}
