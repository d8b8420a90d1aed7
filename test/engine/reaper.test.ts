/** Range deletes and their reaper against a map: with flushes, merges, held scans, kills and power cuts. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { toHex } from '../../src/base/bytes.ts';
import { Prng } from '../../src/base/prng.ts';
import { BlockCache } from '../../src/cache/block-cache.ts';
import { CatalogStore } from '../../src/catalog/catalog-store.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { openWithEnv } from '../../src/engine/opening/open.ts';
import { decodeSysKey, seqOf } from '../../src/format/internal-key.ts';
import { rowKinds } from '../../src/format/row-kinds.ts';
import { trashPrefix } from '../../src/format/system-rows.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { memoryLock } from '../../src/fs/memory-lock.ts';
import { type KeyCursor, OK, settle } from '../../src/tree/cursor.ts';
import { Forest } from '../../src/tree/forest.ts';
import { simulatedClock } from '../crash/machine.ts';
import { smallOptions, text, turn } from './engine-kit.ts';

const compaction = { level0Tables: 2, tableBytes: 1024, level1Bytes: 2048, levelRatio: 2, tombstonesMin: 4 };
const reaping = { rows: 6, deletes: 3, bytes: 400 };
let opens = 0;

function open(disk: MemoryFileSystem, merges = true): Promise<Engine> {
  const clock = simulatedClock();
  const prng = new Prng(++opens);
  const env = { fs: disk, lock: memoryLock(disk, clock), clock, random: (n: number) => prng.bytes(n) };
  const merging = merges ? compaction : ('off' as const);
  const bounds = { segmentBytes: 16 * 1024, compaction: merging, reaping, flushMerges: true };
  return openWithEnv(env, smallOptions, bounds);
}

const spaces = ['', 'one'] as const;
type Model = Map<string, Map<string, string>>;
type Bounds = { prefix?: string; gt?: string; gte?: string; lt?: string; lte?: string };

const key = fc.nat(15).map((n) => `k${n.toString(4).padStart(2, '0')}`);
const space = fc.constantFrom('', '', 'one' as const);
const bounds: fc.Arbitrary<Bounds> = fc.oneof(
  fc.constantFrom('k', 'k0', 'k1', 'k2', 'k33').map((prefix) => ({ prefix })),
  fc.record({ gte: key, lt: key }),
  fc.record({ gt: key, lte: key }),
);
const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant('put' as const), space, key, long: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('delete' as const), space, key }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('range' as const), space, bounds }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('clear' as const), space }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('drop' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('hold' as const), space, reverse: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('turns' as const), count: fc.nat(12) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('flush' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('reopen' as const),
      how: fc.constantFrom('close', 'kill', 'power'),
    }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

function isIn(name: string, { prefix, gt, gte, lt, lte }: Bounds): boolean {
  if (prefix !== undefined && !name.startsWith(prefix)) return false;
  if ((gt !== undefined && name <= gt) || (gte !== undefined && name < gte)) return false;
  return !((lt !== undefined && name >= lt) || (lte !== undefined && name > lte));
}

/** A scan that was begun earlier, and the entries it has still to give. */
interface Held {
  readonly next: () => Promise<string | undefined>;
  readonly left: string[];
}

class Run {
  disk = new MemoryFileSystem();
  engine!: Engine;
  #model: Model = new Map(spaces.map((name) => [name, new Map()]));
  #held: Held[] = [];
  #puts = 0;
  readonly #merges: boolean;

  constructor(merges: boolean) {
    this.#merges = merges;
  }

  async open(): Promise<void> {
    this.engine = await open(this.disk, this.#merges);
  }

  #space(name: string): Engine {
    return name === '' ? this.engine : this.engine.space(name);
  }

  async step(one: Step): Promise<void> {
    const { engine } = this;
    const rows = this.#model.get('space' in one ? one.space : '')!;
    if (one.do === 'put') {
      const value = `${++this.#puts}`.padEnd(one.long ? 3000 : 8, '.');
      await this.#space(one.space).put(one.key, value, rows.has(one.key) ? {} : { ifSeq: 0 });
      rows.set(one.key, value);
    } else if (one.do === 'delete') {
      expect(await this.#space(one.space).delete(one.key)).toBe(rows.delete(one.key));
    } else if (one.do === 'range') {
      await this.#space(one.space).deleteRange(one.bounds);
      for (const name of Array.from(rows.keys())) if (isIn(name, one.bounds)) rows.delete(name);
    } else if (one.do === 'clear') {
      await this.#space(one.space).clear();
      rows.clear();
    } else if (one.do === 'drop') {
      await engine.spaces.drop('one');
      this.#model.get('one')!.clear();
      expect(engine.spaces.list()).toEqual([]);
    } else if (one.do === 'hold') await this.#hold(one.space, one.reverse);
    else if (one.do === 'turns') for (let i = 0; i < one.count; i++) await turn();
    else if (one.do === 'flush') await engine.flush();
    else await this.#reopen(one.how);
    await this.check();
  }

  /** A scan begun now; its entries are taken one by one as time goes on. */
  async #hold(name: string, reverse: boolean): Promise<void> {
    const left = Array.from(this.#model.get(name)!, ([row, value]) => `${row}=${value}`).sort();
    if (reverse) left.reverse();
    const entries = this.#space(name).scan({ reverse })[Symbol.asyncIterator]();
    const next = async (): Promise<string | undefined> => {
      const { value, done } = await entries.next();
      return done === true ? undefined : `${value.key}=${text(value.value)}`;
    };
    this.#held.push({ next, left });
  }

  async #reopen(how: string): Promise<void> {
    for (const held of this.#held) await this.#drain(held);
    this.#held = [];
    const after = how === 'kill' ? this.disk.fork() : this.disk.crash(new Prng(this.#puts));
    await this.engine.close();
    if (how !== 'close') this.disk = after;
    await this.open();
  }

  async #drain({ next, left }: Held): Promise<void> {
    for (const entry of left) expect(await next()).toBe(entry);
    expect(await next()).toBeUndefined();
  }

  async check(): Promise<void> {
    expect(this.engine.health().ok).toBe(true);
    for (const held of this.#held)
      if (held.left.length > 0) expect(await held.next()).toBe(held.left.shift());
    for (const [name, rows] of this.#model) {
      const found: string[] = [];
      for await (const entry of this.#space(name).scan()) found.push(`${entry.key}=${text(entry.value)}`);
      expect(found).toEqual(Array.from(rows, ([row, value]) => `${row}=${value}`).sort());
      for (let n = 0; n < 16; n++) {
        const asked = `k${n.toString(4).padStart(2, '0')}`;
        expect(text(this.#space(name).getSync(asked))).toBe(rows.get(asked));
      }
    }
  }

  async reaped(): Promise<void> {
    for (let i = 0; i < 5000 && this.engine.stats().ranges.pending > 0; i++) await turn();
    expect(this.engine.stats().ranges).toMatchObject({ pending: 0, failures: 0 });
  }
}

/** Superseded versions with chunks, and what the trash says of them, both as row prefix and number. */
async function trashOf(disk: MemoryFileSystem): Promise<{ superseded: string[]; trash: string[] }> {
  const { catalog, slot } = await CatalogStore.load(disk);
  const options = { dbUuid: slot.dbUuid, cache: new BlockCache(1 << 20), memtableBytes: 1 << 20 };
  const { forest } = await Forest.open(disk, catalog.tables, options);
  const superseded: string[] = [];
  const trash = new Set<string>();
  let count = 0;
  let last = '';
  let gone = '';
  const met = new Set<string>();
  await each(forest.keys.view().cursor(), ({ keyBytes, keyFrom, keyTo, valueBytes, valueFrom }) => {
    const prefix = toHex(keyBytes.slice(keyFrom, keyTo - 8));
    const head = valueBytes[valueFrom]!;
    const hasChunks = (head & 15) === rowKinds.put && head >> 4 !== 0;
    const version = `${prefix} ${seqOf(keyBytes, keyTo)}`;
    // A GONE row stands before its version, and says that it is in no trash any more.
    if ((head & 15) === rowKinds.gone) gone = version;
    else if (hasChunks && prefix === last && version !== gone) superseded.push(version);
    last = prefix;
  });
  await each(forest.system.view().cursor(), ({ keyBytes, keyFrom, keyTo, valueBytes, valueFrom }) => {
    const { sysKey } = decodeSysKey(keyBytes, keyFrom, keyTo);
    if (toHex(sysKey.slice(0, trashPrefix.length)) !== toHex(trashPrefix)) return;
    const name = toHex(sysKey);
    const isNewest = !met.has(name);
    met.add(name);
    if (!isNewest || valueBytes[valueFrom] !== rowKinds.put) return;
    const from = trashPrefix.length + 8;
    const seq1 = Buffer.from(sysKey).readBigUInt64BE(sysKey.length - 8);
    count++;
    trash.add(`${toHex(sysKey.slice(from, -8))} ${seq1}`);
  });
  expect(trash.size).toBe(count);
  await forest.close();
  return { superseded: superseded.sort(), trash: Array.from(trash).sort() };
}

async function each(cursor: KeyCursor, visit: (cursor: KeyCursor) => void): Promise<void> {
  for (let at = await settle(cursor, () => cursor.first()); at === OK; ) {
    visit(cursor);
    at = await settle(cursor, () => cursor.next());
  }
}

const runs = Number(process.env.VARVE_COUNT ?? 25);

describe('range deletes against a map', () => {
  test('no answer changes while ranges are reaped, and versions with chunks go to the trash', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.boolean(),
        fc.array(step, { minLength: 5, maxLength: 40 }),
        async (merges, steps) => {
          const run = new Run(merges);
          await run.open();
          for (const one of steps) await run.step(one);
          await run.reaped();
          await run.check();
          await run.engine.flush();
          await run.check();
          await run.engine.close();
          const { superseded, trash } = await trashOf(run.disk);
          expect(trash).toEqual(superseded);
        },
      ),
      { numRuns: runs },
    );
  }, 120_000);

  test('late deletes are met before what they hide, whatever the numbers in their tables', async () => {
    const disk = new MemoryFileSystem();
    const engine = await open(disk, false);
    const names = Array.from({ length: 200 }, (_, i) => `k${i + 100}`);
    for (const name of names) await engine.put(name, 'old');
    await engine.deleteRange({ prefix: 'k' });
    await engine.put('later', 'v');
    expect(engine.stats().ranges.pending).toBe(1);
    await engine.flush();
    for (let i = 0; i < 5000 && engine.stats().ranges.pending > 0; i++) await turn();
    await engine.flush();
    expect(engine.stats().tables.keys).toBeGreaterThan(1);
    for (const name of names) expect(engine.getSync(name)).toBeUndefined();
    await engine.close();
    const again = await open(disk);
    await again.flush();
    for (const name of names) expect(await again.has(name)).toBe(false);
    expect(text(again.getSync('later'))).toBe('v');
    await again.close();
  });

  test('a crash at any operation loses no delete', async () => {
    const disk = new MemoryFileSystem();
    const engine = await open(disk);
    const names = Array.from({ length: 12 }, (_, i) => `k${i + 10}`);
    for (const name of names) await engine.put(name, name.padEnd(name < 'k15' ? 2000 : 8, '.'));
    await engine.space('one').put('x', 'y');
    await engine.flush();
    const images: { image: MemoryFileSystem; where: string; done: number }[] = [];
    let done = 0;
    let ops = 0;
    disk.faults = (op) => {
      const mode = (['none', 'all', 'mixed'] as const)[ops++ % 3]!;
      const image = mode === 'mixed' ? disk.crash(new Prng(ops)) : disk.crash(mode);
      images.push({ image, where: `before ${op.kind} of ${op.path}, ${mode}`, done });
      return undefined;
    };
    const calls = [
      () => engine.deleteRange({ gte: 'k12', lt: 'k18' }),
      () => engine.put('k13', 'new'),
      () => engine.deleteRange({ prefix: 'k1' }),
      () => engine.spaces.drop('one'),
    ];
    const after = [names, names.filter((n) => n < 'k12' || n >= 'k18')];
    after.push([...after[1]!, 'k13'].sort(), names.slice(10), names.slice(10));
    for (const call of calls) {
      await call();
      done++;
    }
    for (let i = 0; i < 500 && engine.stats().ranges.pending > 0; i++) await turn();
    await engine.close();
    disk.faults = undefined;
    expect(images.length).toBeGreaterThan(40);
    for (const { image, where, done: count } of images) {
      const again = await open(image);
      const found: string[] = [];
      for await (const entry of again.scan({ values: false })) found.push(entry.key);
      // The call under way may have reached the disk.
      const allowed = [after[count], after[Math.min(count + 1, 4)]].map((list) => list!.join());
      expect(allowed, where).toContain(found.join());
      if (count === 4) expect(again.spaces.list(), where).toEqual([]);
      for (let i = 0; i < 500 && again.stats().ranges.pending > 0; i++) await turn();
      const later: string[] = [];
      for await (const entry of again.scan({ values: false })) later.push(entry.key);
      expect(later, where).toEqual(found);
      await again.close();
      const { superseded, trash } = await trashOf(image);
      expect(trash, where).toEqual(superseded);
    }
  }, 120_000);
});
