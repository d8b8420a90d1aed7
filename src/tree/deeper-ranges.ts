/** The key ranges that lie below a merge: what a delete marker may still have to hide. */
import { compareRange } from '../base/bytes.ts';
import { seqBytes } from '../format/internal-key.ts';
import { comparePrefix } from './compaction-planner.ts';

/** A table by its level and internal keys, borrowed. */
export interface LeveledRange {
  readonly tree: number;
  readonly level: number;
  readonly minKey: Uint8Array;
  readonly maxKey: Uint8Array;
}

/** Asked with rising row prefixes only; each range is passed once. */
export class DeeperRanges {
  readonly #levels: readonly (readonly LeveledRange[])[];
  readonly #at: number[];

  /** `tables`: all tables of the tree; those below `outputLevel` count. */
  constructor(tables: readonly LeveledRange[], outputLevel: number) {
    const byLevel = new Map<number, LeveledRange[]>();
    for (const table of tables) {
      if (table.level <= outputLevel) continue;
      const level = byLevel.get(table.level) ?? [];
      level.push(table);
      byLevel.set(table.level, level);
    }
    this.#levels = Array.from(byLevel.values(), (level) =>
      level.sort((a, b) => comparePrefix(a.tree, a.minKey, b.minKey)),
    );
    this.#at = this.#levels.map(() => 0);
  }

  /** A table below may have rows of the prefix buf[from..to), which is not below that of the last call. */
  covers(buf: Uint8Array, from: number, to: number): boolean {
    for (let i = 0; i < this.#levels.length; i++) {
      const level = this.#levels[i]!;
      let at = this.#at[i]!;
      while (at < level.length && before(level[at]!.maxKey, buf, from, to)) at++;
      this.#at[i] = at;
      if (at === level.length) continue;
      const { minKey } = level[at]!;
      if (compareRange(minKey, 0, minKey.length - seqBytes, buf, from, to) <= 0) return true;
    }
    return false;
  }
}

function before(maxKey: Uint8Array, buf: Uint8Array, from: number, to: number): boolean {
  return compareRange(maxKey, 0, maxKey.length - seqBytes, buf, from, to) < 0;
}
