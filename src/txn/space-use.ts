/**
 * What the values of spaces with a quota take, kept by the transactions that change it: the row that says so
 * goes with each of them, so a crash loses neither. Bytes are those of the newest version of each key; what
 * has expired counts until it is deleted, what a range delete hides until that is carried out.
 *
 * Invariants (test/engine/quota.test.ts)
 * - What is counted equals the sum of the sizes of all values, after any writes, crashes and reopens ("what
 *   is counted equals the sizes of all values").
 * - A commit that adds beyond the quota is refused as a whole; one that takes away never is.
 */
import { VarveError } from '../base/errors.ts';
import type { ByteWriter } from '../codec/byte-writer.ts';
import { spaceOf } from '../format/internal-key.ts';
import { putSys } from '../format/log-ops.ts';
import { encodeUsedRow, usedKey } from '../format/space-rules.ts';
import type { SpaceRuleRows } from '../tree/space-rules.ts';

/** What the rows of one transaction take in the log for each space, at most. */
export const usedRowBytes = 64;

/** One transaction at a time: `begin`, `note` for each key, `encode`. All in the turn that sequences it. */
export class SpaceUse {
  readonly #rows: SpaceRuleRows;
  readonly #changes = new Map<number, { added: number; removed: number }>();

  constructor(rows: SpaceRuleRows) {
    this.#rows = rows;
  }

  /** A transaction begins; one that was given up is forgotten. */
  begin(): void {
    if (this.#changes.size > 0) this.#changes.clear();
  }

  /** The newest version of a key goes from one size to another, 0 where there is none. */
  note(prefix: Uint8Array, before: number, after: number): void {
    if (!this.#rows.counts || before === after) return;
    const space = spaceOf(prefix, 0);
    if (this.#rows.usedOf(space) === undefined) return;
    const change = this.#changes.get(space) ?? { added: 0, removed: 0 };
    if (after > before) change.added += after - before;
    else change.removed += before - after;
    this.#changes.set(space, change);
  }

  /** Appends the rows that say what is taken from now on. VARVE_QUOTA. */
  encode(writer: ByteWriter): void {
    for (const [space, { added, removed }] of this.#changes) {
      const used = this.#rows.usedOf(space)!;
      const row = { ...used, added: used.added + added, removed: used.removed + removed };
      if (used.isWhole) {
        row.added -= row.removed;
        row.removed = 0;
        const { quotaBytes } = this.#rows.rulesOf(space);
        if (quotaBytes !== undefined && added > removed && row.added > quotaBytes) {
          throw new VarveError('VARVE_QUOTA', 'the values of the space would take more than its quota', {
            expected: quotaBytes,
            actual: row.added,
          });
        }
      }
      putSys(writer, usedKey(space), encodeUsedRow(row));
    }
  }
}
