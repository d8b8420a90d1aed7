/** What tests of history share: a store beside every state it ever had. */
import { expect } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { At } from '../../src/engine/history/point.ts';
import type { ReadView } from '../../src/engine/history/read-view.ts';
import { openWithEnv } from '../../src/engine/opening/open.ts';
import type { HistoryOptions } from '../../src/engine/options.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { memoryLock } from '../../src/fs/memory-lock.ts';
import { smallOptions, TestClock } from './engine-kit.ts';

/** Values of all keys, named `space/key`. */
export type State = ReadonlyMap<string, string>;

export interface Point {
  /** The commit's number, or one behind it: background work commits too. */
  readonly seq: number;
  /** The commit's number is higher than this. */
  readonly since: number;
  readonly ms: number;
  readonly state: State;
}

export const keys = ['a', 'a\0', 'b', 'c/1', 'c/2'];
export const spaces = ['', 's'];

/** Merges at every occasion, of tables of a few rows. */
const bounds = {
  segmentBytes: 8 * 1024,
  compaction: {
    level0Tables: 2,
    tableBytes: 400,
    level1Bytes: 800,
    levelRatio: 2,
    jobBytes: 4096,
    tombstonesMin: 1,
  },
  flushMerges: true,
} as const;

/** A store beside all states it ever had. */
export class Twin {
  readonly disk = new MemoryFileSystem();
  readonly clock = new TestClock();
  readonly points: Point[] = [{ seq: 0, since: 0, ms: 0, state: new Map() }];
  readonly snapshots = new Map<string, number>();
  views: { view: ReadView; seq: number }[] = [];
  engine!: Engine;
  readonly #history: HistoryOptions;
  #opens = 0;
  #named = 0;

  constructor(history: HistoryOptions) {
    this.#history = history;
  }

  async open(): Promise<void> {
    const prng = new Prng(++this.#opens);
    const { disk, clock } = this;
    const env = { fs: disk, lock: memoryLock(disk, clock), clock, random: (n: number) => prng.bytes(n) };
    const options = this.#opens === 1 ? { history: this.#history } : {};
    this.engine = await openWithEnv(env, { ...smallOptions, ...options }, bounds);
  }

  async reopen(): Promise<void> {
    for (const { view } of this.views) view.close();
    this.views = [];
    await this.engine.close();
    await this.open();
  }

  space(name: string): Engine {
    return name === '' ? this.engine : this.engine.space(name);
  }

  get newest(): Point {
    return this.points.at(-1)!;
  }

  at(seq: number): State {
    return this.points.findLast((point) => point.seq <= seq)!.state;
  }

  /** False where a commit of a number that was not told may lie on either side. */
  knows(seq: number): boolean {
    return !this.points.some((point) => point.since < seq && seq < point.seq);
  }

  committed(seq: number, change: (state: Map<string, string>) => void, since = seq - 1): void {
    const state = new Map(this.newest.state);
    change(state);
    this.points.push({ seq, since, ms: this.clock.now(), state });
  }

  async put(space: string, key: string, value: string): Promise<void> {
    const { seq } = await this.space(space).put(key, value);
    this.committed(seq, (state) => state.set(`${space}/${key}`, value));
  }

  async remove(space: string, key: string): Promise<void> {
    const since = this.engine.stats().seq;
    if (!(await this.space(space).delete(key))) return;
    this.committed(this.engine.stats().seq, (state) => state.delete(`${space}/${key}`), since);
  }

  async removeRange(space: string, gte: string): Promise<void> {
    const { seq } = await this.space(space).deleteRange({ gte });
    this.committed(seq, (state) => {
      for (const name of state.keys()) {
        const key = name.slice(space.length + 1);
        if (name.startsWith(`${space}/`) && Buffer.compare(Buffer.from(key), Buffer.from(gte)) >= 0) {
          state.delete(name);
        }
      }
    });
  }

  async drop(): Promise<void> {
    const since = this.engine.stats().seq;
    if (!(await this.engine.spaces.drop('s'))) return;
    const drop = (state: Map<string, string>): void => {
      for (const name of state.keys()) if (name.startsWith('s/')) state.delete(name);
    };
    this.committed(this.engine.stats().seq, drop, since);
  }

  async snapshot(): Promise<void> {
    const { name, seq } = await this.engine.snapshots.create(`n${this.#named++}`);
    this.snapshots.set(name, seq);
    this.committed(seq, () => undefined);
  }

  async forget(which: number): Promise<void> {
    const name = Array.from(this.snapshots.keys())[which % Math.max(1, this.snapshots.size)];
    if (name === undefined) return;
    await this.engine.snapshots.delete(name);
    this.snapshots.delete(name);
    this.committed(this.engine.stats().seq, () => undefined);
  }

  look(): void {
    const view = this.engine.view();
    this.views.push({ view, seq: view.seq });
  }
}

export const text = (value: Uint8Array | undefined): string | undefined =>
  value === undefined ? undefined : Buffer.from(value).toString('latin1');

export async function scanned(
  entries: AsyncIterable<{ key?: string; value?: Uint8Array }>,
): Promise<string[]> {
  const all: string[] = [];
  for await (const { key, value } of entries) all.push(`${key}=${text(value)}`);
  return all;
}

export function expected(state: State, space: string): string[] {
  return keys
    .filter((key) => state.has(`${space}/${key}`))
    .map((key) => `${key}=${state.get(`${space}/${key}`)}`);
}

/** The diff of two points equals that of their maps; keys put again with the same value may be in it too. */
export async function checkDiff(twin: Twin, points: readonly [At, number][], space: string): Promise<void> {
  for (const [from, a] of points) {
    for (const [to, b] of points) {
      const [before, after] = [twin.at(a), twin.at(b)];
      const found = new Map<string, string>();
      let last = '';
      for await (const { key, change, before: old, after: now } of twin.space(space).diff(from, to)) {
        expect(Buffer.compare(Buffer.from(last), Buffer.from(key))).toBeLessThan(last === '' ? 1 : 0);
        last = key;
        found.set(key, change);
        expect([old === undefined, now === undefined]).toEqual([change === 'added', change === 'removed']);
        if (before.get(`${space}/${key}`) === after.get(`${space}/${key}`))
          expect(old!.digest).toBe(now!.digest);
      }
      for (const key of keys) {
        const [old, now] = [before.get(`${space}/${key}`), after.get(`${space}/${key}`)];
        if (old === now) continue;
        expect(found.get(key)).toBe(old === undefined ? 'added' : now === undefined ? 'removed' : 'changed');
      }
    }
  }
}
