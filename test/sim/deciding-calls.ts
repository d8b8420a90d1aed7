/** Calls that write what follows from what they read: updates, counters, transactions. */
import type { Transaction } from '../../src/engine/transactions/transaction.ts';
import type { Key } from '../../src/engine/types.ts';
import type { Attempt } from './attempts.ts';
import type { Caller } from './caller.ts';
import { keyOf, spaceOf } from './calls.ts';
import type { Observation } from './observations.ts';
import type { OpOf, ValueSpec } from './plan.ts';
import { observeScan } from './reading.ts';
import { bytesOf, givenOf } from './values.ts';

/** Puts a value that follows from the one there, or removes it; the function notes what it was asked with. */
export async function update(caller: Caller, op: OpOf<'update'>, number: number): Promise<void> {
  const { engine, world } = caller.life;
  const changes = new Map<string, ValueSpec | null>([[op.key, op.value]]);
  const call = (attempt: Attempt) =>
    spaceOf(engine, op.space).update(
      keyOf(op.key, number),
      (old, stat) => {
        const id = (stat?.metadata?.id as number | undefined) ?? null;
        attempt.saw = id;
        if ((old === undefined) !== (id === null)) throw new Error('update: a value without its stat');
        if (id !== null) {
          const version = { seq: stat!.seq, space: op.space, key: op.key, id };
          world.oracle.checkBytes(version, old!, `update of ${op.key}`);
        }
        if (op.value === null) return undefined;
        const value = { ...op.value, seed: op.value.seed + (id ?? 0) };
        changes.set(op.key, value);
        return op.waits ? later(caller, givenOf(value)) : givenOf(value);
      },
      { metadata: { id: attempt.id } },
    );
  await caller.write(
    'update',
    op.space,
    changes,
    call,
    (result, { saw }) => {
      if ((result === undefined) !== (op.value === null)) throw new Error('update: not what was asked for');
      if (result === undefined) return { outcome: saw === null ? 'nothing' : 'done' };
      return { outcome: 'done', seq: result.seq };
    },
    {},
  );
}

async function later<T>(caller: Caller, value: T): Promise<T> {
  await caller.life.world.scheduler.turn('update');
  return value;
}

/** Counters have keys of their own. */
export async function increment(caller: Caller, op: OpOf<'increment'>, number: number): Promise<void> {
  const changes = new Map([[op.key, { seed: 0, length: 0 }]]);
  await caller.write(
    'increment',
    '',
    changes,
    () => caller.life.engine.increment(keyOf(op.key, number)),
    (told, attempt) => {
      attempt.told = told;
      return { outcome: 'done' };
    },
    {},
  );
}

/** Reads, and writes what does not follow from it; the model knows what it depends on. */
export async function transact(caller: Caller, op: OpOf<'transaction'>, number: number): Promise<void> {
  const { engine } = caller.life;
  const { oracle } = caller.life.world;
  const { isolation, retries } = op;
  const seen: Observation[] = [];
  let last: Transaction | undefined;
  const run = async (attempt: Attempt, tx: Transaction): Promise<void> => {
    last = tx;
    const { view } = caller.life;
    // A space that is being dropped is empty already, at any number.
    const mayBeDropped = oracle.isDropping(op.space);
    attempt.view = mayBeDropped ? undefined : view;
    const about = { view, space: op.space, ...(mayBeDropped ? { mayBeDropped } : {}) };
    for (const key of op.reads) {
      const bytes = await tx.get(keyOf(key, number));
      seen.push({ kind: 'value', ...about, key, bytes });
    }
    if (op.scans) {
      const all = { kind: 'scan', space: op.space, scan: {}, entries: 0 } as const;
      seen.push(await observeScan((options) => tx.scan<Key>(options), all, about));
    }
    for (const { key, value } of op.changes) await change(tx, keyOf(key, number), value, attempt.id);
  };
  const changes = new Map(op.changes.map(({ key, value }) => [key, value]));
  const reads = isolation === 'serializable' ? (op.scans ? ('all' as const) : op.reads) : [];
  await caller.write(
    'transaction',
    op.space,
    changes,
    async (attempt) => {
      const space = spaceOf(engine, op.space);
      await space.transaction((tx) => run(attempt, tx), { isolation, retries });
      return last!.seq;
    },
    (seq) => {
      const puts = op.changes.some(({ value }) => value !== null);
      if (seq === undefined && puts) throw new Error('a transaction that put has no number');
      return seq === undefined ? { outcome: 'nothing' } : { outcome: 'done', seq };
    },
    { depends: reads },
    'VARVE_CONFLICT',
  );
  for (const one of seen) oracle.observe(one);
}

/** A change, and the transaction sees it. */
async function change(tx: Transaction, key: Key, value: ValueSpec | null, id: number): Promise<void> {
  if (value === null) await tx.delete(key);
  else await tx.put(key, givenOf(value), { metadata: { id } });
  const own = await tx.get(key);
  const isOwn = value === null ? own === undefined : Buffer.compare(own ?? nothing, bytesOf(value)) === 0;
  if (!isOwn) throw new Error('a transaction does not see its own write');
}

const nothing = new Uint8Array([0]);
