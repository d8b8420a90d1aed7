/** What goes with a transaction and what is known of it once it is sequenced. */
import type { Seq } from '../base/brands.ts';
import type { GroupEnd } from '../log/group-end.ts';

/** A system row that goes with a transaction. */
export interface SysOp {
  readonly key: Uint8Array;
  /** Undefined: the row is deleted. */
  readonly value: Uint8Array | undefined;
}

/** A transaction that has its number. */
export class Committed {
  readonly seq: Seq;
  /** How many of the deletes found something. */
  readonly deleted: number;
  readonly #end: GroupEnd;

  constructor(seq: Seq, deleted: number, end: GroupEnd) {
    this.seq = seq;
    this.deleted = deleted;
    this.#end = end;
  }

  /** Settles when the transaction is as durable as the mode says; readers see it then. */
  get done(): Promise<void> {
    return this.#end.promise;
  }
}
