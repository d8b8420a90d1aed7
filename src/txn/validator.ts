/**
 * Decides whether a transaction may commit: nothing it depends on has a version above its view, groups in
 * flight included. No lock is taken and nobody is made to wait.
 *
 *   watch what is sequenced from here on -> look at the newest row of every key, and at the rows of every
 *   range
 *   -> in the turn of the commit: nothing that was sequenced meanwhile changed any of it
 *
 * Where memory has all that is looked at, the first look is made in the turn of the commit and is the only
 * one. Else it may read the disk; tables without a row above the view are skipped. A range delete counts as
 * a version of every key it covers.
 *
 * Invariants (test/txn/validator.test.ts, test/txn/histories.test.ts)
 * - What commits has seen the newest sequenced state of everything it claims ("histories of serializable
 *   transactions have no cycle").
 * - A commit that is refused has done nothing.
 */
import type { Seq } from '../base/brands.ts';
import { compareRange } from '../base/bytes.ts';
import { VarveError } from '../base/errors.ts';
import { validationRowsPerTurn, validationTriesMax } from '../base/limits.ts';
import { seqOf } from '../format/internal-key.ts';
import { type KeyCursor, MISS, OK, settle } from '../tree/cursor.ts';
import type { Forest } from '../tree/forest.ts';
import type { KeyTree } from '../tree/key-tree.ts';
import { RowRef } from '../tree/row-ref.ts';
import type { Claims, PrefixRange } from './claims.ts';
import type { TxnWriter } from './txn-writer.ts';

export interface ValidatorOptions {
  readonly forest: Forest;
  readonly txn: TxnWriter;
  /** The highest number sequenced, and the highest that readers see. */
  readonly log: { readonly lastSeq: Seq; readonly visibleSeq: Seq };
  /** Lets the event loop turn while many rows are looked at. */
  readonly turn: () => Promise<void>;
  /** Test-only: leaves out a part of the protocol, to show that the checkers notice. */
  readonly weakened?: 'in flight ignored' | 'no second look' | 'ranges ignored' | undefined;
}

export class Validator {
  readonly #options: ValidatorOptions;
  readonly #row = new RowRef();

  constructor(options: ValidatorOptions) {
    this.#options = options;
  }

  /**
   * Runs `commit` in the turn in which nothing of `claims` is found to be changed above `view`.
   * VARVE_CONFLICT when something is, or when others write so much that nobody can tell.
   */
  async run<T>(claims: Claims, view: Seq, commit: () => T): Promise<T> {
    const { txn, log, weakened } = this.#options;
    if (log.lastSeq === view) return commit();
    if (weakened === undefined && this.#lookNow(claims, view)) return commit();
    for (let tries = 0; tries < validationTriesMax; tries++) {
      const watch = txn.watch();
      try {
        await this.#look(claims, view);
        if (weakened === 'no second look') {
          await this.#options.turn();
          return commit();
        }
        if (watch.meets(claims)) throw conflict();
        if (!watch.overflowed) return commit();
      } finally {
        txn.unwatch(watch);
      }
    }
    throw new VarveError('VARVE_CONFLICT', 'too much is being written to validate the transaction');
  }

  /**
   * The whole look in this turn, where memory has what it needs and ranges are short; false: it must wait.
   * Most transactions are decided here.
   */
  #lookNow(claims: Claims, view: Seq): boolean {
    const { keys, indexes, ranges } = this.#options.forest;
    const row = this.#row;
    for (const prefix of claims.keys.values()) {
      const step = keys.find(prefix, 0, prefix.length, Number.MAX_SAFE_INTEGER, row);
      if (step === MISS) return false;
      if (step === OK && row.seq > view) throw conflict();
      if (ranges.current.hides(prefix, 0, prefix.length, view, Number.MAX_SAFE_INTEGER)) throw conflict();
    }
    for (const { from, to } of claims.ranges) if (ranges.current.meets(from, to, view)) throw conflict();
    const left = { rows: validationRowsPerTurn };
    return (
      claims.ranges.every((range) => isUnchangedNow(keys, range, view, left)) &&
      claims.entries.every((range) => isUnchangedNow(indexes, range, view, left))
    );
  }

  async #look(claims: Claims, view: Seq): Promise<void> {
    for (const prefix of claims.keys.values()) await this.#lookAtKey(prefix, view);
    if (this.#options.weakened === 'ranges ignored') return;
    const { keys, indexes, ranges } = this.#options.forest;
    for (const range of claims.ranges) {
      if (ranges.current.meets(range.from, range.to, view)) throw conflict();
      await this.#lookAtRange(keys, range, view);
    }
    // What a range delete takes out of an index, the transaction has met as keys.
    for (const range of claims.entries) await this.#lookAtRange(indexes, range, view);
  }

  async #lookAtKey(prefix: Uint8Array, view: Seq): Promise<void> {
    const { keys, ranges } = this.#options.forest;
    const row = new RowRef();
    const step = await keys.findAsync(prefix, 0, prefix.length, this.#seqMax, row);
    if (step === OK && row.seq > view) throw conflict();
    if (ranges.current.hides(prefix, 0, prefix.length, view, this.#seqMax)) throw conflict();
  }

  async #lookAtRange(tree: KeyTree, { from, to }: PrefixRange, above: Seq): Promise<void> {
    const view = tree.viewAbove(above);
    try {
      const cursor = view.cursor();
      let step = await settle(cursor, () => cursor.seek(from));
      for (let rows = 1; step === OK; rows++) {
        if (!isBelow(cursor, to)) return;
        const seq = seqOf(cursor.keyBytes, cursor.keyTo);
        if (seq > above && seq <= this.#seqMax) throw conflict();
        if (rows % validationRowsPerTurn === 0) await this.#options.turn();
        step = await settle(cursor, () => cursor.next());
      }
    } finally {
      view.release();
    }
  }

  get #seqMax(): Seq {
    const { weakened, log } = this.#options;
    return weakened === 'in flight ignored' ? log.visibleSeq : Number.MAX_SAFE_INTEGER;
  }
}

/** False: it must wait. VARVE_CONFLICT when a row of the range is above the view. */
function isUnchangedNow(
  tree: KeyTree,
  { from, to }: PrefixRange,
  view: Seq,
  left: { rows: number },
): boolean {
  const sources = tree.viewAbove(view);
  try {
    const cursor = sources.cursor();
    let step = cursor.seek(from);
    for (; step === OK; step = cursor.next()) {
      if (!isBelow(cursor, to)) break;
      if (seqOf(cursor.keyBytes, cursor.keyTo) > view) throw conflict();
      if (--left.rows < 0) return false;
    }
    return step !== MISS;
  } finally {
    sources.release();
  }
}

function isBelow({ keyBytes, keyFrom, keyTo }: KeyCursor, to: Uint8Array | undefined): boolean {
  return to === undefined || compareRange(keyBytes, keyFrom, keyTo, to, 0, to.length) < 0;
}

/** VARVE_CONFLICT: something the transaction has read, or writes, is not what it was. */
export function conflict(): VarveError {
  return new VarveError(
    'VARVE_CONFLICT',
    'something the transaction depends on was changed after it began; run it again',
  );
}
