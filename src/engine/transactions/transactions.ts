/**
 * Runs transactions: a view, the function, the check of what it depends on, one commit; again after a
 * conflict where the caller asked for that.
 *
 * Invariants (test/engine/transaction.test.ts, transaction-conflicts.test.ts, test/txn/histories.test.ts)
 * - All of a transaction is committed under one number, or nothing of it is visible, ever.
 * - snapshot: of two transactions at the same time that write one key, one commits.
 * - serializable: transactions that commit could have run one after another, in the order of their numbers.
 * - Who runs again after a conflict sees what the conflict was with.
 */
import { invalid, isVarveError } from '../../base/errors.ts';
import { transactionBackoffMsMax, transactionRetriesMax } from '../../base/limits.ts';
import { checkNames } from '../../base/names.ts';
import { conflict, Validator } from '../../txn/validator.ts';
import { throwIfAborted } from '../key-args.ts';
import type { Reads } from '../reading/reads.ts';
import type { Store, WriteSide } from '../store.ts';
import type { TransactionOptions } from '../types.ts';
import { decided } from '../writing/decided.ts';
import { bytesOfOp } from '../writing/write-pacer.ts';
import type { Writes } from '../writing/writes.ts';
import { Transaction } from './transaction.ts';
import { TransactionState } from './transaction-state.ts';

/** What a transaction does, given the store as it sees it; what it resolves with is the result. */
export type TransactionFunction<T> = (tx: Transaction) => Promise<T> | T;

export class Transactions {
  readonly #store: Store;
  readonly #writes: Writes;
  readonly #reads: Reads;
  readonly #name: string | undefined;

  /** `name`: of the space the function begins in. */
  constructor(
    store: Store,
    parts: { readonly writes: Writes; readonly reads: Reads },
    name: string | undefined,
  ) {
    this.#store = store;
    this.#writes = parts.writes;
    this.#reads = parts.reads;
    this.#name = name;
  }

  async run<T>(run: TransactionFunction<T>, options: TransactionOptions = {}): Promise<T> {
    this.#store.stillWritable();
    if (typeof run !== 'function') throw invalid('transaction takes a function');
    checkNames(options, ['isolation', 'retries', 'signal'], 'option');
    const { isolation = 'snapshot', retries = 0, signal } = options;
    if (isolation !== 'snapshot' && isolation !== 'serializable') {
      throw invalid("isolation must be 'snapshot' or 'serializable'", { actual: isolation });
    }
    if (!(Number.isInteger(retries) && retries >= 0 && retries <= transactionRetriesMax)) {
      throw invalid(`retries must be an integer from 0 to ${transactionRetriesMax}`, { actual: retries });
    }
    for (let tries = 0; ; tries++) {
      throwIfAborted(signal);
      try {
        return await this.#once(run, isolation === 'serializable', signal);
      } catch (error) {
        if (tries >= retries || !isVarveError(error, 'VARVE_CONFLICT') || !error.retryable) throw error;
        await this.#backOff(tries, signal);
      }
    }
  }

  async #once<T>(
    run: TransactionFunction<T>,
    isSerializable: boolean,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    const store = this.#store;
    const write = store.stillWritable();
    const era = store.marks.enter();
    const parts = { writes: this.#writes, reads: this.#reads, write };
    const state = new TransactionState(store, parts, store.visibleSeq, isSerializable);
    try {
      const result = await run(new Transaction(state, state.spaceNumber(this.#name)));
      await state.settled();
      throwIfAborted(signal);
      await this.#commit(write, state);
      return result;
    } finally {
      await state.end();
      store.marks.leave(era);
    }
  }

  async #commit(write: WriteSide, state: TransactionState): Promise<void> {
    const { ops, named, claims, spaces } = state.plan();
    // Who only reads has read one committed state: there is nothing to check.
    if (ops.length === 0) return;
    const store = this.#store;
    await this.#writes.relieve(write);
    for (const { prefix } of ops) if (!write.txn.isWarm(prefix)) await write.txn.warm(prefix);
    store.stillWritable();
    const { env, spaces: names, weakenedValidation: weakened } = store.parts;
    const { txn, log } = write;
    const turn = (): Promise<void> => env.clock.turn();
    const options = { forest: store.forest, txn, log, turn, weakened };
    const sequenced = await decided(write, () =>
      new Validator(options).run(claims, state.view, () => {
        store.stillWritable();
        for (const space of spaces) names.assertLive(space);
        if (state.hasExpired(store.nowMs)) throw conflict();
        const rows = Array.from(spaces, (space) => names.rowsFor(space)).flat();
        const committed = txn.commit(ops, named, rows);
        if (committed !== undefined) for (const space of spaces) names.sequenced(space);
        return committed;
      }),
    );
    if (sequenced === undefined) {
      await log.drained();
      return;
    }
    for (const op of ops) if (op.kind === 'put') store.ingestedBytes += op.body.size;
    write.pacer.charge(ops.reduce((sum, op) => sum + bytesOfOp(op), 0));
    write.checkpointer.startIfDue();
    await sequenced.done;
    state.seq = sequenced.seq;
  }

  /** A random part of a time that doubles from try to try. */
  async #backOff(tries: number, signal: AbortSignal | undefined): Promise<void> {
    const { clock, random } = this.#store.parts.env;
    const [low, high] = random(2);
    const most = Math.min(transactionBackoffMsMax, 2 ** tries);
    const wait = Math.floor((most * (low! + 256 * high!)) / 65_536);
    if (wait > 0) await clock.sleep(wait, signal, true);
    else await clock.turn();
  }
}
