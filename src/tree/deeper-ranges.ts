/** The key ranges that lie below a merge: what a delete marker may still have to hide. */
import { compareRange } from '../base/bytes.ts';
import { seqBytes } from '../format/internal-key.ts';
import { trees } from '../format/trees.ts';
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
  /** Bytes of a key behind what all versions of a row share. */
  readonly #tail: number;

  /** `tables`: all tables of the tree; those below `outputLevel` count. */
  constructor(tables: readonly LeveledRange[], outputLevel: number) {
    this.#tail = tables[0]?.tree === trees.C ? 0 : seqBytes;
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
      while (at < level.length && this.#compare(level[at]!.maxKey, buf, from, to) < 0) at++;
      this.#at[i] = at;
      if (at === level.length) continue;
      if (this.#compare(level[at]!.minKey, buf, from, to) <= 0) return true;
    }
    return false;
  }

  #compare(key: Uint8Array, buf: Uint8Array, from: number, to: number): number {
    return compareRange(key, 0, key.length - this.#tail, buf, from, to);
  }
}
