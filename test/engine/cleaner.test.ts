import { describe, expect, onTestFinished, test } from 'vitest';
import type { VarveError } from '../../src/base/errors.ts';
import { Prng } from '../../src/base/prng.ts';
import { filePath } from '../../src/format/file-names.ts';
import { streamClasses } from '../../src/format/segment.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { auditDisk, strayFiles } from '../crash/audit.ts';
import { abandon, type CleanerShape, type Opened, openParts } from './cleaner-kit.ts';
import { bytesOf, codeOf, collect, filesIn, newStore, openOn, same, smallOptions } from './engine-kit.ts';

async function newParts(shape: CleanerShape = {}): Promise<Opened & { disk: MemoryFileSystem }> {
  const disk = new MemoryFileSystem();
  const opened = await openParts(disk, shape);
  onTestFinished(() => opened.engine.close().catch(() => undefined));
  return { ...opened, disk };
}

describe('compact', () => {
  test('garbage goes, what is referenced stays, and no file is left over', async () => {
    const { engine, disk } = await newParts();
    for (let i = 0; i < 20; i++) await engine.put(`old${i}`, bytesOf(i, 6000));
    await abandon(engine, 0, 10, 12_000);
    for (let i = 0; i < 20; i += 2) await engine.put(`old${i}`, bytesOf(50 + i, 6000));
    await engine.flush();
    const before = engine.stats();
    const dry = await engine.compact({ dryRun: true });
    expect(dry.reclaimedBytes).toBeGreaterThan(150_000);
    const report = await engine.compact();
    expect(report).toMatchObject({ ok: true, complete: true, pinned: [], damage: [] });
    expect(report.reclaimedBytes).toBeGreaterThan(150_000);
    expect(report.copiedBytes).toBeGreaterThan(30_000);
    expect(engine.stats().segments.dataBytes).toBeLessThan(before.segments.dataBytes * 0.6);
    expect(engine.stats().space.deadBytes).toBeLessThan(20_000);
    expect(await strayFiles(disk)).toEqual([]);
    const isWhole = async (engineNow: typeof engine): Promise<void> => {
      for (let i = 0; i < 20; i++) {
        const value = bytesOf(i % 2 === 0 ? 50 + i : i, 6000);
        expect(same(await engineNow.get(`old${i}`), value)).toBe(true);
      }
    };
    await isWhole(engine);
    const second = await engine.compact();
    expect(second).toMatchObject({ removedSegments: 0, copiedBytes: 0 });
    await engine.close();
    expect((await auditDisk(disk)).problems).toEqual([]);
    const again = await openParts(disk);
    await isWhole(again.engine);
    await again.engine.compact();
    await isWhole(again.engine);
    await again.engine.close();
    expect((await auditDisk(disk)).problems).toEqual([]);
    expect(await strayFiles(disk)).toEqual([]);
  });

  test('deleting everything leaves no chunk data and an empty chunk tree', async () => {
    const { engine, disk } = await newParts();
    const prng = new Prng(1);
    for (let i = 0; i < 30; i++) await engine.put(`k${i % 10}`, prng.bytes(1000 * (1 + prng.below(8))));
    for (let i = 0; i < 10; i++) await engine.delete(`k${i}`);
    const report = await engine.compact();
    expect(report.ok).toBe(true);
    const { segments, tables } = engine.stats();
    expect(segments.dataBytes).toBe(0);
    expect(tables.chunks).toBe(0);
    await engine.close();
    expect((await auditDisk(disk)).problems).toEqual([]);
    expect(await strayFiles(disk)).toEqual([]);
  });

  test('twenty rounds of overwriting a random half stay within a quarter over what is live', async () => {
    const { engine, disk } = await newParts({ segmentBytes: 32 * 1024 });
    const prng = new Prng(7);
    const keys = 30;
    const size = 8000;
    for (let i = 0; i < keys; i++) await engine.put(`k${i}`, prng.bytes(size));
    for (let round = 0; round < 20; round++) {
      for (let i = 0; i < keys / 2; i++) await engine.put(`k${prng.below(keys)}`, prng.bytes(size));
      await engine.compact();
      expect(engine.stats().segments.dataBytes / (keys * size), `round ${round}`).toBeLessThan(1.25);
    }
    await engine.close();
    expect((await auditDisk(disk)).problems).toEqual([]);
  });

  test('frames are copied verbatim', async () => {
    const { engine, disk, store } = await newParts();
    for (let i = 0; i < 12; i++) await engine.put(`k${i}`, bytesOf(i, 3000));
    for (let i = 0; i < 12; i += 2) await engine.delete(`k${i}`);
    const frames = new Set<string>();
    for (const file of filesIn(disk, 'seg')) frames.add(Buffer.from(disk.bytesOf(file)).toString('latin1'));
    await engine.flush();
    const all = filesIn(disk, 'seg').map((file) => Buffer.from(disk.bytesOf(file)).toString('latin1'));
    await engine.compact();
    const made = store.parts.lanes.sealed().filter((info) => info.class === streamClasses.gc);
    expect(made.length).toBeGreaterThan(0);
    for (const info of made) {
      const { count, off8, storedLen } = await store.parts.segments.readTrailer(info.no);
      const bytes = Buffer.from(disk.bytesOf(filePath('seg', info.no)));
      for (let i = 0; i < count; i++) {
        const frame = bytes.subarray(off8[i]! * 8, off8[i]! * 8 + 64 + storedLen[i]!).toString('latin1');
        expect(all.some((old) => old.includes(frame))).toBe(true);
      }
    }
  });

  test('a damaged frame keeps its segment, and is listed; everything else goes on', async () => {
    const { engine, disk } = await newParts();
    for (let i = 0; i < 30; i++) await engine.put(`k${i}`, bytesOf(i, 3000));
    for (let i = 0; i < 30; i += 3) await engine.delete(`k${i}`);
    await engine.close();
    const [file] = filesIn(disk, 'seg');
    disk.corrupt(file!, (bytes) => {
      bytes.fill(0x33, 3500, 3600);
      return bytes;
    });
    const again = await openParts(disk);
    const report = await again.engine.compact();
    expect(report.ok).toBe(false);
    expect(report.damage[0]).toMatchObject({ file });
    expect(again.engine.health().damage[0]).toMatchObject({ file });
    expect(filesIn(disk, 'seg')).toContain(file);
    let unreadable = 0;
    for (let i = 1; i < 30; i++) {
      if (i % 3 === 0) continue;
      const value = await again.engine.get(`k${i}`).catch(() => undefined);
      if (value === undefined) unreadable++;
      else expect(same(value, bytesOf(i, 3000))).toBe(true);
    }
    expect(unreadable).toBe(1);
    expect(report.removedSegments).toBeGreaterThan(0);
    await again.engine.close();
  });

  test('a stream goes on while its segment is emptied', async () => {
    const { engine } = await newParts();
    const value = bytesOf(9, 12_000);
    await engine.put('kept', value);
    await engine.put('other', bytesOf(10, 12_000));
    await engine.flush();
    const reader = engine.stream('kept').getReader();
    const first = (await reader.read()).value!;
    await engine.delete('other');
    await engine.put('kept', bytesOf(11, 12_000));
    await engine.compact();
    await engine.compact();
    const parts = [first];
    for (let read = await reader.read(); !read.done; read = await reader.read()) parts.push(read.value!);
    expect(same(Buffer.concat(parts), value)).toBe(true);
    expect(same(await collect(engine.stream('kept')), bytesOf(11, 12_000))).toBe(true);
  });

  test('a reader whose files are gone is told to open again, and then reads', async () => {
    const { engine, disk } = await newParts();
    for (let i = 0; i < 20; i++) await engine.put(`k${i}`, bytesOf(i, 6000));
    await engine.flush();
    // Segments of the catalog before are not looked at when a reader opens.
    await engine.put('x', 'y');
    await engine.flush();
    const reader = await openOn(disk, { ...smallOptions, readOnly: true });
    for (let i = 0; i < 20; i++) if (i % 5 !== 0) await engine.delete(`k${i}`);
    await engine.compact();
    await engine.compact();
    const codes = new Set<string>();
    for (let i = 0; i < 20; i += 5) {
      const got = await reader.get(`k${i}`).catch((error: VarveError) => error.code);
      codes.add(typeof got === 'string' ? got : 'read');
    }
    expect(codes).toContain('VARVE_SNAPSHOT_EXPIRED');
    expect(codes).not.toContain('VARVE_CORRUPT');
    expect(reader.health()).toMatchObject({ ok: true, damage: [] });
    await reader.close();
    const again = await openOn(disk, { ...smallOptions, readOnly: true });
    for (let i = 0; i < 20; i += 5) expect(same(await again.get(`k${i}`), bytesOf(i, 6000))).toBe(true);
    await again.close();
    await engine.close();
  });

  test('a signal ends it, and another call goes on', async () => {
    const { engine, disk } = await newParts();
    for (let i = 0; i < 60; i++) await engine.put(`k${i}`, bytesOf(i, 3000));
    for (let i = 0; i < 60; i += 2) await engine.delete(`k${i}`);
    const controller = new AbortController();
    const phases: string[] = [];
    const call = engine.compact({
      signal: controller.signal,
      onProgress: ({ phase }) => {
        phases.push(phase);
        if (phase === 'segments') controller.abort();
      },
    });
    expect(await codeOf(call)).toBe('VARVE_ABORTED');
    expect(phases).toContain('segments');
    expect((await engine.compact({ maxBytes: 1 })).copiedBytes).toBeLessThan(100_000);
    expect((await engine.compact()).ok).toBe(true);
    for (let i = 1; i < 60; i += 2) expect(same(await engine.get(`k${i}`), bytesOf(i, 3000))).toBe(true);
    await engine.close();
    expect((await auditDisk(disk)).problems).toEqual([]);
  });

  test('options are checked before anything happens', async () => {
    const { engine } = await newParts();
    expect(await codeOf(engine.compact({ maxBytes: 0 }))).toBe('VARVE_INVALID_ARGUMENT');
    expect(await codeOf(engine.compact({ bytesPerSecond: 1.5 }))).toBe('VARVE_INVALID_ARGUMENT');
    expect(await codeOf(engine.compact({ other: 1 } as object))).toBe('VARVE_INVALID_ARGUMENT');
    expect(await codeOf(engine.compact({ signal: AbortSignal.abort() }))).toBe('VARVE_ABORTED');
  });
});

test('cleaning that is paused stands still, goes on when resumed, and ends with its signal', async () => {
  const { engine, clock } = await newStore({ cleaning: { enabled: false } });
  for (let i = 0; i < 20; i++) await engine.put(`k${i}`, bytesOf(i, 12_000));
  for (let i = 0; i < 20; i += 2) await engine.delete(`k${i}`);
  engine.pauseCleaning();
  expect(engine.stats().space.cleaning.paused).toBe(true);
  let isDone = false;
  const running = engine.compact().then((report) => {
    isDone = true;
    return report;
  });
  for (let i = 0; i < 20; i++) await clock.advance(100);
  expect([isDone, engine.stats().space.cleaning.copiedBytes]).toEqual([false, 0]);
  engine.resumeCleaning();
  expect((await running).reclaimedBytes).toBeGreaterThan(100_000);

  for (let i = 1; i < 20; i += 2) await engine.delete(`k${i}`);
  engine.pauseCleaning();
  const controller = new AbortController();
  const ended = codeOf(engine.compact({ signal: controller.signal }));
  for (let i = 0; i < 5; i++) await clock.advance(100);
  controller.abort();
  for (let i = 0; i < 50; i++) await clock.advance(100);
  expect(await ended).toBe('VARVE_ABORTED');
  engine.resumeCleaning();
});

test('compact leaves as much garbage as it is allowed to, and refuses budgets that are none', async () => {
  const { engine } = await newStore({ cleaning: { enabled: false } });
  for (let i = 0; i < 40; i++) await engine.put(`k${i}`, bytesOf(i, 12_000));
  for (let i = 0; i < 40; i += 2) await engine.delete(`k${i}`);
  const loose = await engine.compact({ amplification: 1.5, memoryBytes: 1024 * 1024 });
  const { liveBytes, dataBytes } = engine.stats().space;
  expect(dataBytes / liveBytes).toBeLessThanOrEqual(1.55);
  const tight = await engine.compact();
  expect(engine.stats().space.dataBytes).toBeLessThan(dataBytes);
  expect(loose.copiedBytes + tight.copiedBytes).toBeGreaterThan(0);
  for (const bad of [{ share: 0 }, { amplification: 0.5 }, { memoryBytes: 1 }] as const) {
    expect(await codeOf(engine.compact(bad))).toBe('VARVE_INVALID_ARGUMENT');
  }
});
