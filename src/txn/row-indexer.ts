/** What keeps secondary indexes beside the rows of a transaction; made above, where definitions are known. */
import type { ByteWriter } from '../codec/byte-writer.ts';
import type { ValueRecord } from '../format/value-record.ts';

/** One transaction at a time: `begin`, `note` for each key, `encode`. All in the turn that sequences it. */
export interface RowIndexer {
  /** No space has an index: nothing is to be noted. */
  readonly isIdle: boolean;
  /** Rows with this row prefix have indexes. */
  covers(prefix: Uint8Array): boolean;
  /** A transaction begins; one that was given up is forgotten. */
  begin(timeMs: number): void;
  /**
   * A key goes from one version to another; undefined where there is none. All arguments are borrowed for the
   * call. VARVE_INVALID_ARGUMENT when the new version cannot be indexed.
   */
  note(prefix: Uint8Array, before: ValueRecord | undefined, after: ValueRecord | undefined): void;
  /** Appends the ops of the entries. VARVE_CONFLICT when a unique index has a value already. */
  encode(writer: ByteWriter): void;
}
