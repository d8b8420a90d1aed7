/** Calls that are more than one call. */
import type { Engine } from '../../src/engine/engine.ts';
import type { Transaction } from '../../src/engine/transactions/transaction.ts';
import type { Change } from './workload.ts';

/** The changes as one serializable transaction, values as streams; returns its number. */
export async function inTransaction(engine: Engine, changes: readonly Change[]): Promise<number> {
  let last: Transaction | undefined;
  await engine.transaction(
    async (tx) => {
      last = tx;
      for (const { key, value } of changes) {
        await tx.get(key);
        await (value === undefined ? tx.delete(key) : tx.put(key, inPieces(value)));
      }
    },
    { isolation: 'serializable', retries: 100 },
  );
  return last!.seq!;
}

/** A value as a stream of three pieces. */
export async function* inPieces(value: Uint8Array): AsyncGenerator<Uint8Array> {
  const step = Math.max(1, Math.floor(value.length / 3));
  for (let from = 0; from < value.length; from += step) yield value.subarray(from, from + step);
}
