import { describe, expect, test } from 'vitest';
import { isVarveError } from '../../src/base/errors.ts';
import { Prng } from '../../src/base/prng.ts';
import type { Health } from '../../src/engine/types.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { openOn, type StoreShape } from '../crash/machine.ts';

const shape: StoreShape = { durability: 'full', algorithm: 'sieve', inlineMax: 100, segmentBytes: 16_384 };
const values = new Map(
  Array.from({ length: 8 }, (_, n) => [`key/${n}`, new Prng(n).bytes(n % 2 === 0 ? 60 : 6000)] as const),
);

/** Killed: tables, catalogs, an open segment and a log with commits behind the checkpoint. */
async function killedStore(durability: StoreShape['durability']): Promise<MemoryFileSystem> {
  const disk = new MemoryFileSystem();
  const engine = await openOn(disk, { ...shape, durability }, 1);
  for (const [key, value] of values) {
    await engine.put(key, value);
    if (key === 'key/3') await engine.flush();
  }
  const killed = disk.crash('all');
  await engine.close();
  return killed;
}

/** Right bytes, an error, or an answer that health() says may be wrong. */
async function judge(disk: MemoryFileSystem, readOnly: boolean): Promise<Health> {
  const engine = await openOn(disk, shape, 2, { readOnly });
  for (const [key, value] of values) {
    try {
      const got = await engine.get(key);
      const right = got !== undefined && Buffer.compare(got, value) === 0;
      if (!right) expect([key, got, engine.health().missing.length > 0]).toEqual([key, undefined, true]);
    } catch (error) {
      expect([key, isVarveError(error, 'VARVE_CORRUPT', 'VARVE_IO')]).toEqual([key, true]);
    }
  }
  const health = engine.health();
  disk.faults = undefined;
  await engine.close();
  return health;
}

async function expectWhole(disk: MemoryFileSystem): Promise<void> {
  const engine = await openOn(disk, shape, 3);
  for (const [key, value] of values) expect(Buffer.compare((await engine.get(key))!, value)).toBe(0);
  expect(engine.health().missing).toEqual([]);
  await engine.close();
}

describe('a file that cannot be read while the store is opened', () => {
  test('EIO of one file, or of one sector of it, degrades the store and it opens', async () => {
    for (const durability of ['full', 'os'] as const) {
      const killed = await killedStore(durability);
      for (const file of killed.files()) {
        const { length } = killed.bytesOf(file);
        const sectors = Array.from({ length: Math.ceil(length / 4096) }, (_, i) => i * 4096);
        const spans = [...sectors.map((from) => [from, from + 4096]), [0, length]] as [number, number][];
        for (const [from, to] of file === 'SUPER' ? spans.slice(0, -1) : spans) {
          for (const readOnly of [true, false]) {
            const disk = killed.fork();
            let hits = 0;
            disk.faults = ({ kind, path, pos = 0, length: n = 0 }) => {
              if (kind !== 'read' || path !== file || pos >= to || pos + n <= from) return undefined;
              hits++;
              return { errno: 'EIO' };
            };
            const health = await judge(disk, readOnly);
            const what = { durability, file, from, to, readOnly };
            if (hits > 0 && health.ok) expect(what).toEqual('listed');
            for (const { file: where } of health.damage) if (where === '') expect(what).toEqual('named');
            if (!readOnly) await expectWhole(disk);
          }
        }
      }
    }
  });

  test('a log sector that cannot be read is listed with its offset, no commit is dropped', async () => {
    const disk = await killedStore('full');
    const log = disk.files().findLast((file) => file.startsWith('wal/'))!;
    disk.faults = ({ kind, path }) => (kind === 'read' && path === log ? { errno: 'EIO' } : undefined);
    const health = await judge(disk, false);
    expect(health).toMatchObject({ status: 'degraded', readOnly: true });
    expect(health.damage).toContainEqual(expect.objectContaining({ file: log, offset: 0, kind: 'VARVE_IO' }));
    expect(health.missing.length).toBeGreaterThan(0);
    await expectWhole(disk);
  });

  test('a log that cannot be opened is told once, and what it held once', async () => {
    for (const readOnly of [true, false]) {
      const disk = await killedStore('full');
      const log = disk.files().findLast((file) => file.startsWith('wal/'))!;
      disk.faults = ({ kind, path }) => (kind === 'open' && path === log ? { errno: 'EIO' } : undefined);
      const { damage, missing } = await judge(disk, readOnly);
      expect(damage).toMatchObject([{ file: log, offset: 0, kind: 'VARVE_IO' }]);
      expect(missing).toHaveLength(1);
      if (!readOnly) await expectWhole(disk);
    }
  });

  test('EIO of a directory or of a look at a file degrades the store and it opens', async () => {
    const killed = await killedStore('os');
    for (const readOnly of [true, false]) {
      const looks = new Set<string>();
      const traced = killed.fork();
      traced.faults = ({ kind, path }) => {
        if (kind === 'list' || kind === 'stat') looks.add(`${kind} ${path}`);
        return undefined;
      };
      const engine = await openOn(traced, shape, 2, { readOnly });
      traced.faults = undefined;
      await engine.close();
      // Looked at only by what cleans up once the store is open.
      const late = ['list tmp', 'list readers', 'stat cat', 'stat wal'];
      for (const look of [...looks].filter((one) => !late.includes(one))) {
        const disk = killed.fork();
        disk.faults = ({ kind, path }) => (`${kind} ${path}` === look ? { errno: 'EIO' } : undefined);
        const health = await judge(disk, readOnly);
        if (look !== 'stat SUPER') expect([look, health.ok]).toEqual([look, false]);
        if (!readOnly) await expectWhole(disk);
      }
    }
  });

  test('errors of the moment reject the open with VARVE_IO and change nothing', async () => {
    const killed = await killedStore('full');
    const contents = (disk: MemoryFileSystem): string[] =>
      disk
        .files()
        .filter((file) => file !== 'LOCK')
        .map((file) => `${file} ${Buffer.from(disk.bytesOf(file)).toString('base64')}`);
    const before = contents(killed);
    const opened = killed.files().filter((file) => file !== 'LOCK');
    for (const errno of ['EMFILE', 'ENFILE', 'EACCES', 'ENOMEM']) {
      for (const file of opened) {
        for (const kind of ['open', 'read']) {
          const disk = killed.fork();
          let hits = 0;
          disk.faults = (op) => {
            if (op.kind !== kind || op.path !== file) return undefined;
            hits++;
            return { errno };
          };
          const failed = await openOn(disk, shape, 2).then(
            async (engine) => {
              disk.faults = undefined;
              await engine.close();
              return undefined;
            },
            (error: unknown) => error,
          );
          if (hits === 0) continue;
          expect({ file, kind, failed }).toMatchObject({ file, kind, failed: { code: 'VARVE_IO', errno } });
          expect(contents(disk)).toEqual(before);
        }
      }
    }
  });
});
