import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { repairWithEnv } from '../../src/engine/health/repairing.ts';
import { check } from '../../src/engine/health/verifying.ts';
import { chunkKinds } from '../../src/format/chunk-ref.ts';
import { filePath } from '../../src/format/file-names.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import type { VerifyReport } from '../../src/integrity/verify-types.ts';
import { envOf, openOn as openShape } from '../crash/machine.ts';
import { type BuiltStore, buildStore, shapeNames } from '../damage/stores.ts';
import { openParts } from '../engine/cleaner-kit.ts';
import { bytesOf, codeOf, newStore, openOn as openKit, smallChunks, turn } from '../engine/engine-kit.ts';

/** Opens a built store for reading. */
async function reader({ disk, shape, more }: BuiltStore, on: MemoryFileSystem = disk): Promise<Engine> {
  return await openShape(on, shape, 5, { ...more, readOnly: true });
}

async function checked(
  store: BuiltStore,
  on: MemoryFileSystem,
  level: VerifyReport['level'],
): Promise<VerifyReport> {
  const engine = await reader(store, on);
  try {
    return await engine.verify({ level });
  } finally {
    await engine.close();
  }
}

describe('verify', () => {
  test('three stores, closed and killed, are sound at every level, and a check writes nothing', async () => {
    for (const name of shapeNames) {
      const store = await buildStore(name, 3);
      const before = store.disk.digest();
      for (const level of ['index', 'chunks', 'full'] as const) {
        const report = await checked(store, store.disk, level);
        expect([name, report.damage, report.unchecked]).toEqual([name, [], []]);
        expect(report).toMatchObject({ ok: true, done: true, level });
        expect(report.checked.files).toBeGreaterThan(2);
        if (level !== 'index' && name !== 'inline') expect(report.checked.chunks).toBeGreaterThan(0);
      }
      expect(store.disk.digest()).toBe(before);
    }
  });

  test('a flipped bit of any file is found by the level that promises it, with file and offset', async () => {
    const prng = new Prng(11);
    for (const name of shapeNames) {
      const store = await buildStore(name, 4);
      const clean = await checked(store, store.disk, 'full');
      expect(clean.ok).toBe(true);
      for (const file of store.disk.files()) {
        if (file === 'LOCK') continue;
        const size = store.disk.bytesOf(file).length;
        for (let i = 0; i < 1; i++) {
          const disk = store.disk.fork();
          const bit = prng.below(size * 8);
          disk.flipBit(file, bit);
          const level = file.startsWith('seg/') ? 'chunks' : 'index';
          const report = await checked(store, disk, level).catch((error: { code: string }) => error.code);
          if (typeof report === 'string') {
            expect([name, file, report]).toEqual([name, 'SUPER', 'VARVE_CORRUPT']);
            continue;
          }
          const found = report.damage.filter((each) => each.file === file);
          const what = `${name} ${file} bit ${bit}`;
          // The last frames of a killed store's log may be a torn tail.
          const mayBeTorn = name === 'killed' && file.startsWith('wal/');
          if (!mayBeTorn) expect([what, report.ok, found.length > 0]).toEqual([what, false, true]);
          for (const { offset, length } of found) {
            if (offset === undefined || file === 'SUPER' || !file.startsWith('seg/')) continue;
            const at = Math.floor(bit / 8);
            if (length !== undefined) expect(at >= offset && at < offset + length).toBe(true);
          }
        }
      }
    }
  }, 60_000);

  test('a damaged chunk names the keys that read it, and no other', async () => {
    const store = await buildStore('chunked', 6);
    const engine = await reader(store);
    const prng = new Prng(5);
    const segments = store.disk.files().filter((file) => file.startsWith('seg/'));
    let attributed = 0;
    for (let i = 0; i < 12; i++) {
      const disk = store.disk.fork();
      const file = prng.pick(segments);
      disk.flipBit(file, 8 * (64 + prng.below(disk.bytesOf(file).length - 64)));
      const report = await checked(store, disk, 'chunks');
      const told = new Set(report.damage.flatMap(({ keys }) => keys ?? []));
      const broken = await reader(store, disk);
      for (const { space, key, versions } of store.keys) {
        if (versions.at(-1)!.value === undefined) continue;
        const name = space === '' ? key : `${space}\n${key}`;
        const code = await (space === '' ? broken : broken.space(space)).get(key).then(
          () => 'fine',
          (error: { code: string }) => error.code,
        );
        expect([file, name, code]).toEqual([file, name, told.has(name) ? 'VARVE_CORRUPT' : 'fine']);
        if (told.has(name)) attributed++;
      }
      await broken.close();
    }
    expect(attributed).toBeGreaterThan(2);
    await engine.close();
  }, 60_000);

  test('a file whose damage another part of the check has met before does not count as sound', async () => {
    const disk = new MemoryFileSystem();
    const made = await openParts(disk);
    await made.engine.put('k', bytesOf(1, 40_000));
    for (const { no } of made.store.parts.lanes.open()) await made.store.parts.lanes.roll(no);
    await made.engine.close();
    let node = { segment: 0, off8: 0 };
    const { engine, store } = await openParts(disk);
    await store.forest.chunks.scanAll(({ columns: { kind, segment, off8 } }) => {
      if (kind === chunkKinds.list) node = { segment, off8 };
    });
    disk.flipBit(filePath('seg', node.segment), (node.off8 * 8 + 100) * 8);
    const sound: string[] = [];
    const report = await check(store, {
      level: 'full',
      start: undefined,
      maxMs: undefined,
      onProgress: undefined,
      onSound: ({ phase, no }) => sound.push(`${phase} ${no}`),
    });
    expect(report.damage.map(({ file }) => file)).toContain(filePath('seg', node.segment));
    expect(sound).not.toContain(`segments ${node.segment}`);
    expect(sound.length).toBeGreaterThan(0);
    await engine.close();
  });

  test('deleted and cut off files are found', async () => {
    for (const name of shapeNames) {
      const store = await buildStore(name, 4);
      for (const [i, file] of store.disk.files().entries()) {
        if (file === 'LOCK' || file === 'SUPER' || i % 2 === 1) continue;
        const gone = store.disk.fork();
        await gone.unlink(file);
        const lost = await checked(store, gone, 'chunks');
        expect([name, file, lost.ok, lost.damage.some((each) => each.file === file)]).toEqual([
          name,
          file,
          false,
          true,
        ]);
        const cut = store.disk.fork();
        cut.corrupt(file, (bytes) => bytes.subarray(0, Math.floor(bytes.length / 2)));
        const short = await checked(store, cut, 'chunks');
        const mayBeTorn = name === 'killed' && file.startsWith('wal/');
        if (!mayBeTorn) expect([name, file, short.ok]).toEqual([name, file, false]);
      }
    }
  }, 60_000);

  test('a store is sound while it is written to, flushed and merged', async () => {
    const { engine } = await newStore({}, 4096);
    let writing = true;
    const prng = new Prng(8);
    const writer = (async () => {
      for (let i = 0; writing; i++) {
        await engine.put(`key/${prng.below(40)}`, bytesOf(i % 50, 30 + prng.below(4000)));
        if (i % 3 === 0) await engine.delete(`key/${prng.below(40)}`);
        if (i % 20 === 19) await engine.flush();
        await turn();
      }
    })();
    for (let i = 0; i < 8; i++) {
      const report = await engine.verify({ level: i % 2 === 0 ? 'full' : 'index' });
      expect([i, report.damage, report.unchecked]).toEqual([i, [], []]);
      for (let turns = 0; turns < 30; turns++) await turn();
    }
    writing = false;
    await writer;
    expect(engine.health().ok).toBe(true);
  }, 60_000);

  test('a check in parts finds what the whole finds, and ends', async () => {
    const store = await buildStore('chunked', 9);
    const disk = store.disk.fork();
    for (const file of disk.files().filter((name) => name.startsWith('seg/') || name.startsWith('tab/')))
      disk.flipBit(file, 8 * 4200);
    const whole = await checked(store, disk, 'full');
    const engine = await reader(store, disk);
    const parts: VerifyReport[] = [];
    for (let cursor: string | undefined; ; ) {
      const report = await engine.verify({
        level: 'full',
        maxMs: 0,
        ...(cursor === undefined ? {} : { cursor }),
      });
      parts.push(report);
      if (report.done) break;
      cursor = report.cursor;
      expect(parts.length).toBeLessThan(100);
    }
    const names = (reports: VerifyReport[]): string[] =>
      Array.from(
        new Set(
          reports.flatMap(({ damage }) =>
            damage.map(({ file, offset, kind }) => `${file} ${offset} ${kind}`),
          ),
        ),
      ).sort();
    expect(names(parts)).toEqual(names([whole]));
    expect(parts.length).toBeGreaterThan(4);
    expect(engine.health().damage.length).toBeGreaterThan(0);
    await engine.close();
  });

  test('options are checked, and an aborted check ends', async () => {
    const { engine } = await newStore();
    await engine.put('a', bytesOf(1, 5000));
    expect(await codeOf(engine.verify({ level: 'all' as 'full' }))).toBe('VARVE_INVALID_ARGUMENT');
    expect(await codeOf(engine.verify({ maxMs: -1 }))).toBe('VARVE_INVALID_ARGUMENT');
    expect(await codeOf(engine.verify({ cursor: 'x' }))).toBe('VARVE_INVALID_ARGUMENT');
    expect(await codeOf(engine.verify({ cursor: 'index.tables.3', level: 'full' }))).toBe(
      'VARVE_INVALID_ARGUMENT',
    );
    expect(await codeOf(engine.verify({ depth: 1 } as object))).toBe('VARVE_INVALID_ARGUMENT');
    expect(await codeOf(engine.verify({ signal: AbortSignal.abort() }))).toBe('VARVE_ABORTED');
    const phases: string[] = [];
    await engine.verify({ onProgress: ({ phase }) => phases.push(phase) });
    expect(phases[0]).toBe('roots');
  });

  test('a store is sound while values are purged and segments cleaned, and once repaired', async () => {
    const { engine, disk } = await newStore({}, 4096);
    const prng = new Prng(12);
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 25; i++) await engine.put(`key/${prng.below(30)}`, bytesOf(prng.below(60), 9000));
      await engine.deleteRange({ prefix: `key/${round}` });
      const compacting = engine.compact();
      const during = await engine.verify({ level: 'full' });
      await compacting;
      const after = await engine.verify({ level: 'full' });
      for (const { damage, unchecked } of [during, after])
        expect([round, damage, unchecked]).toEqual([round, [], []]);
    }
    await engine.close();
    for (const dir of ['tab/', 'SUPER', 'cat/']) {
      const hit = disk.fork();
      const file = prng.pick(hit.files().filter((name) => name.startsWith(dir)));
      hit.corrupt(file, (bytes) => bytes.subarray(0, Math.floor(bytes.length / 2)));
      const report = await repairWithEnv(envOf(hit, 9), { chunking: smallChunks, inlineMax: 40 });
      const again = await openKit(hit);
      const { damage, unchecked } = await again.verify({ level: 'full' });
      expect([file, report.lost.chunks, damage, unchecked]).toEqual([file, 0, [], []]);
      // What was reclaimed does not come back to be reclaimed again, and what is left still can be.
      await again.clear();
      await again.compact();
      expect((await again.verify({ level: 'full' })).damage).toEqual([]);
      await again.close();
    }
  }, 60_000);
});
