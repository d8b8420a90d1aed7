/** Purging against a search of all versions, over random histories with everything that keeps some. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Engine } from '../../src/engine/engine.ts';
import type { ReadView } from '../../src/engine/history/read-view.ts';
import type { Store } from '../../src/engine/store.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { auditDisk } from '../crash/audit.ts';
import { openParts } from './cleaner-kit.ts';
import { bytesOf, same } from './engine-kit.ts';
import { purged, versionsOf } from './purge-kit.ts';

const compaction = { level0Tables: 2, tableBytes: 1024, level1Bytes: 2048, levelRatio: 2, tombstonesMin: 4 };
const keys = ['a', 'b', 'c'] as const;
/** Inline, one chunk, a list of chunks, a tree. */
const lengths = [20, 100, 4000, 26_000] as const;
const names = ['one', 'two', 'three'] as const;

const key = fc.constantFrom(...keys);
const put = fc.record({
  do: fc.constant('put' as const),
  key,
  length: fc.constantFrom(...lengths),
  seed: fc.nat(3),
});
const step = fc.oneof(
  { weight: 9, arbitrary: put },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('delete' as const), key }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('range' as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('snapshot' as const), name: fc.constantFrom(...names) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('view' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('unview' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('purge' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('flush' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reopen' as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;
type State = Map<string, Uint8Array>;

class Run {
  readonly disk = new MemoryFileSystem();
  engine!: Engine;
  store!: Store;
  readonly #state: State = new Map();
  readonly #snapshots = new Map<string, State>();
  #views: { view: ReadView; state: State }[] = [];
  readonly #versions: number;
  readonly #merges: boolean;

  constructor(versions: number, merges: boolean) {
    this.#versions = versions;
    this.#merges = merges;
  }

  async open(): Promise<void> {
    const history = { versions: this.#versions, ms: 0 };
    const bounds = { compaction: this.#merges ? compaction : ('off' as const), flushMerges: true };
    const options = this.#versions === 0 ? {} : { history };
    const opened = await openParts(this.disk, { bounds, options, segmentBytes: 64 * 1024 });
    this.engine = opened.engine;
    this.store = opened.store;
  }

  async step(one: Step): Promise<void> {
    const { engine } = this;
    if (one.do === 'put') {
      const value = bytesOf(one.seed, one.length);
      await engine.put(one.key, value);
      this.#state.set(one.key, value);
    } else if (one.do === 'delete') {
      await engine.delete(one.key);
      this.#state.delete(one.key);
    } else if (one.do === 'range') {
      await engine.deleteRange({ gte: 'b' });
      for (const name of ['b', 'c']) this.#state.delete(name);
    } else if (one.do === 'snapshot') {
      if (this.#snapshots.delete(one.name)) await engine.snapshots.delete(one.name);
      else {
        await engine.snapshots.create(one.name);
        this.#snapshots.set(one.name, new Map(this.#state));
      }
    } else if (one.do === 'view') this.#views.push({ view: engine.view(), state: new Map(this.#state) });
    else if (one.do === 'unview') this.#views.shift()?.view.close();
    else if (one.do === 'purge') await purged(this.store);
    else if (one.do === 'flush') await engine.flush();
    else await this.#reopen();
  }

  async #reopen(): Promise<void> {
    this.#closeViews();
    await this.engine.close();
    expect((await auditDisk(this.disk)).problems).toEqual([]);
    await this.open();
  }

  #closeViews(): void {
    for (const { view } of this.#views) view.close();
    this.#views = [];
  }

  /** What is gone is what nothing keeps, and everything that is kept can be read. */
  async check(): Promise<void> {
    await purged(this.store);
    const { kept, dead, gone, trash } = await versionsOf(this.store);
    expect(gone.filter((name) => kept.includes(name))).toEqual([]);
    expect(gone).toEqual(dead);
    expect(trash).toEqual(kept);
    expect(this.engine.stats().purge).toMatchObject({ running: false, failures: 0 });
    for (const { view, state } of this.#views) {
      for (const name of keys) expect(same(await view.get(name), state.get(name))).toBe(true);
    }
    for (const [snapshot, state] of this.#snapshots) {
      for (const name of keys) {
        expect(same(await this.engine.get(name, { at: { snapshot } }), state.get(name))).toBe(true);
      }
    }
    for (const name of keys) expect(same(await this.engine.get(name), this.#state.get(name))).toBe(true);
  }

  async end(): Promise<void> {
    this.#closeViews();
    for (const name of this.#snapshots.keys()) await this.engine.snapshots.delete(name);
    await this.engine.clear();
    if (this.#versions > 0) return await this.engine.close();
    await purged(this.store);
    let refs = 0;
    let nodes = 0;
    await this.store.forest.chunks.scanAll(({ columns }) => {
      refs += columns.refs;
      if (columns.kind === 1 && (columns.flags & 1) !== 0) nodes++;
    });
    expect({ refs, nodes }).toEqual({ refs: 0, nodes: 0 });
    expect(this.engine.stats().purge).toMatchObject({ trash: 0, nodesPending: 0, failures: 0 });
    await this.engine.close();
  }
}

const runs = Number(process.env.VARVE_COUNT ?? 40);

describe('purging old versions', () => {
  test('what is purged equals a search of all versions, and what is kept is read', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(0, 0, 0, 1, 2),
        fc.boolean(),
        fc.array(step, { minLength: 4, maxLength: 30 }),
        async (versions, merges, steps) => {
          const run = new Run(versions, merges);
          await run.open();
          for (const one of steps) await run.step(one);
          await run.check();
          await run.end();
          expect((await auditDisk(run.disk)).problems).toEqual([]);
        },
      ),
      { numRuns: runs },
    );
  }, 240_000);
});
