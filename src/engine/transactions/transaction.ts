/** What the function of a transaction is given: reads and writes of one space, all of one transaction. */
import type { Seq } from '../../base/brands.ts';
import { toHex } from '../../base/bytes.ts';
import { invalid, VarveError } from '../../base/errors.ts';
import { checkNames } from '../../base/names.ts';
import { keyBytes, rowPrefix, throwIfAborted, wholeBytes } from '../key-args.ts';
import type { QueryEntry, QueryOptions, QueryPlan, StateQuery } from '../queries/query-types.ts';
import { statOf } from '../reading/reads.ts';
import type {
  Bytes,
  DeleteRangeOptions,
  Entry,
  EntryStat,
  Key,
  KeyEntry,
  PutOptions,
  PutResult,
  ReadOptions,
  ScanOptions,
} from '../types.ts';
import { checkPutOptions, encodedMetadata, ownCopy } from '../writing/batch-plan.ts';
import { queryTransaction } from './transaction-query.ts';
import { entriesOf, ownRecord, scanTransaction } from './transaction-scan.ts';
import type { OwnWrite, TransactionState } from './transaction-state.ts';

const putNames = ['metadata', 'contentType', 'tags', 'ifSeq', 'sha256', 'ttlMs', 'signal'] as const;
const boundNames = ['prefix', 'gt', 'gte', 'lt', 'lte'] as const;

/**
 * One space as a transaction sees it: the moment the transaction began, with its own writes. Every call
 * rejects with VARVE_CLOSED once the transaction has ended. Calls may be made at the same time; the
 * transaction ends when the last of them has.
 */
export class Transaction {
  readonly #state: TransactionState;
  readonly #space: number;

  /** Use Engine.transaction. `space`: its number. */
  constructor(state: TransactionState, space: number) {
    this.#state = state;
    this.#space = space;
  }

  /**
   * Number of the commit, once the transaction has resolved; undefined before, and where it wrote nothing.
   */
  get seq(): Seq | undefined {
    return this.#state.seq;
  }

  /** The value of a key (the caller's to keep), or undefined. */
  get(key: Key, options: ReadOptions = {}): Promise<Uint8Array | undefined> {
    const state = this.#state;
    return state.run(async () => {
      const { prefix } = this.#at(key, options);
      const own = state.own(prefix);
      if (own !== undefined) {
        if (own.value === undefined) return undefined;
        return await state.reads.value(await ownRecord(state, own));
      }
      const found = await state.committed(prefix);
      return found === undefined ? undefined : await state.reads.value(found.record);
    });
  }

  /** Values of many keys, in the order of `keys`. */
  async getMany(keys: readonly Key[], options: ReadOptions = {}): Promise<(Uint8Array | undefined)[]> {
    if (!Array.isArray(keys)) throw invalid('getMany takes an array of keys');
    return await Promise.all(keys.map((key) => this.get(key, options)));
  }

  has(key: Key, options: ReadOptions = {}): Promise<boolean> {
    const state = this.#state;
    return state.run(async () => {
      const { prefix } = this.#at(key, options);
      const own = state.own(prefix);
      if (own !== undefined) return own.value !== undefined;
      return (await state.committed(prefix)) !== undefined;
    });
  }

  /** As Engine.stat; `seq` is 0 for what this transaction has put. */
  stat(key: Key, options: ReadOptions = {}): Promise<EntryStat | undefined> {
    const state = this.#state;
    return state.run(async () => {
      const { prefix } = this.#at(key, options);
      const own = state.own(prefix);
      if (own !== undefined) {
        return own.value === undefined ? undefined : statOf({ seq: 0, record: await ownRecord(state, own) });
      }
      const found = await state.committed(prefix);
      return found === undefined ? undefined : statOf(found);
    });
  }

  /**
   * Stores a value under a key when the transaction commits. A stream is read to its end now; what it stores
   * is garbage unless the transaction commits. `ifSeq` is judged on what the transaction sees
   * (VARVE_CONFLICT). The result has no `seq` yet.
   */
  put(key: Key, value: Bytes, options: PutOptions = {}): Promise<Omit<PutResult, 'seq'>> {
    const state = this.#state;
    return state.run(async () => {
      checkPutOptions(options, putNames);
      const at = this.#at(key, options.signal === undefined ? {} : { signal: options.signal });
      const metadata = encodedMetadata(options);
      const whole = wholeBytes(value);
      const kept = whole === undefined ? value : ownCopy(value, whole);
      const order = state.nextOrder();
      if (options.ttlMs !== undefined) await state.mayExpire();
      if (options.ifSeq !== undefined) await this.#expect(at, options.ifSeq);
      const { body, newChunks, newBytes } = await state.put({ ...at, order }, kept, metadata, options);
      const { size, chunks } = body;
      return { size, digest: toHex(body.digest), chunks, newChunks, newBytes };
    });
  }

  /** Removes a key when the transaction commits. True when the transaction saw something to remove. */
  delete(key: Key, options: ReadOptions = {}): Promise<boolean> {
    const state = this.#state;
    return state.run(async () => {
      const at = this.#at(key, options);
      const own = state.own(at.prefix);
      // Noted before anything is waited for: calls count in the order they are made.
      state.delete({ ...at, order: state.nextOrder() });
      if (own !== undefined) return own.value !== undefined;
      return (await state.committed(at.prefix)) !== undefined;
    });
  }

  /**
   * Removes every key the transaction sees within the bounds, one by one: for ranges that fit a transaction.
   * Resolves with their number.
   */
  async deleteRange(options: DeleteRangeOptions): Promise<{ deleted: number }> {
    checkNames(options, [...boundNames, 'signal'], 'option');
    if (!boundNames.some((name) => options[name] !== undefined)) {
      throw invalid('deleteRange takes at least one bound');
    }
    const state = this.#state;
    return await state.run(async () => {
      const order = state.nextOrder();
      const entries = entriesOf(state, this.#space, { ...options, values: false });
      return { deleted: await state.deleteAll(this.#keysOf(entries, order)) };
    });
  }

  async *#keysOf(entries: AsyncIterable<Entry<Key>>, order: number): AsyncGenerator<Omit<OwnWrite, 'value'>> {
    for await (const { key } of entries) yield { ...this.#at(key!, {}), order };
  }

  /** As Engine.scan, over what the transaction sees at the call. */
  scan<K extends Key = string>(options?: ScanOptions & { delimiter?: undefined }): AsyncIterable<KeyEntry<K>>;
  scan<K extends Key = string>(options: ScanOptions): AsyncIterable<Entry<K>>;
  scan<K extends Key = string>(options: ScanOptions = {}): AsyncIterable<Entry<K>> {
    return scanTransaction(this.#state, this.#space, options) as AsyncIterable<Entry<K>>;
  }

  /** As Engine.query, over what the transaction sees at the call, its own writes among it. */
  query<K extends Key = string>(options: StateQuery & { explain?: false }): AsyncIterable<QueryEntry<K>>;
  query(options: StateQuery & { explain: true }): Promise<QueryPlan>;
  query(options: QueryOptions): AsyncIterable<QueryEntry<Key>> | Promise<QueryPlan> {
    return queryTransaction(this.#state, this.#space, options);
  }

  /** Another space in the same transaction. */
  space(name: string): Transaction {
    this.#state.assertOpen();
    return new Transaction(this.#state, this.#state.spaceNumber(name));
  }

  #at(key: Key, options: ReadOptions): Pick<OwnWrite, 'space' | 'key' | 'prefix'> {
    checkNames(options, ['signal'], 'option');
    throwIfAborted(options.signal);
    const space = this.#space;
    return { space, key: keyBytes(key).slice(), prefix: rowPrefix(space, key) };
  }

  async #expect({ prefix }: Pick<OwnWrite, 'prefix'>, ifSeq: number): Promise<void> {
    const own = this.#state.own(prefix);
    const found = own === undefined ? await this.#state.committed(prefix) : undefined;
    // What the transaction itself has put has no number that a caller could know.
    const isOther = own === undefined ? (found?.seq ?? 0) !== ifSeq : own.value !== undefined || ifSeq !== 0;
    if (!isOther) return;
    throw new VarveError('VARVE_CONFLICT', 'the key has another seq than ifSeq says', {
      expected: ifSeq,
      actual: found?.seq ?? 0,
    });
  }
}
