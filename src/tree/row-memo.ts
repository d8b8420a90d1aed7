/**
 * Where lookups have found rows in the tables of a tree, so that the next lookup of the same key goes to the
 * block without asking filters and indexes. It says nothing about memtables, which are asked before it.
 *
 * One slot for each value of a part of the hash: a row found later takes the place of the one before. A slot
 * has the whole row prefix, so two keys are never taken for one another.
 *
 * Invariants (test/tree/row-memo.test.ts)
 * - Lookups answer the same with it and without ("lookups answer as without it, whatever is inserted, flushed
 *   and merged").
 * - A slot answers for the key it was written for only ("keys of one slot are told apart").
 * - It takes no more than its budget ("the budget bounds it").
 */
import { mix32 } from '../codec/key-hash.ts';

/** Longer row prefixes are not remembered. */
const keyBytesMax = 48;
const fields = 8;
/** Bytes of memory of a slot. */
export const memoSlotBytes: number = 4 * fields + keyBytesMax;

const at = { hash: 0, keyLength: 1, table: 2, block: 3, valueFrom: 4, valueTo: 5, seqHigh: 6, seqLow: 7 };

/** Places of rows; positions are those of `slotOf`. */
export class RowMemo {
  readonly #slots: number;
  /** Made when the first row is noted. */
  #words: Uint32Array = new Uint32Array(0);
  #keys: Uint8Array = new Uint8Array(0);
  #isEmpty = true;

  /** `budget` in bytes; 0 remembers nothing. */
  constructor(budget: number) {
    this.#slots = Math.floor(budget / memoSlotBytes);
  }

  /** Bytes of memory. */
  get bytes(): number {
    return this.#words.byteLength + this.#keys.length;
  }

  /** The slot that has the key with this hash (codec/key-hash.ts); -1 when none has. */
  slotOf(hash: number, key: Uint8Array, from: number, to: number): number {
    if (this.#isEmpty) return -1;
    const slot = this.#place(hash);
    const words = this.#words;
    const base = slot * fields;
    const length = to - from;
    if (words[base] !== hash || words[base + at.keyLength] !== length) return -1;
    const keys = this.#keys;
    let own = slot * keyBytesMax;
    for (let i = from; i < to; i++) if (keys[own++] !== key[i]) return -1;
    return slot;
  }

  table(slot: number): number {
    return this.#words[slot * fields + at.table]!;
  }

  block(slot: number): number {
    return this.#words[slot * fields + at.block]!;
  }

  valueFrom(slot: number): number {
    return this.#words[slot * fields + at.valueFrom]!;
  }

  valueTo(slot: number): number {
    return this.#words[slot * fields + at.valueTo]!;
  }

  seq(slot: number): number {
    const base = slot * fields;
    return this.#words[base + at.seqHigh]! * 2 ** 32 + this.#words[base + at.seqLow]!;
  }

  /** Remembers the newest row of a key (copied): its table, its block there, and its value in the block. */
  note(
    hash: number,
    key: Uint8Array,
    from: number,
    to: number,
    table: number,
    block: number,
    valueFrom: number,
    valueTo: number,
    seq: number,
  ): void {
    const length = to - from;
    if (length === 0 || length > keyBytesMax || this.#slots === 0) return;
    if (this.#words.length === 0) {
      this.#words = new Uint32Array(this.#slots * fields);
      this.#keys = new Uint8Array(this.#slots * keyBytesMax);
    }
    this.#isEmpty = false;
    const slot = this.#place(hash);
    const words = this.#words;
    const base = slot * fields;
    words[base] = hash;
    words[base + at.keyLength] = length;
    words[base + at.table] = table;
    words[base + at.block] = block;
    words[base + at.valueFrom] = valueFrom;
    words[base + at.valueTo] = valueTo;
    words[base + at.seqHigh] = Math.floor(seq / 2 ** 32);
    words[base + at.seqLow] = seq % 2 ** 32;
    const keys = this.#keys;
    let own = slot * keyBytesMax;
    for (let i = from; i < to; i++) keys[own++] = key[i]!;
  }

  /** Forgets every row: after a change of the tables. */
  clear(): void {
    if (this.#isEmpty) return;
    this.#words.fill(0);
    this.#isEmpty = true;
  }

  /** Filters take the bits of the hash as they are; mixed again, keys of one bucket spread. */
  #place(hash: number): number {
    return Math.floor((mix32(hash) * this.#slots) / 2 ** 32);
  }
}
