/** The rows of a tree at one moment, and cursors over the rows of several sources. */
import { assert } from '../base/assert.ts';
import type { Seq } from '../base/brands.ts';
import type { BlockHold } from './block-hold.ts';
import type { KeyCursor } from './cursor.ts';
import type { KeyMemtable } from './key-memtable.ts';
import { MergeCursor } from './merge-cursor.ts';
import type { RangeSet } from './range-rows.ts';
import { RunCursor } from './run-cursor.ts';
import { sharedStart } from './table-order.ts';
import type { KeyTable } from './table-reader.ts';

/** The rows of a tree at one moment: its memtables and tables, pinned until `release`. */
export class TreeView {
  readonly #memtables: readonly KeyMemtable[];
  readonly #runs: readonly (readonly KeyTable[])[];
  /** Ranges that hide rows the cursors show; undefined in a tree that has none. */
  readonly ranges: RangeSet | undefined;
  readonly #scanAheadBytes: number;
  #released = false;

  /** `runs` as TableRuns has them. */
  constructor(
    memtables: readonly KeyMemtable[],
    runs: readonly (readonly KeyTable[])[],
    ranges?: RangeSet,
    scanAheadBytes = 0,
  ) {
    this.ranges = ranges;
    this.#scanAheadBytes = scanAheadBytes;
    this.#memtables = memtables;
    this.#runs = runs;
    for (const run of runs) for (const table of run) table.retain();
  }

  /**
   * A cursor over all rows of all kinds, versions of a key newest first; unpositioned. Rows inserted later
   * may appear in it: their sequence numbers are higher than those of any reader that took this view.
   * With `above` it may leave out rows with numbers at or below that, and goes forward only.
   */
  cursor(above?: Seq): KeyCursor {
    assert(!this.#released, 'a released view has no cursors');
    const runs = above === undefined ? this.#runs : runsAbove(this.#runs, above);
    const aheadBytes = Math.floor(this.#scanAheadBytes / Math.max(1, runs.length));
    return mergeOf(this.#memtables, runs, undefined, above, aheadBytes);
  }

  /** Unpins; cursors of the view are over. Idempotent. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    for (const run of this.#runs) for (const table of run) table.release();
  }
}

/** The runs without tables that have no row above `seq`. */
export function runsAbove(
  runs: readonly (readonly KeyTable[])[],
  seq: Seq,
): readonly (readonly KeyTable[])[] {
  const newer = runs.map((run) => run.filter(({ meta }) => meta.maxSeq > seq));
  return newer.filter((run) => run.length > 0);
}

/**
 * A cursor over all rows of these sources, unpositioned. `hold`, if given, loads what tables miss; the others
 * as `TreeView.cursor` and KeyTable.cursor have them, runs as TableRuns has them.
 */
export function mergeOf(
  memtables: readonly KeyMemtable[],
  runs: readonly (readonly KeyTable[])[],
  hold?: BlockHold,
  above?: Seq,
  aheadBytes = 0,
): KeyCursor {
  // What is inserted into an empty one later has numbers above those its readers see.
  const inMemory = memtables.filter(({ entries }) => entries > 0).map((memtable) => memtable.cursor());
  const open = (table: KeyTable): KeyCursor => table.cursor(hold, above, aheadBytes);
  const onDisk = runs.map((run) => (run.length === 1 ? open(run[0]!) : new RunCursor(run, open)));
  const sources = [...inMemory, ...onDisk];
  if (sources.length === 1) return sources[0]!;
  return runs.length === 0
    ? new MergeCursor(sources)
    : new MergeCursor(sources, sharedStart(runs.flat()), inMemory.length);
}
