/** Runs transactions at the same time, from a seed, and notes what each one saw. */

import { isVarveError } from '../../src/base/errors.ts';
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { Transaction } from '../../src/engine/transactions/transaction.ts';
import type { TransactionOptions } from '../../src/engine/types.ts';
import { text, turn } from '../engine/engine-kit.ts';
import type { Observed, Version } from './history-checker.ts';

const keys = ['k0', 'k1', 'k2', 'k3', 'k4', 'k5'];

export interface History {
  readonly observed: Observed[];
  readonly versions: Map<string, Version[]>;
  readonly conflicts: number;
}

/** `writers` callers, each with `perWriter` transactions one after another. */
export async function makeHistory(
  engine: Engine,
  seed: number,
  options: TransactionOptions,
  writers = 4,
  perWriter = 6,
): Promise<History> {
  const maker = new Maker(engine, options);
  const prng = new Prng(seed);
  for (const key of keys) if (prng.chance(0.6)) await engine.put(key, 'first');
  // What is on the disk takes time to look at.
  await engine.flush();
  await Promise.all(
    Array.from({ length: writers }, async (_, writer) => {
      const own = new Prng(1000 * seed + writer);
      for (let i = 0; i < perWriter; i++) await maker.one(1 + writer * perWriter + i, own);
    }),
  );
  return { observed: maker.observed, versions: await maker.versions(), conflicts: maker.conflicts };
}

class Maker {
  readonly observed: Observed[] = [];
  conflicts = 0;
  readonly #engine: Engine;
  readonly #options: TransactionOptions;

  constructor(engine: Engine, options: TransactionOptions) {
    this.#engine = engine;
    this.#options = options;
  }

  async one(id: number, prng: Prng): Promise<void> {
    if (prng.chance(0.06)) {
      await this.#engine.deleteRange({ gte: prng.pick(keys), lte: prng.pick(keys) });
      return;
    }
    if (prng.chance(0.2)) await this.#engine.flush();
    try {
      const seen = await this.#engine.transaction((tx) => this.#run(tx, id, prng), this.#options);
      this.observed.push(seen);
    } catch (error) {
      if (!isVarveError(error, 'VARVE_CONFLICT')) throw error;
      this.conflicts++;
    }
  }

  async #run(tx: Transaction, id: number, prng: Prng): Promise<Observed> {
    // The function is called in the turn that takes the view.
    const view = this.#engine.stats().seq;
    const reads = new Map<string, string | undefined>();
    const own = new Set<string>();
    const note = (key: string, value: string | undefined): void => {
      if (own.has(key)) return;
      if (reads.has(key) && reads.get(key) !== value) throw new Error(`${key} read twice and different`);
      reads.set(key, value);
    };
    for (let ops = 2 + prng.below(4); ops > 0; ops--) {
      const key = prng.pick(keys);
      const what = prng.below(10);
      if (what < 4) note(key, text(await tx.get(key)));
      else if (what < 6) await this.#scan(tx, prng, own, note);
      else if (what < 9) {
        own.add(key);
        await tx.put(key, `${id}`);
      } else {
        // A delete says whether there was something: it is a read too, of which only the value is not told.
        await tx.get(key).then((value) => note(key, text(value)));
        own.add(key);
        await tx.delete(key);
      }
      for (let turns = prng.below(3); turns > 0; turns--) await turn();
    }
    if (own.size > 0) await tx.put(`marker/${id}`, 'x');
    return { id, view, reads, seq: undefined };
  }

  async #scan(
    tx: Transaction,
    prng: Prng,
    own: ReadonlySet<string>,
    note: (key: string, value: string | undefined) => void,
  ): Promise<void> {
    const [low, high] = [prng.pick(keys), prng.pick(keys)].sort() as [string, string];
    const limit = 1 + prng.below(6);
    const reverse = prng.chance(0.3);
    const found = new Map<string, string | undefined>();
    for await (const entry of tx.scan({ gte: low, lte: high, limit, reverse })) {
      found.set(entry.key, text(entry.value));
    }
    const last = Array.from(found.keys()).at(-1);
    for (const key of keys) {
      const isBehind = found.size === limit && (reverse ? key < last! : key > last!);
      if (key < low || key > high || isBehind || own.has(key)) continue;
      note(key, found.get(key));
    }
  }

  /** The versions of every key in the order of the feed; also tells the transactions their numbers. */
  async versions(): Promise<Map<string, Version[]>> {
    const changes = [];
    const writerOf = new Map<number, number>();
    for await (const change of this.#engine.changes({ since: 0, live: false })) {
      changes.push(change);
      if (change.type === 'put' && change.key.startsWith('marker/')) {
        writerOf.set(change.seq, Number(change.key.slice('marker/'.length)));
      }
    }
    for (const seen of this.observed) {
      for (const [seq, writer] of writerOf) if (writer === seen.id) seen.seq = seq;
    }
    const versions = new Map<string, Version[]>(keys.map((key) => [key, []]));
    // A range delete by itself is a transaction of its own, with a number no other has.
    let others = 1_000_000;
    for (const change of changes) {
      const { seq } = change;
      const writer = writerOf.get(seq) ?? others++;
      if (change.type === 'deleteRange') {
        const { gte, lte } = change.range;
        for (const key of keys) {
          // Where there was nothing, a range delete changes nothing.
          if (key < gte! || key > lte! || versions.get(key)!.at(-1)?.value === undefined) continue;
          versions.get(key)!.push({ seq, writer, value: undefined });
        }
      } else if (versions.has(change.key)) {
        const value = change.type === 'put' ? (writer >= 1_000_000 ? 'first' : `${writer}`) : undefined;
        versions.get(change.key)!.push({ seq, writer, value });
      }
    }
    return versions;
  }
}
