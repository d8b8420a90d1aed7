import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openEngine } from '../../src/index.ts';
import { bytesOf } from '../engine/engine-kit.ts';
import { cli, freshDir } from './kit.ts';

async function newStore(length = 300_000): Promise<string> {
  const dir = join(await freshDir(), 'store');
  for (let i = 1; i <= 3; i++) {
    const engine = await openEngine(dir);
    await engine.put(`photos/${i}`, bytesOf(i, length));
    await engine.close();
  }
  return dir;
}

test('a scrub remembers what it checked, and verify leaves it out', async () => {
  const dir = await newStore();
  const first = await cli(['scrub', dir]);
  expect([
    first.code,
    first.out.startsWith('no damage'),
    first.out.includes('every file was checked'),
  ]).toEqual([0, true, true]);
  const [report] = (await cli(['scrub', dir, '--older-than-days', '1', '--json'])).json();
  expect(report).toMatchObject({ type: 'scrub', ok: true, done: true, checkedSince: expect.any(String) });
  const [rest] = (await cli(['verify', dir, '--level', 'full', '--since', '2020-01-01', '--json'])).json();
  expect((rest!.checked as { skipped: number }).skipped).toBeGreaterThanOrEqual(3);
  expect((await cli(['verify', dir, '--since', 'soon'])).code).toBe(2);
  expect((await cli(['scrub', dir, '--sample', '0'])).code).toBe(2);
  expect((await cli(['scrub', join(dir, 'none')])).code).toBe(3);
});

test('a scrub that finds damage ends with exit code 4, one of a store in use with 5', async () => {
  const dir = await newStore();
  const engine = await openEngine(dir);
  expect((await cli(['scrub', dir])).code).toBe(5);
  expect((await cli(['compact', dir])).code).toBe(5);
  await engine.close();
  const other = await newStore(60_000);
  const segment = (await readdir(join(other, 'seg/00/00'))).sort()[1]!;
  const path = join(other, 'seg/00/00', segment);
  const bytes = await readFile(path);
  bytes[30_000]! ^= 1;
  await writeFile(path, bytes);
  const found = await cli(['scrub', other]);
  expect([found.code, found.out.includes('key photos/2')]).toEqual([4, true]);
});

test('compact says what it would free, frees it within its budgets, and ends with exit code 0', async () => {
  const dir = await newStore();
  for (const key of ['photos/1', 'photos/2']) expect((await cli(['rm', dir, key])).code).toBe(0);
  const [dry] = (await cli(['compact', dir, '--dry-run', '--json'])).json();
  expect(dry).toMatchObject({ type: 'compact', ok: true, dryRun: true });
  expect(dry!.reclaimedBytes as number).toBeGreaterThan(500_000);
  const [done] = (
    await cli(['compact', dir, '--cpu', '50', '--bytes-per-second', '100000000', '--json'])
  ).json();
  expect(done).toMatchObject({ type: 'compact', ok: true, complete: true, dryRun: false });
  expect(done!.reclaimedBytes as number).toBeGreaterThan(500_000);
  const [nothing] = (await cli(['compact', dir, '--json'])).json();
  expect(nothing).toMatchObject({ ok: true, removedSegments: 0 });
  const text = await cli(['compact', dir]);
  expect([text.code, text.out.includes('freed')]).toEqual([0, true]);
  expect((await cli(['compact', dir, '--cpu', '0'])).code).toBe(2);
  expect((await cli(['compact', join(dir, 'none')])).code).toBe(3);
});
