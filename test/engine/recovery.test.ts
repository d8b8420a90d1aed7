import { describe, expect, test } from 'vitest';
import { VarveError } from '../../src/base/errors.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import {
  bytesOf,
  codeOf,
  contents,
  failure,
  filesIn,
  keysOf,
  killed,
  newStore,
  openOn,
  same,
} from './engine-kit.ts';

describe('damage at open', () => {
  async function store(): Promise<{
    closed: MemoryFileSystem;
    dead: MemoryFileSystem;
    values: Map<string, Uint8Array>;
  }> {
    const { engine, disk } = await newStore({}, 8192);
    const values = new Map(
      Array.from({ length: 12 }, (_, i) => [`k${i}`, bytesOf(i, i % 3 === 0 ? 30 : 5000)] as const),
    );
    for (const [key, value] of values) {
      await engine.put(key, value);
      if (key === 'k5') await engine.flush();
    }
    const dead = killed(disk);
    await engine.close();
    return { closed: disk, dead, values };
  }

  /** Opens a damaged store: right bytes or an error that names a file, nothing else. */
  async function judge(
    disk: MemoryFileSystem,
    values: ReadonlyMap<string, Uint8Array>,
    file: string,
    isCut = false,
  ): Promise<string> {
    let engine: Awaited<ReturnType<typeof openOn>>;
    try {
      engine = await openOn(disk, {}, 8192);
    } catch (error) {
      if (!(error instanceof VarveError)) throw error;
      expect(['VARVE_CORRUPT', 'VARVE_FORMAT_VERSION', 'VARVE_NOT_FOUND']).toContain(error.code);
      return `refused ${error.code}`;
    }
    const lost: boolean[] = [];
    for (const [key, value] of values) {
      try {
        const got = await engine.get(key);
        if (got !== undefined) expect(same(got, value), `${key} after damage of ${file}`).toBe(true);
        lost.push(got === undefined);
      } catch (error) {
        if (!(error instanceof VarveError)) throw error;
        expect([error.code, error.file === undefined]).toEqual(['VARVE_CORRUPT', false]);
        lost.push(true);
      }
    }
    const health = engine.health();
    // The end of the log of a killed writer may be torn: what is lost then are the last commits.
    const isTorn = isCut && file.startsWith('wal/') && lost.indexOf(true) > lost.lastIndexOf(false);
    if (lost.includes(true) && !isTorn)
      expect(health.ok, `${file}: values are gone, health says nothing`).toBe(false);
    for (const damage of health.damage) expect(damage.file).not.toBe('');
    if (health.readOnly) {
      const error = await failure(engine.put('x', 'y'));
      expect([error.code, (error.cause as VarveError).code]).toEqual(['VARVE_READ_ONLY', 'VARVE_CORRUPT']);
    } else await engine.put('x', 'y');
    await engine.close();
    return health.status;
  }

  test('a flipped bit anywhere gives right bytes or an error with file and offset', async () => {
    const { closed, dead, values } = await store();
    for (const disk of [closed, dead]) {
      for (const file of disk.files().filter((one) => one !== 'LOCK')) {
        const { length } = disk.bytesOf(file);
        for (const share of [0, 0.01, 0.3, 0.6, 0.999]) {
          const copy = disk.fork();
          copy.flipBit(file, Math.floor(length * 8 * share));
          await judge(copy, values, file, share === 0.999);
        }
      }
    }
  });

  test('a file that is cut off, empty, gone or full of noise is found', async () => {
    const { closed, dead, values } = await store();
    for (const disk of [closed, dead]) {
      for (const file of disk.files().filter((one) => one !== 'LOCK')) {
        const { length } = disk.bytesOf(file);
        for (const change of [
          () => new Uint8Array(0),
          (bytes: Uint8Array) => bytes.slice(0, length >> 1),
          (bytes: Uint8Array) => bytes.slice(0, length - 1),
          () => bytesOf(1, length),
          () => new Uint8Array(length).fill(0xff),
        ]) {
          const copy = disk.fork();
          copy.corrupt(file, change);
          const left = copy.bytesOf(file).length;
          await judge(copy, values, file, left > 0 && left < length);
        }
        const copy = disk.fork();
        await copy.unlink(file);
        if (file !== 'SUPER') await judge(copy, values, file);
        else expect(await codeOf(openOn(copy))).toBe('VARVE_CORRUPT');
      }
    }
  });

  test('a lost table opens degraded; onDegraded: throw refuses; the rest is served', async () => {
    const { closed, values } = await store();
    const tables = filesIn(closed, 'tab');
    const copy = closed.fork();
    copy.corrupt(tables.at(-1)!, () => new Uint8Array(10));
    const engine = await openOn(copy);
    expect(engine.health()).toMatchObject({ status: 'degraded', readOnly: true, reason: expect.any(String) });
    expect(engine.health().damage[0]).toMatchObject({ file: tables.at(-1), kind: 'VARVE_CORRUPT' });
    let served = 0;
    for (const key of values.keys()) if (await engine.has(key)) served++;
    expect(served).toBeGreaterThan(0);
    await engine.close();
    const refused = await failure(openOn(copy, { onDegraded: 'throw' }));
    expect([refused.code, refused.file]).toEqual(['VARVE_CORRUPT', tables.at(-1)]);
    await (await openOn(closed, { onDegraded: 'throw' })).close();
  });

  test('a hole in the log names the numbers that are missing and keeps what lies behind', async () => {
    const { engine, disk } = await newStore();
    const seqs: number[] = [];
    for (let i = 0; i < 6; i++) seqs.push((await engine.put(`k${i}`, `v${i}`)).seq);
    const dead = killed(disk);
    const wal = filesIn(dead, 'wal').at(-1)!;
    const text3 = new TextEncoder().encode('v2');
    const at = Buffer.from(dead.bytesOf(wal)).indexOf(Buffer.from(text3));
    dead.flipBit(wal, at * 8);
    const again = await openOn(dead);
    expect(await keysOf(again)).toEqual(['k0', 'k1', 'k3', 'k4', 'k5']);
    expect(again.health()).toMatchObject({ status: 'degraded', missing: [{ from: seqs[2], to: seqs[2] }] });
    expect(again.health().damage[0]).toMatchObject({ file: wal });
    expect(await codeOf(again.put('x', 'y'))).toBe('VARVE_READ_ONLY');
    await again.close();
  });

  test('a segment that is gone is known at open, however old it is', async () => {
    const { closed } = await store();
    await (await openOn(closed, {}, 8192)).close();
    await (await openOn(closed, {}, 8192)).close();
    const file = filesIn(closed, 'seg')[0]!;
    await closed.unlink(file);
    const engine = await openOn(closed);
    expect(engine.health()).toMatchObject({ status: 'degraded', damage: [{ file }] });
    await engine.close();
  });

  test('a store of a newer format is refused as such', async () => {
    const { closed } = await store();
    const { newerSuper } = await import('./newer-format.ts');
    closed.corrupt('SUPER', newerSuper);
    const before = closed.digest();
    expect(await codeOf(openOn(closed))).toBe('VARVE_FORMAT_VERSION');
    expect(await codeOf(openOn(closed, { readOnly: true }))).toBe('VARVE_FORMAT_VERSION');
    expect(closed.digest()).toBe(before);
  });
});

describe('recovery', () => {
  test('is a function of what is on disk: a crash at any step of it gives the same store', async () => {
    const { engine, disk } = await newStore({}, 8192);
    for (let i = 0; i < 8; i++) await engine.put(`k${i}`, bytesOf(i, i % 2 === 0 ? 20 : 4000));
    await engine.delete('k3');
    await engine.space('s').put('k', bytesOf(20, 9000));
    const dead = killed(disk);
    const expected = await contents(engine);
    const copies: MemoryFileSystem[] = [];
    const run = dead.fork();
    run.faults = (op) => {
      if (op.index === copies.length) copies.push(run.fork());
      return undefined;
    };
    await (await openOn(run, {}, 8192)).close();
    expect(copies.length).toBeGreaterThan(20);
    for (const [i, copy] of copies.entries()) {
      const again = await openOn(copy.crash(i % 2 === 0 ? 'none' : 'all'), {}, 8192);
      expect(again.health().damage, `step ${i}`).toEqual([]);
      expect(await contents(again), `step ${i}`).toEqual(expected);
      await again.close();
    }
  });

  test('frames of open segments move into sealed ones, also when every row is in a table', async () => {
    const { engine, disk } = await newStore({}, 1024 * 1024);
    const value = bytesOf(1, 100_000);
    await engine.put('k', value);
    await engine.flush();
    const open = filesIn(disk, 'seg');
    const dead = killed(disk);
    const again = await openOn(dead);
    expect(again.stats().segments).toMatchObject({ open: 0, sealed: open.length });
    expect(same(await again.get('k'), value)).toBe(true);
    expect(await again.put('copy', value)).toMatchObject({ newChunks: 0 });
    await again.close();
    for (const file of open) expect(filesIn(dead, 'seg')).not.toContain(file);
    const third = await openOn(dead);
    expect(same(await third.get('copy'), value)).toBe(true);
    await third.close();
  });

  test('damage in an open segment is reported, and the values it does not touch are served', async () => {
    const { engine, disk } = await newStore({}, 1024 * 1024);
    for (let i = 0; i < 6; i++) await engine.put(`k${i}`, bytesOf(i, 1500));
    const dead = killed(disk);
    const file = filesIn(dead, 'seg')[0]!;
    dead.flipBit(file, (dead.bytesOf(file).length >> 1) * 8);
    const again = await openOn(dead);
    expect(again.health()).toMatchObject({ status: 'degraded', readOnly: true });
    expect(again.health().damage[0]).toMatchObject({ file, offset: expect.any(Number) });
    let whole = 0;
    for (let i = 0; i < 6; i++) {
      const got = await again.get(`k${i}`).catch((error: VarveError) => error.code);
      if (got instanceof Uint8Array) whole += same(got, bytesOf(i, 1500)) ? 1 : 100;
      else expect(got).toBe('VARVE_CORRUPT');
    }
    expect(whole).toBe(5);
    await again.close();
  });

  test('a store that is only read writes nothing, whatever it recovers', async () => {
    const { engine, disk } = await newStore();
    await engine.put('k', bytesOf(1, 9000));
    const dead = killed(disk);
    const before = dead.digest();
    const reader = await openOn(dead, { readOnly: true });
    expect(same(await reader.get('k'), bytesOf(1, 9000))).toBe(true);
    await reader.close();
    expect([dead.digest(), dead.opCount]).toEqual([before, 0]);
  });
});
