/** What an audit finds in a store's tables. */
import type { RowBounds } from './ranges.ts';

/** One row of the key tree: a version of a key or its deletion. */
export interface Row {
  readonly seq: number;
  readonly space: number;
  /** User key, hex. */
  readonly key: string;
  readonly isPut: boolean;
  /** Its value lies in chunks. */
  readonly hasChunks: boolean;
  /** The call that put it, or minus what a counter put; undefined for a removal. */
  readonly id: number | undefined;
  /** Checksum of the stored record. */
  readonly record: bigint;
  /** When it was committed, by the clock of the store; range deletes have none. */
  readonly ms?: number;
  readonly expires?: number | undefined;
  /** It carries out a range delete, under the number of that. */
  readonly isLate?: boolean;
  /** It is no row of a key but the range delete of that commit. */
  readonly range?: RowBounds;
}

export interface Audit {
  /**
   * Every row that a table of the key tree ever held, and every range delete, by sequence number, then key.
   */
  readonly rows: readonly Row[];
  /** Late deletes that a table ever held, in the same order. */
  readonly late: readonly Row[];
  /** Rows and late deletes that a table holds now, and range deletes that are not carried out. */
  readonly present: ReadonlySet<Row>;
  /** Names of spaces that were dropped, by the commit. */
  readonly drops: ReadonlyMap<number, string>;
  /** The version was purged: a table held its GONE row. */
  readonly isPurged: (row: Row) => boolean;
  /** What is wrong, in words; empty for a sound store. */
  readonly problems: readonly string[];
}
