/**
 * Tables a catalog names that could not be opened. What they held is unknown, so a read that one of them
 * could have answered differently is refused: an older version, or none, must not pass for the newest.
 *
 * Invariants (test/tree/lost-tables.test.ts):
 * - a lookup is refused exactly where a lost table's range holds the key and its rows may be newer than what
 *   was found;
 * - a range is refused where it overlaps a lost table.
 */
import { compareBytes, compareRange } from '../base/bytes.ts';
import { corrupt, type VarveError } from '../base/errors.ts';
import type { CatalogTable } from '../format/catalog.ts';
import { filePath } from '../format/file-names.ts';
import { seqBytes } from '../format/internal-key.ts';

export class LostTables {
  readonly #tables: readonly CatalogTable[];

  constructor(tables: readonly CatalogTable[]) {
    this.#tables = tables;
  }

  get any(): boolean {
    return this.#tables.length > 0;
  }

  /** VARVE_CORRUPT when a row of the prefix between `foundSeq` (0 = none found) and `seqMax` may be lost. */
  refuseKey(prefixBuf: Uint8Array, from: number, to: number, foundSeq: number, seqMax: number): void {
    for (const table of this.#tables) {
      const { minKey, maxKey, minSeq, maxSeq } = table;
      if (maxSeq <= foundSeq || minSeq > seqMax) continue;
      if (compareRange(prefixBuf, from, to, minKey, 0, minKey.length - seqBytes) < 0) continue;
      if (compareRange(prefixBuf, from, to, maxKey, 0, maxKey.length - seqBytes) > 0) continue;
      throw refusal(table);
    }
  }

  /** VARVE_CORRUPT when rows of the range from <= key < to (undefined = the end) may be lost. */
  refuseRange(from: Uint8Array, to: Uint8Array | undefined): void {
    for (const table of this.#tables) {
      if (compareBytes(table.maxKey, from) < 0) continue;
      if (to !== undefined && compareBytes(table.minKey, to) >= 0) continue;
      throw refusal(table);
    }
  }
}

function refusal({ no }: CatalogTable): VarveError {
  return corrupt('a damaged table may hold a newer version; see health()', { file: filePath('tab', no) });
}
