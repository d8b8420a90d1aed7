/**
 * The indexes of a store, in memory: definitions by space and name, and numbers whose entries are being
 * removed. Read once at open; afterwards each change is noted in the turn that sequences its rows.
 *
 * Invariants (test/engine/index-model.test.ts, test/engine/indexes.test.ts)
 * - What is in the book is what its rows say: loading them gives the same ("queries equal a filter over all
 *   keys", which reopens in between).
 * - A number is given to one index for ever ("indexes of a space go with it, and a new space of that name has
 *   none").
 */

import { assert } from '../base/assert.ts';
import type { Seq } from '../base/brands.ts';
import { compareBytes, encodeUtf8, prefixEnd, toHex } from '../base/bytes.ts';
import {
  decodeIndexRow,
  decodeNextIndex,
  encodeIndexRow,
  encodeNextIndex,
  type IndexRow,
  indexAtKey,
  indexAtPrefix,
  indexDropKey,
  indexDropPrefix,
  indexRowKey,
  indexRowPrefix,
  indexStates,
  nextIndexKey,
  numberedIndex,
} from '../format/index-rows.ts';
import { decodeSysKey, encodeSysPrefix } from '../format/internal-key.ts';
import { rowKindAt, rowKinds } from '../format/row-kinds.ts';
import { OK, settle } from '../tree/cursor.ts';
import type { KeyTree } from '../tree/key-tree.ts';
import type { LostTables } from '../tree/lost-tables.ts';
import type { IndexSpec } from './definition.ts';

/** A system row to be written, or removed where it has no value. */
export interface BookRow {
  readonly key: Uint8Array;
  readonly value: Uint8Array | undefined;
}

/** A change: rows for the transaction that makes it, then `apply` in the turn that sequences them. */
export interface BookChange {
  readonly rows: readonly BookRow[];
  readonly apply: () => void;
}

export class IndexBook {
  readonly #bySpace = new Map<number, Map<string, IndexRow>>();
  readonly #dropping = new Set<number>();
  /** Last key whose entries a build has made, by index. */
  readonly #builtTo = new Map<number, Uint8Array>();
  #maintained = new Map<number, readonly IndexRow[]>();
  #next = 1;
  #lost: LostTables | undefined;

  /** Reads all rows from the system tree. VARVE_CORRUPT, VARVE_FORMAT_VERSION. */
  async load(system: KeyTree): Promise<void> {
    this.#lost = system.lost;
    await readRows(system, indexRowPrefix, (key, value) => this.#set(decodeIndexRow(key, value)));
    await readRows(system, indexAtPrefix, (key, value) => {
      this.#builtTo.set(numberedIndex(indexAtPrefix, key), value);
    });
    await readRows(system, indexDropPrefix, (key) => {
      this.#dropping.add(numberedIndex(indexDropPrefix, key));
    });
    await readRows(system, nextIndexKey, (key, value) => {
      if (key.length === nextIndexKey.length) this.#next = decodeNextIndex(value);
    });
  }

  /** No space has an index. */
  get isEmpty(): boolean {
    return this.#maintained.size === 0;
  }

  /** The indexes that writers of a space keep up: those that are ready or being built. */
  maintained(space: number): readonly IndexRow[] {
    return this.#maintained.get(space) ?? none;
  }

  /** The index of that name. VARVE_CORRUPT where a damaged table may have it. */
  get(space: number, name: string): IndexRow | undefined {
    const row = this.#bySpace.get(space)?.get(name);
    if (row === undefined) this.#lost?.refuseRange(indexRowPrefix, prefixEnd(indexRowPrefix));
    return row;
  }

  /** The index as it is now, if it is still the one with that number. */
  current({ space, name, index }: IndexRow): IndexRow | undefined {
    const row = this.get(space, name);
    return row?.index === index ? row : undefined;
  }

  /** The indexes of a space, by name. */
  list(space: number): IndexRow[] {
    const rows = Array.from(this.#bySpace.get(space)?.values() ?? []);
    return rows.sort((a, b) => compareBytes(encodeUtf8(a.name), encodeUtf8(b.name)));
  }

  /** Some index that is being built: the one defined first. */
  get building(): IndexRow | undefined {
    let first: IndexRow | undefined;
    for (const rows of this.#bySpace.values()) {
      for (const row of rows.values()) {
        if (row.state !== indexStates.building) continue;
        if (first === undefined || row.index < first.index) first = row;
      }
    }
    return first;
  }

  /** Some number whose entries are to be removed. */
  get dropping(): number | undefined {
    for (const index of this.#dropping) return index;
    return undefined;
  }

  builtTo(index: number): Uint8Array | undefined {
    return this.#builtTo.get(index);
  }

  /** Defines an index, in the place of the one of that name. `seq`: the number of the transaction. */
  define(space: number, { name, kind, unique, on }: IndexSpec, seq: Seq): BookChange {
    const index = this.#next;
    const state = indexStates.building;
    const row: IndexRow = {
      space,
      name,
      index,
      kind,
      unique,
      state,
      definedSeq: seq,
      readySeq: 0,
      on,
      reason: undefined,
    };
    const before = this.get(space, name);
    const removed = before === undefined ? [] : removal(before.index);
    const next = { key: nextIndexKey, value: encodeNextIndex(index + 1) };
    return {
      rows: [...removed, { key: indexRowKey(space, name), value: encodeIndexRow(row) }, next],
      apply: () => {
        if (before !== undefined) this.#removed(before.index);
        this.#next = index + 1;
        this.#set(row);
      },
    };
  }

  /** Drops indexes: their entries are removed in the background. */
  drop(rows: readonly IndexRow[]): BookChange {
    const definitions = rows.map(({ space, name }) => ({ key: indexRowKey(space, name), value: undefined }));
    return {
      rows: [...definitions, ...rows.flatMap(({ index }) => removal(index))],
      apply: () => {
        for (const { space, name, index } of rows) {
          this.#bySpace.get(space)?.delete(name);
          this.#removed(index);
          this.#count(space);
        }
      },
    };
  }

  /** The build of an index has come to the key with that row prefix (taken). */
  advance({ index }: IndexRow, to: Uint8Array): BookChange {
    return {
      rows: [{ key: indexAtKey(index), value: to }],
      apply: () => this.#builtTo.set(index, to),
    };
  }

  /** The build has ended well at `readySeq`, or it cannot for `reason`. */
  finish(row: IndexRow, outcome: { readySeq: Seq } | { reason: string }): BookChange {
    const isReady = 'readySeq' in outcome;
    const ended: IndexRow = {
      ...row,
      state: isReady ? indexStates.ready : indexStates.failed,
      readySeq: isReady ? outcome.readySeq : 0,
      reason: isReady ? undefined : outcome.reason,
    };
    const definition = { key: indexRowKey(row.space, row.name), value: encodeIndexRow(ended) };
    const at = this.#builtTo.has(row.index) ? [{ key: indexAtKey(row.index), value: undefined }] : [];
    return {
      rows: [definition, ...at],
      apply: () => {
        this.#builtTo.delete(row.index);
        this.#set(ended);
      },
    };
  }

  /** All entries of a number are gone. */
  emptied(index: number): BookChange {
    return {
      rows: [{ key: indexDropKey(index), value: undefined }],
      apply: () => this.#dropping.delete(index),
    };
  }

  #removed(index: number): void {
    this.#dropping.add(index);
    this.#builtTo.delete(index);
  }

  #set(row: IndexRow): void {
    const { space, name } = row;
    const rows = this.#bySpace.get(space) ?? new Map<string, IndexRow>();
    this.#bySpace.set(space, rows.set(name, row));
    assert(row.index > 0, 'numbers of indexes begin at 1');
    this.#next = Math.max(this.#next, row.index + 1);
    this.#count(space);
  }

  #count(space: number): void {
    const rows = this.list(space).filter(({ state }) => state !== indexStates.failed);
    if (rows.length > 0) this.#maintained.set(space, rows);
    else this.#maintained.delete(space);
  }
}

const none: readonly IndexRow[] = [];

function removal(index: number): BookRow[] {
  return [
    { key: indexDropKey(index), value: new Uint8Array(0) },
    { key: indexAtKey(index), value: undefined },
  ];
}

/** The newest version of each row whose key begins with `prefix`; value without its kind, both copies. */
async function readRows(
  system: KeyTree,
  prefix: Uint8Array,
  take: (key: Uint8Array, value: Uint8Array) => void,
): Promise<void> {
  const from = encodeSysPrefix(prefix).subarray(0, prefix.length);
  const to = prefixEnd(from)!;
  const view = system.view();
  try {
    const cursor = view.cursor();
    let last = '';
    let step = await settle(cursor, () => cursor.seek(from));
    while (step === OK) {
      const key = cursor.keyBytes.slice(cursor.keyFrom, cursor.keyTo);
      if (compareBytes(key, to) >= 0) break;
      const { sysKey } = decodeSysKey(key, 0, key.length, { file: 'system tree' });
      const name = toHex(sysKey);
      const { valueBytes, valueFrom, valueTo } = cursor;
      // Versions of a row come newest first: the first one counts.
      if (name !== last && rowKindAt(valueBytes, valueFrom) === rowKinds.put) {
        take(sysKey, valueBytes.slice(valueFrom + 1, valueTo));
      }
      last = name;
      step = await settle(cursor, () => cursor.next());
    }
  } finally {
    view.release();
  }
}
