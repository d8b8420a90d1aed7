/**
 * What a batch is to do, checked whole before anything is done: of several operations on one key the last one
 * counts.
 *
 * Invariants (test/engine/batch-plan.test.ts)
 * - Keys of a plan differ, and each has its last operation ("a plan has the last operation of every key").
 */
import { compareRange } from '../../base/bytes.ts';
import { invalid } from '../../base/errors.ts';
import { ttlMsMax } from '../../base/limits.ts';
import { checkFlags, checkNames } from '../../base/names.ts';
import { hashKey32 } from '../../codec/key-hash.ts';
import { encodeMetadata } from '../../format/metadata.ts';
import { recordForms } from '../../format/value-record.ts';
import type { WriteOp } from '../../txn/txn-writer.ts';
import { rowPrefix, wholeBytes } from '../key-args.ts';
import { KeyScratch } from '../key-scratch.ts';
import type { BatchOperation, Bytes, PutOptions } from '../types.ts';

const batchPutNames = [
  ...['type', 'key', 'value', 'metadata', 'contentType', 'tags', 'ifSeq', 'sha256', 'ttlMs'],
] as const;

/** One operation of a batch. */
export interface Planned {
  readonly prefix: Uint8Array;
  /** Absent for a delete. */
  readonly put?: PlannedPut;
}

export interface PlannedPut {
  /** The caller's own array where `isBorrowed`. */
  value: Uint8Array;
  readonly isBorrowed: boolean;
  readonly options: PutOptions;
  readonly metadata: Uint8Array | undefined;
}

/** Checks every operation; values are borrowed until `own`. VARVE_INVALID_ARGUMENT for a wrong one. */
export function planBatch(space: number, operations: readonly BatchOperation[]): Planned[] {
  const prefixes = new Prefixes(space, operations.length);
  const planned: (Planned | undefined)[] = [];
  for (const operation of operations) {
    if (typeof operation !== 'object' || operation === null) throw invalid('a batch operation is an object');
    const earlier = prefixes.add(operation.key);
    if (earlier !== -1) planned[earlier] = undefined;
    planned.push(planOne(operation, prefixes.last));
  }
  return prefixes.repeated ? planned.filter((item) => item !== undefined) : (planned as Planned[]);
}

function planOne(operation: BatchOperation, prefix: Uint8Array): Planned {
  if (operation.type === 'delete') {
    checkNames(operation, ['type', 'key'], 'field');
    return { prefix };
  }
  if (operation.type !== 'put') throw invalid("a batch operation has type 'put' or 'delete'");
  checkPutOptions(operation, batchPutNames);
  const value = wholeBytes(operation.value);
  if (value === undefined) throw invalid('a batch takes strings and Uint8Arrays; give streams to put');
  const isBorrowed = value === operation.value;
  return { prefix, put: { value, isBorrowed, options: operation, metadata: encodedMetadata(operation) } };
}

/** Some put of the plan expires. */
export function expires(planned: readonly Planned[]): boolean {
  return planned.some(({ put }) => put?.options.ttlMs !== undefined);
}

/** Copies the values the caller may change, all into one array: for a batch that has to wait. */
export function own(planned: readonly Planned[]): void {
  let length = 0;
  for (const { put } of planned) if (put?.isBorrowed === true) length += put.value.length;
  const copy = new Uint8Array(length);
  let at = 0;
  for (const { put } of planned) {
    if (put?.isBorrowed !== true) continue;
    const from = at;
    at += put.value.length;
    copy.set(put.value, from);
    put.value = copy.subarray(from, at);
  }
}

/**
 * The plan as operations on rows, values borrowed; undefined when a value does not lie in its row
 * (`inlineMax`) or its SHA-256 is asked for.
 */
export function inlineOps(planned: readonly Planned[], inlineMax: number): WriteOp[] | undefined {
  const ops: WriteOp[] = [];
  for (const { prefix, put } of planned) {
    if (put === undefined) {
      ops.push({ kind: 'delete', prefix });
      continue;
    }
    const { value, metadata, options } = put;
    if (value.length > inlineMax || options.sha256 === true) return undefined;
    const body = { form: recordForms.inline, size: value.length, bytes: value };
    ops.push({ kind: 'put', prefix, body, metadata, ifSeq: options.ifSeq, ttlMs: options.ttlMs });
  }
  return ops;
}

/** Row prefixes, one behind the other in slabs, with a hash table that finds the one before of a key. */
class Prefixes {
  readonly #space: number;
  readonly #scratch = new KeyScratch();
  readonly #all: Uint8Array[] = [];
  /** Number of a prefix plus one; 0 = free. At most half of it is taken. */
  readonly #slots: Int32Array;
  #slab: Uint8Array = new Uint8Array(0);
  #used = 0;
  repeated = false;

  constructor(space: number, count: number) {
    this.#space = space;
    this.#slots = new Int32Array(2 ** Math.ceil(Math.log2(2 * count + 2)));
  }

  get last(): Uint8Array {
    return this.#all[this.#all.length - 1]!;
  }

  /** Adds the prefix of `key`; the number of the one before that equals it, or -1. */
  add(key: Parameters<typeof rowPrefix>[1]): number {
    const prefix = this.#encode(key);
    const number = this.#all.push(prefix) - 1;
    const slots = this.#slots;
    const { length } = prefix;
    for (let at = hashKey32(prefix, 0, length) & (slots.length - 1); ; at = (at + 1) & (slots.length - 1)) {
      const other = slots[at]! - 1;
      const isSame =
        other !== -1 && compareRange(prefix, 0, length, this.#all[other]!, 0, this.#all[other]!.length) === 0;
      if (other !== -1 && !isSame) continue;
      slots[at] = number + 1;
      if (isSame) this.repeated = true;
      return other;
    }
  }

  #encode(key: Parameters<typeof rowPrefix>[1]): Uint8Array {
    const length = this.#scratch.aim(this.#space, key);
    if (length === 0) return rowPrefix(this.#space, key);
    if (this.#used + length > this.#slab.length) {
      this.#slab = new Uint8Array(Math.max(slabBytes, length));
      this.#used = 0;
    }
    const from = this.#used;
    const bytes = this.#scratch.bytes;
    for (let i = 0; i < length; i++) this.#slab[from + i] = bytes[i]!;
    this.#used += length;
    return this.#slab.subarray(from, this.#used);
  }
}

const slabBytes = 16_384;

/** Checks the options of one put; `names` are those that are known where they come from. */
export function checkPutOptions(options: PutOptions, names: readonly string[]): void {
  checkNames(options, names, 'option');
  checkIfSeq(options.ifSeq);
  checkFlags(options, ['sha256']);
  const { ttlMs } = options;
  if (ttlMs !== undefined && ttlMs !== Number.POSITIVE_INFINITY) checkTtl(ttlMs);
}

/** VARVE_INVALID_ARGUMENT for what is no time to live. */
export function checkTtl(ttlMs: number): void {
  if (Number.isSafeInteger(ttlMs) && ttlMs >= 1 && ttlMs <= ttlMsMax) return;
  throw invalid(`ttlMs must be an integer from 1 to ${ttlMsMax}`, { actual: ttlMs });
}

/** VARVE_INVALID_ARGUMENT for what is no sequence number. */
export function checkIfSeq(ifSeq: number | undefined): void {
  if (ifSeq !== undefined && !(Number.isSafeInteger(ifSeq) && ifSeq >= 0)) {
    throw invalid('ifSeq must be a sequence number, or 0 for an absent key', { actual: ifSeq });
  }
}

/** The metadata among the options, encoded; undefined when there is none. */
export function encodedMetadata({ contentType, tags, metadata }: PutOptions): Uint8Array | undefined {
  if (contentType === undefined && tags === undefined && metadata === undefined) return undefined;
  return encodeMetadata({
    ...(contentType === undefined ? {} : { contentType }),
    ...(tags === undefined ? {} : { tags }),
    ...(metadata === undefined ? {} : { metadata }),
  });
}

/** Bytes the caller cannot change: a string was encoded into a fresh array already. */
export function ownCopy(given: Bytes, bytes: Uint8Array): Uint8Array {
  return given === bytes ? bytes.slice() : bytes;
}
