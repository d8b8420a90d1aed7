/**
 * What is sequenced while a transaction is being validated: every key written and every range deleted, of
 * all commits since the watch began. Memory is bounded; a watch that overflows says so and is begun again.
 *
 * Invariants (test/txn/validator.test.ts)
 * - Every key and range that a commit changes is noted, by whatever way it was sequenced ("a watch notes
 *   every way of writing").
 */
import type { Seq } from '../base/brands.ts';
import { watchedKeysMax } from '../base/limits.ts';
import type { OpVisitor } from '../format/log-ops.ts';
import { decodeRangeRow, isRangeKey } from '../format/system-rows.ts';
import { type TreeId, trees } from '../format/trees.ts';
import type { Claims, PrefixRange } from './claims.ts';

export class CommitWatch implements OpVisitor {
  readonly #keys: Uint8Array[] = [];
  readonly #entries: Uint8Array[] = [];
  readonly #ranges: PrefixRange[] = [];
  readonly #most: number;
  // None of these changes what readers see of a key.
  readonly chunk = nothing;
  readonly move = nothing;
  readonly trash = nothing;
  readonly purge = nothing;
  readonly listDrop = nothing;
  /** Something was not noted. */
  overflowed = false;

  /** `most`: keys, entries of indexes and ranges noted. */
  constructor(most: number = watchedKeysMax) {
    this.#most = most;
  }

  /** A commit since the watch began has changed something of `claims`. */
  meets(claims: Claims): boolean {
    if (this.#keys.some((prefix) => claims.holdsKey(prefix))) return true;
    if (this.#entries.some((prefix) => claims.holdsEntry(prefix))) return true;
    return this.#ranges.some((range) => claims.meetsRange(range));
  }

  put(tree: TreeId, _seq: Seq, buf: Uint8Array, keyFrom: number, keyTo: number): void {
    this.#note(tree, buf, keyFrom, keyTo);
  }

  /** A late delete changes nothing: its range was a change when it was deleted. */
  del(tree: TreeId, _seq: Seq, buf: Uint8Array, keyFrom: number, keyTo: number, covering: Seq): void {
    if (covering === 0) this.#note(tree, buf, keyFrom, keyTo);
  }

  sys(_seq: Seq, buf: Uint8Array, keyFrom: number, keyTo: number, valueFrom: number, valueTo: number): void {
    const key = buf.subarray(keyFrom, keyTo);
    if (valueTo < 0 || !isRangeKey(key)) return;
    if (this.#isFull()) return;
    this.#ranges.push(decodeRangeRow(key.slice(), buf.subarray(valueFrom, valueTo)));
  }

  #note(tree: TreeId, buf: Uint8Array, from: number, to: number): void {
    if (tree !== trees.K && tree !== trees.X) return;
    if (!this.#isFull()) (tree === trees.K ? this.#keys : this.#entries).push(buf.slice(from, to));
  }

  #isFull(): boolean {
    if (this.#keys.length + this.#entries.length + this.#ranges.length >= this.#most) this.overflowed = true;
    return this.overflowed;
  }
}

const nothing = (): void => undefined;
