import { expect, onTestFinished, test } from 'vitest';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { auditDisk } from '../crash/audit.ts';
import { type Opened, openParts } from './cleaner-kit.ts';
import { bytesOf, same } from './engine-kit.ts';

async function newParts(): Promise<Opened & { disk: MemoryFileSystem; scans: () => number }> {
  const disk = new MemoryFileSystem();
  const opened = await openParts(disk);
  onTestFinished(() => opened.engine.close().catch(() => undefined));
  const { chunks } = opened.store.forest;
  const scan = chunks.scanStretches.bind(chunks);
  let scans = 0;
  chunks.scanStretches = (take, pace) => {
    scans++;
    return scan(take, pace);
  };
  return { ...opened, disk, scans: () => scans };
}

test('several cycles are planned from one scan', async () => {
  const { engine, store, disk, scans } = await newParts();
  for (let i = 0; i < 150; i++) await engine.put(`k${i}`, bytesOf(i, 3000));
  for (let i = 0; i < 150; i += 2) await engine.delete(`k${i}`);
  expect((await engine.compact({ amplification: 1.05 })).ok).toBe(true);
  const { cycles } = store.parts.write!.cleaner.counters;
  expect(cycles).toBeGreaterThan(4);
  // One a cycle, which counts what it copies; one before them all, one behind.
  expect(scans()).toBeLessThanOrEqual(cycles + 3);
  for (let i = 1; i < 150; i += 2) expect(same(await engine.get(`k${i}`), bytesOf(i, 3000))).toBe(true);
  await engine.close();
  expect((await auditDisk(disk)).problems).toEqual([]);
});

test('a run ends only behind a scan that finds nothing', async () => {
  const { engine, disk } = await newParts();
  for (let i = 0; i < 60; i++) await engine.put(`k${i}`, bytesOf(i, 3000));
  for (let i = 0; i < 30; i += 2) await engine.delete(`k${i}`);
  let more: Promise<void> | undefined;
  const removeMore = async (): Promise<void> => {
    for (let i = 30; i < 60; i += 2) await engine.delete(`k${i}`);
    engine.resumeCleaning();
  };
  const onProgress = ({ phase }: { phase: string }): void => {
    if (phase !== 'segments' || more !== undefined) return;
    engine.pauseCleaning();
    more = removeMore();
  };
  const report = await engine.compact({ onProgress });
  await more;
  expect(more).toBeDefined();
  expect(report.removedSegments).toBeGreaterThan(8);
  // What the run has made is left for the next.
  expect((await engine.compact()).copiedBytes).toBeLessThan(3000);
  for (let i = 1; i < 60; i += 2) expect(same(await engine.get(`k${i}`), bytesOf(i, 3000))).toBe(true);
  await engine.close();
  expect((await auditDisk(disk)).problems).toEqual([]);
});
