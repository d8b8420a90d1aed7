/**
 * Rows of a backup, met in order, with what was changed behind it laid over them: together the rows of a
 * later moment. The changes are borrowed.
 *
 * Invariants (test/backup/archive.test.ts, test/backup/live-restore.test.ts)
 * - Every row of the moment is given once, in order ("the store at any moment equals the model").
 */
import type { Seq } from '../base/brands.ts';
import { compareBytes, equalBytes } from '../base/bytes.ts';
import type { ChangedRow, LoggedChanges } from './logged-changes.ts';
import { isTreeKeyWithin, type TreeRange, treeKeyOf } from './restore-choice.ts';

/** A row that was put behind the backup; `value` is its canonical record. */
export interface LaterRow extends ChangedRow {
  readonly value: Uint8Array;
}

const none: readonly LaterRow[] = [];

export class RowOverlay {
  readonly #changes: LoggedChanges | undefined;
  readonly #changed: readonly ChangedRow[];
  #next = 0;

  /** Of the rows within `range`; without changes the rows of the backup are all there are. */
  constructor(changes: LoggedChanges | undefined, range: TreeRange) {
    this.#changes = changes;
    this.#changed = changes?.keys().filter(({ prefix }) => isTreeKeyWithin(treeKeyOf(prefix), range)) ?? none;
  }

  /** Rows that come before the next row of the backup, which has this row prefix. */
  before(prefix: Uint8Array): readonly LaterRow[] {
    const from = this.#next;
    while (this.#next < this.#changed.length && compareBytes(this.#changed[this.#next]!.prefix, prefix) < 0)
      this.#next++;
    return this.#next === from ? none : this.#alive(from, this.#next);
  }

  /** The row of the backup, for which `before` was asked, is the one of the moment. */
  keeps(prefix: Uint8Array, seq: Seq): boolean {
    if (this.#changes === undefined) return true;
    const next = this.#changed[this.#next];
    const isChanged = next !== undefined && equalBytes(next.prefix, prefix);
    return !isChanged && !this.#changes.hides(prefix, seq);
  }

  /** Rows behind the last row of the backup. */
  rest(): readonly LaterRow[] {
    const from = this.#next;
    this.#next = this.#changed.length;
    return this.#alive(from, this.#next);
  }

  #alive(from: number, to: number): LaterRow[] {
    const rows = this.#changed.slice(from, to);
    return rows.filter(
      (row): row is LaterRow => row.value !== undefined && !this.#changes!.hides(row.prefix, row.seq),
    );
  }
}
