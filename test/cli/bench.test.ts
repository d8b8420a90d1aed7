import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { leftText } from '../../src/cli/progress.ts';
import { countText } from '../../src/cli/text.ts';
import { cli, freshDir } from './kit.ts';

interface Report {
  readonly limits: Record<string, number>;
  readonly results: { name: string; value: number; limitValue: number; share: number }[];
}

test('bench measures below the directory it is given and leaves nothing there', async () => {
  const dir = await freshDir();
  await writeFile(join(dir, 'other'), 'mine');
  const { code, json, err } = await cli(['bench', dir, '--seconds', '0.1', '--json']);
  expect({ code, err }).toEqual({ code: 0, err: '' });
  const [report] = json();
  expect(report).toMatchObject({ type: 'bench', ok: true, dir, chunking: { algorithm: 'sieve' } });
  const { limits, results } = report as unknown as Report;
  for (const limit of Object.values(limits)) expect(limit).toBeGreaterThan(0);
  expect(results.map(({ name }) => name)).toEqual([
    'ingest, new',
    'ingest, similar',
    'ingest, unchanged',
    'ingest, edited',
    'read back, checked',
    'small puts',
    'small gets',
    'durable commits',
  ]);
  for (const { value, limitValue, share } of results) {
    expect(value).toBeGreaterThan(0);
    expect(share).toBeCloseTo(value / limitValue);
  }
  expect(await readdir(dir)).toEqual(['other']);
}, 30_000);

test('bench removes the directories it made, also when it is interrupted', async () => {
  const dir = await freshDir();
  const controller = new AbortController();
  const running = cli(['bench', join(dir, 'a', 'b'), '--seconds', '5'], { signal: controller.signal });
  controller.abort('SIGINT');
  expect((await running).code).toBe(130);
  expect(await readdir(dir)).toEqual([]);
  await mkdir(join(dir, 'c'));
  expect((await cli(['bench', join(dir, 'c'), '--seconds', 'long'])).code).toBe(2);
  expect(await readdir(dir)).toEqual(['c']);
}, 30_000);

test('bench takes the chunk sizes of the store it is given', async () => {
  const dir = join(await freshDir(), 'store');
  const { openEngine } = await import('../../src/index.ts');
  const chunking = { algorithm: 'fastcdc', min: 2048, avg: 8192, max: 32_768 } as const;
  await (await openEngine(dir, { chunking })).close();
  const before = await readdir(dir);
  const { code, out } = await cli(['bench', dir, '--seconds', '0.1']);
  expect(code).toBe(0);
  expect(out).toContain('fastcdc at 8 KiB');
  expect(out).toMatch(/durable commits.*write and fsync/);
  expect(await readdir(dir)).toEqual(before);
}, 30_000);

test('the time left is told once there is a rate, in a unit that fits', () => {
  const at = { phase: 'import', done: 100, unit: 'bytes', files: 1 } as const;
  expect(leftText({ ...at, total: 1100, bytesPerSecond: 100 })).toBe('10 s left');
  expect(leftText({ ...at, total: 100_100, bytesPerSecond: 100 })).toBe('17 min left');
  expect(leftText({ ...at, total: 10_000_100, bytesPerSecond: 100 })).toBe('28 h left');
  expect(leftText({ ...at, total: undefined, bytesPerSecond: 100 })).toBe('');
  expect(leftText({ ...at, total: 100, bytesPerSecond: 100 })).toBe('');
  expect(leftText({ ...at, total: 1000, bytesPerSecond: 0 })).toBe('');
  expect(leftText({ ...at, total: 1000, unit: 'files', bytesPerSecond: 5 })).toBe('');
});

test('counts are grouped by thousands', () => {
  expect([0, 12, 999, 1000, 12_345, 1_234_567, -1000, 2 ** 53].map(countText)).toEqual(
    [0, 12, 999, 1000, 12_345, 1_234_567, -1000, 2 ** 53].map((n) => n.toLocaleString('en-US')),
  );
});
