/** The system rows a repair makes anew where some of them, or rows of the key tree, are lost. */

import type { Seq } from '../base/brands.ts';
import { concatBytes, startsWith } from '../base/bytes.ts';
import { isDamage } from '../base/errors.ts';
import {
  decodeIndexRow,
  encodeIndexRow,
  type IndexRow,
  indexAtPrefix,
  indexRowKey,
  indexRowPrefix,
  indexStates,
} from '../format/index-rows.ts';
import { decodeSysKey, encodeSysKey, encodeSysPrefix, seqBytes, spaceOf } from '../format/internal-key.ts';
import { rowKindAt, rowKinds } from '../format/row-kinds.ts';
import { usedPrefix } from '../format/space-rules.ts';
import {
  decodeNextSpace,
  decodeRangeRow,
  decodeSpaceRow,
  encodeSpaceRow,
  isRangeKey,
  nextSpaceKey,
  type RangeRow,
  spaceKey,
  spacePrefix,
  trashKey,
  trashPrefix,
} from '../format/system-rows.ts';
import { recordForm, recordForms, recordKind } from '../format/value-record.ts';
import type { KeyCursor, RowSource } from '../tree/cursor.ts';
import { KeyMemtable } from '../tree/key-memtable.ts';
import { type WalkedRow, walkRows } from './key-walk.ts';

/** What the system tree says, its newest rows. */
export interface SystemRows {
  readonly spaces: ReadonlyMap<number, string>;
  readonly nextSpace: number;
  readonly ranges: readonly RangeRow[];
  readonly indexes: readonly IndexRow[];
}

export async function readSystem(
  rows: RowSource,
  pause: () => Promise<void> | undefined,
): Promise<SystemRows> {
  const spaces = new Map<number, string>();
  const ranges: RangeRow[] = [];
  const indexes: IndexRow[] = [];
  let nextSpace = 1;
  await walkRows(
    rows,
    ({ keyBytes, keyFrom, keyTo, valueBytes, valueFrom, valueTo, newerSeq }) => {
      if (newerSeq !== 0 || rowKindAt(valueBytes, valueFrom) !== rowKinds.put) return;
      const { sysKey } = decodeSysKey(keyBytes, keyFrom, keyTo);
      const value = valueBytes.slice(valueFrom + 1, valueTo);
      try {
        if (isRangeKey(sysKey)) ranges.push(decodeRangeRow(sysKey, value));
        else if (startsWith(sysKey, spacePrefix)) {
          const { name, number } = decodeSpaceRow(sysKey, value);
          spaces.set(number, name);
          nextSpace = Math.max(nextSpace, number + 1);
        } else if (startsWith(sysKey, indexRowPrefix)) indexes.push(decodeIndexRow(sysKey, value));
        else if (sysKey.length === nextSpaceKey.length && startsWith(sysKey, nextSpaceKey)) {
          nextSpace = Math.max(nextSpace, decodeNextSpace(value));
        }
      } catch (error) {
        // A row of a wrong shape under a right checksum: whoever reads it says so.
        if (!isDamage(error)) throw error;
      }
    },
    pause,
  );
  return { spaces, nextSpace, ranges, indexes };
}

const trashFrom: Uint8Array = encodeSysPrefix(trashPrefix).subarray(0, trashPrefix.length);

/** True for the rows that `SystemRepair` makes anew. */
export function isTrashRow({ keyBytes, keyFrom, keyTo }: KeyCursor): boolean {
  return startsWith(keyBytes.subarray(keyFrom, keyTo), trashFrom);
}

const buildFrom: Uint8Array = encodeSysPrefix(indexAtPrefix).subarray(0, indexAtPrefix.length);

const usedFrom: Uint8Array = encodeSysPrefix(usedPrefix).subarray(0, usedPrefix.length);

/**
 * True for the rows that say how far an index is built, and what a space with a quota takes: the next open
 * begins both anew.
 */
export function isBuildRow({ keyBytes, keyFrom, keyTo }: KeyCursor): boolean {
  const key = keyBytes.subarray(keyFrom, keyTo);
  return startsWith(key, buildFrom) || startsWith(key, usedFrom);
}

/**
 * Rows made from the key tree: one for each superseded version that holds chunks, by which they are given
 * back one day, and a name for each space that has lost its own. What an old row of the first kind says may
 * be wrong where rows are lost: it may name the version that is now the newest.
 */
export class SystemRepair {
  readonly memtable: KeyMemtable = new KeyMemtable({ bytesMax: 2 ** 30 });
  readonly #spaces = new Set<number>();
  trash = 0;

  /** Takes in a row of the key tree. */
  row({ keyBytes, keyFrom, keyTo, valueBytes, valueFrom, seq, newerSeq, isGone }: WalkedRow): void {
    this.#spaces.add(spaceOf(keyBytes, keyFrom));
    if (newerSeq === 0 || isGone || recordKind(valueBytes, valueFrom) !== rowKinds.put) return;
    if (recordForm(valueBytes, valueFrom) === recordForms.inline) return;
    this.#add(trashKey(newerSeq, keyBytes.slice(keyFrom, keyTo - seqBytes), seq), newerSeq, undefined);
    this.trash++;
  }

  /** Names the spaces that have keys and no name; returns the names given. */
  nameSpaces({ spaces, nextSpace }: SystemRows, seq: Seq): string[] {
    const given: string[] = [];
    const taken = new Set(spaces.values());
    let next = nextSpace;
    for (const number of Array.from(this.#spaces).sort((a, b) => a - b)) {
      next = Math.max(next, number + 1);
      if (number === 0 || spaces.has(number)) continue;
      let name = `recovered-${number}`;
      while (taken.has(name)) name += '-';
      given.push(name);
      this.#add(spaceKey(name), seq, encodeSpaceRow(number));
    }
    if (next > nextSpace || given.length > 0) this.#add(nextSpaceKey, seq, encodeSpaceRow(next));
    return given;
  }

  /** Every index is to be built from the rows that are there now; returns their names. */
  rebuildIndexes({ indexes }: SystemRows, seq: Seq): string[] {
    for (const row of indexes) {
      const again = { ...row, state: indexStates.building, definedSeq: seq, readySeq: 0, reason: undefined };
      this.#add(indexRowKey(row.space, row.name), seq, encodeIndexRow(again));
    }
    return indexes.map(({ name }) => name);
  }

  #add(sysKey: Uint8Array, seq: Seq, value: Uint8Array | undefined): void {
    const key = encodeSysKey(sysKey, seq);
    const marker = Uint8Array.of(rowKinds.put);
    const row = value === undefined ? marker : concatBytes([marker, value]);
    this.memtable.insert(key, 0, key.length, row, 0, row.length);
  }
}
