/**
 * Reading and writing one key in one go: update and increment. They are decided on the newest sequenced
 * version, in the turn that sequences the new one, so nothing is lost between and nobody sees a conflict.
 *
 *   newest version in memory, result inline     decided and sequenced at once, in the turn of the call
 *   else                                        one after another per key: read, ask the function, store the
 *                                               value, commit if the version is still that one, or begin
 *                                               again
 *
 * Invariants (test/engine/updates.test.ts)
 * - Every update is made on the version that is the newest one when it commits ("no update is lost").
 * - What has expired is absent to it; an expiry goes on unless another one is given ("an update keeps the
 *   expiry").
 * - The function is called again only where its first result had to wait and the key changed meanwhile.
 */
import type { Seq } from '../../base/brands.ts';
import { invalid, isVarveError } from '../../base/errors.ts';
import { expiresBy } from '../../format/expiry.ts';
import { expiryFeature } from '../../format/format-ladder.ts';
import { rowKinds } from '../../format/row-kinds.ts';
import { parseValueRecord, type ValueRecord } from '../../format/value-record.ts';
import { END, MISS, type Step } from '../../tree/cursor.ts';
import { RowRef } from '../../tree/row-ref.ts';
import type { WriteOp } from '../../txn/txn-writer.ts';
import { readValue, readValueNow } from '../../value/value-reader.ts';
import { rowPrefix, throwIfAborted, wholeBytes } from '../key-args.ts';
import { statOf } from '../reading/reads.ts';
import type { Store, WriteSide } from '../store.ts';
import type { Bytes, Key, PutResult, UpdateFunction, UpdateOptions } from '../types.ts';
import { checkPutOptions } from './batch-plan.ts';
import { keptMetadata } from './kept-metadata.ts';
import { inlineValue, type Prepared } from './prepared-value.ts';
import { bytesOfOp } from './write-pacer.ts';
import type { Writes } from './writes.ts';

const updateNames = ['metadata', 'contentType', 'tags', 'sha256', 'ttlMs', 'signal'] as const;

/** The newest version of a key; `seq` 0: there is none. */
interface Newest {
  readonly seq: Seq;
  readonly value: Uint8Array | undefined;
  readonly record: ValueRecord | undefined;
}

/** One call: what is asked for. */
interface Call {
  readonly write: WriteSide;
  readonly space: number;
  readonly prefix: Uint8Array;
  readonly decide: UpdateFunction;
  readonly options: UpdateOptions;
  /** The function is given the stat of the old value. */
  readonly wantsStat: boolean;
}

const absent: Newest = { seq: 0, value: undefined, record: undefined };
/** The version has changed: decide again. */
const changed: unique symbol = Symbol('changed');

export class Updates {
  readonly #store: Store;
  readonly #writes: Writes;
  readonly #row = new RowRef();

  constructor(store: Store, writes: Writes) {
    this.#store = store;
    this.#writes = writes;
  }

  async update(
    space: number,
    key: Key,
    decide: UpdateFunction,
    options: UpdateOptions = {},
  ): Promise<PutResult | undefined> {
    const write = this.#store.stillWritable();
    if (typeof decide !== 'function') throw invalid('update takes a function of the old value');
    checkPutOptions(options, updateNames);
    throwIfAborted(options.signal);
    const prefix = rowPrefix(space, key);
    if (options.ttlMs !== undefined) await write.checkpointer.require(expiryFeature);
    return await this.#run({ write, space, prefix, decide, options, wantsStat: true });
  }

  /** `by` more than the integer the key holds as decimal text; an absent key counts as 0. */
  async increment(
    space: number,
    key: Key,
    by: number,
    options: Pick<UpdateOptions, 'signal' | 'ttlMs'> = {},
  ): Promise<number> {
    const write = this.#store.stillWritable();
    if (!Number.isSafeInteger(by)) throw invalid('increment takes a safe integer', { actual: by });
    throwIfAborted(options.signal);
    let sum = 0;
    const decide = (old: Uint8Array | undefined): string => {
      sum = (old === undefined ? 0 : integerOf(old)) + by;
      if (!Number.isSafeInteger(sum)) throw invalid('the sum is beyond 2^53 - 1', { actual: sum });
      return String(sum);
    };
    const prefix = rowPrefix(space, key);
    await this.#run({ write, space, prefix, decide, options, wantsStat: false });
    return sum;
  }

  async #run(call: Call): Promise<PutResult | undefined> {
    const { write, prefix } = call;
    const { updates } = this.#store;
    if (updates.isFree(prefix) && !this.#writes.isPressed(write)) {
      const old = this.#newestNow(prefix);
      if (old !== undefined) {
        const given = ask(call, old);
        if (isInline(given, this.#inlineMax)) {
          const done = await this.#commit(call, old, given);
          if (done !== changed) return done;
          // The function itself has written to the key.
        } else return await updates.run(prefix, () => this.#slowly(call, { old, given }));
      }
    }
    return await updates.run(prefix, () => this.#slowly(call));
  }

  /** `first`: what the function has answered to a version already. */
  async #slowly(
    call: Call,
    first?: { old: Newest; given: ReturnType<UpdateFunction> },
  ): Promise<PutResult | undefined> {
    const { write, prefix, options } = call;
    let ready = first;
    for (;;) {
      throwIfAborted(options.signal);
      await this.#writes.relieve(write);
      this.#store.stillWritable();
      if (ready === undefined) {
        const old = await this.#newest(prefix);
        if (this.#seqNow(prefix) !== old.seq) continue;
        ready = { old, given: ask(call, old) };
      }
      const { old } = ready;
      // The commit belongs to this turn where nothing has to wait.
      const given = isInline(ready.given, this.#inlineMax) ? ready.given : await ready.given;
      ready = undefined;
      const done = await this.#commit(call, old, given);
      if (done !== changed) return done;
    }
  }

  /** Commits what the function has answered to `old`; `changed` when that is not the newest any more. */
  async #commit(
    call: Call,
    old: Newest,
    given: Bytes | undefined,
  ): Promise<PutResult | undefined | typeof changed> {
    const { write, space, prefix, options } = call;
    if (given === undefined) return await this.#delete(call, old);
    const wantsSha256 = options.sha256 === true;
    let prepared: Prepared;
    if (isInline(given, this.#inlineMax)) prepared = inlineValue(wholeBytes(given)!, wantsSha256);
    else {
      prepared = await this.#writes.prepare(given, wantsSha256, options.signal);
    }
    try {
      throwIfAborted(options.signal);
      if (!write.txn.isWarm(prefix)) await write.txn.warm(prefix);
      this.#store.stillWritable();
      const metadata = keptMetadata(options, old.record);
      const { ttlMs } = options;
      const expiry = ttlMs === undefined ? { expireAtMs: old.record?.expireAtMs } : { ttlMs };
      return await this.#writes.commitPut(write, space, prefix, prepared, old.seq, metadata, expiry);
    } catch (error) {
      if (isChange(error, old)) return changed;
      throw error;
    } finally {
      prepared.release();
    }
  }

  async #delete({ write, prefix }: Call, old: Newest): Promise<undefined | typeof changed> {
    if (!write.txn.isWarm(prefix)) await write.txn.warm(prefix);
    this.#store.stillWritable();
    const op: WriteOp = { kind: 'delete', prefix, ifSeq: old.seq };
    try {
      const committed = write.txn.commit([op], [], []);
      if (committed === undefined) await write.log.drained();
      else {
        write.pacer.charge(bytesOfOp(op));
        write.checkpointer.startIfDue();
        await committed.done;
      }
      return undefined;
    } catch (error) {
      if (isChange(error, old)) return changed;
      throw error;
    }
  }

  get #inlineMax(): number {
    return this.#store.parts.identity.inlineMax;
  }

  /** Number of the newest sequenced version; reads the disk on this thread when memory does not have it. */
  #seqNow(prefix: Uint8Array): Seq {
    const row = this.#row;
    const step = this.#store.forest.keys.findSync(prefix, 0, prefix.length, Number.MAX_SAFE_INTEGER, row);
    return step !== END && this.#isLive(row) ? row.seq : 0;
  }

  /** The newest sequenced version, its value copied; undefined when something must be read first. */
  #newestNow(prefix: Uint8Array): Newest | undefined {
    const { keys } = this.#store.forest;
    const row = this.#row;
    const step = keys.find(prefix, 0, prefix.length, Number.MAX_SAFE_INTEGER, row);
    if (step === MISS) return undefined;
    const record = this.#recordOf(step, row);
    if (record === undefined) return absent;
    const value = readValueNow(record, this.#store.chunks);
    return value === undefined ? undefined : { seq: row.seq, value, record };
  }

  /** The row is a value that has not expired. */
  #isLive({ kind, bytes, valueFrom }: RowRef): boolean {
    return kind === rowKinds.put && !expiresBy(bytes, valueFrom, this.#store.nowMs);
  }

  /** In memory of its own: the row may be in a block or a memtable. */
  #recordOf(step: Step, row: RowRef): ValueRecord | undefined {
    if (step === END || !this.#isLive(row)) return undefined;
    const bytes = row.bytes.slice(row.valueFrom, row.valueTo);
    return parseValueRecord(bytes, 0, bytes.length, { file: 'key tree' });
  }

  async #newest(prefix: Uint8Array): Promise<Newest> {
    const { marks, forest, chunks } = this.#store;
    const era = marks.enter();
    try {
      const row = new RowRef();
      const step = await forest.keys.findAsync(prefix, 0, prefix.length, Number.MAX_SAFE_INTEGER, row);
      const record = this.#recordOf(step, row);
      if (record === undefined) return absent;
      return { seq: row.seq, value: await readValue(record, chunks), record };
    } finally {
      marks.leave(era);
    }
  }
}

/**
 * A conflict with another version of this key, not because its space was dropped or a value taken. The key is
 * not looked up: by now it may be again what it was.
 */
function isChange(error: unknown, { seq }: Newest): boolean {
  return isVarveError(error, 'VARVE_CONFLICT') && error.expected === seq && error.actual !== undefined;
}

function ask({ decide, wantsStat }: Call, { seq, value, record }: Newest): ReturnType<UpdateFunction> {
  return decide(value, wantsStat && record !== undefined ? statOf({ seq, record }) : undefined);
}

/** Given whole, and so small that it lies in its row; also undefined, which deletes. */
function isInline(given: unknown, inlineMax: number): given is string | Uint8Array | undefined {
  if (given === undefined) return true;
  if (typeof given === 'string') return wholeBytes(given)!.length <= inlineMax;
  return given instanceof Uint8Array && given.length <= inlineMax;
}

const integerText = /^-?[0-9]{1,16}$/;

/** VARVE_INVALID_ARGUMENT unless the bytes are an integer in decimal text within 2^53 - 1. */
function integerOf(bytes: Uint8Array): number {
  const shown = bytes.length > 17 ? '' : String.fromCharCode(...bytes);
  const value = integerText.test(shown) ? Number(shown) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw invalid('the key does not hold an integer as decimal text');
  return value;
}
