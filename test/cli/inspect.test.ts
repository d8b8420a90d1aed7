import { readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openEngine } from '../../src/index.ts';
import { bigBytes, cli, freshDir } from './kit.ts';

interface Listed {
  path: string;
  kind: string;
  ok: boolean;
  size: number;
}

async function sampleStore(): Promise<string> {
  const store = join(await freshDir(), 'store');
  const engine = await openEngine(store);
  for (let i = 0; i < 40; i++) await engine.put(`key-${i}`, `value ${i}`, { metadata: { i } });
  await engine.put('large', bigBytes(500_000));
  await engine.space('other').put('k', 'v');
  await engine.flush();
  await engine.put('late', bigBytes(3000));
  await engine.delete('key-0');
  await engine.close();
  return store;
}

async function listed(store: string): Promise<Listed[]> {
  return (await cli(['inspect', store, '--json'])).json() as unknown as Listed[];
}

async function flip(file: string, at: number): Promise<void> {
  const bytes = await readFile(file);
  const index = at < 0 ? bytes.length + at : at;
  bytes[index] = bytes[index]! ^ 1;
  await writeFile(file, bytes);
}

describe('inspect and dump', () => {
  test('a whole store: every file is named with its kind and is sound', async () => {
    const store = await sampleStore();
    const files = await listed(store);
    expect(files.every(({ ok }) => ok)).toBe(true);
    expect(new Set(files.map(({ kind }) => kind))).toEqual(
      new Set(['lock', 'superblock', 'catalog', 'segment', 'table', 'log']),
    );
    for (const { path } of files) {
      for (const command of ['inspect', 'dump']) {
        const run = await cli([command, store, path, '--json']);
        expect(run.code, `${command} ${path}`).toBe(0);
        expect(run.json().length, path).toBeGreaterThan(0);
        expect((await cli([command, store, path])).code).toBe(0);
      }
    }
  });

  test('dump shows rows, chunks and frames', async () => {
    const store = await sampleStore();
    const records: Record<string, unknown>[] = [];
    for (const { path } of await listed(store))
      records.push(...(await cli(['dump', store, path, '--json'])).json());
    const kinds = new Set(records.map(({ what }) => what));
    for (const what of [
      'row',
      'chunk entry',
      'chunk frame',
      'trailer entry',
      'log frame',
      'catalog',
      'data block',
    ])
      expect(kinds).toContain(what);
    const rows = records
      .filter(({ what }) => what === 'row')
      .map(({ fields }) => fields as Record<string, unknown>);
    expect(rows).toContainEqual(
      expect.objectContaining({ tree: 'K', space: 0, key: 'key-7', kind: 'put', size: 7 }),
    );
    expect(rows).toContainEqual(expect.objectContaining({ tree: 'K', key: 'key-0', kind: 'delete' }));
    expect(rows).toContainEqual(expect.objectContaining({ tree: 'S', key: 'space/other' }));
  });

  test('ops of a log that is still needed are listed', async () => {
    const store = join(await freshDir(), 'store');
    const engine = await openEngine(store);
    await engine.put('k', 'v');
    await engine.put('large', bigBytes(5000));
    const log = (await listed(store)).find(({ kind }) => kind === 'log')!;
    const records = (await cli(['dump', store, log.path, '--json'])).json();
    await engine.close();
    expect(records).toContainEqual(
      expect.objectContaining({ what: 'put', fields: expect.objectContaining({ key: '0:k', size: 1 }) }),
    );
    expect(records).toContainEqual(expect.objectContaining({ what: 'chunk' }));
  });

  test('damage anywhere is found by dump, named with its place, and the rest is still shown', async () => {
    const store = await sampleStore();
    for (const { path, kind, size } of await listed(store)) {
      if (kind === 'lock' || kind === 'log') continue;
      const file = join(store, path);
      const whole = await readFile(file);
      for (const at of [20, Math.floor(size / 2), -20]) {
        // The unused slots of the superblock and the gap before chunk blocks hold nothing to damage.
        if (whole.at(at) === undefined || (kind === 'superblock' && at === -20)) continue;
        await flip(file, at);
        const run = await cli(['dump', store, path, '--json']);
        const found = run.json().filter(({ ok }) => ok === false);
        if (run.code === 0)
          expect(
            whole.subarray(64, 4096).every((byte) => byte === 0),
            `${path} at ${at}`,
          ).toBe(true);
        else {
          expect(run.code, `${path} at ${at}`).toBe(4);
          expect(found.length).toBeGreaterThan(0);
        }
        await writeFile(file, whole);
      }
    }
  });

  test('a damaged frame between others of a log is damage, a torn end is not', async () => {
    const store = join(await freshDir(), 'store');
    const engine = await openEngine(store);
    for (let i = 0; i < 5; i++) await engine.put(`k${i}`, 'v');
    const log = (await listed(store)).find(({ kind }) => kind === 'log')!;
    const frames = (await cli(['dump', store, log.path, '--json']))
      .json()
      .filter(({ what }) => what === 'log frame');
    const bytes = await readFile(join(store, log.path));
    await engine.close();
    const copy = join(store, 'quarantine', log.path.slice(4));
    const third = frames[2]!.offset as number;
    await writeFile(copy, bytes.subarray(0, third + 20));
    const torn = await cli(['dump', store, `quarantine/${log.path.slice(4)}`, '--json']);
    expect(torn.code).toBe(0);
    expect(torn.json().at(-1)).toMatchObject({ what: 'no frame', offset: third, ok: true });
    bytes[third + 50] = bytes[third + 50]! ^ 1;
    await writeFile(copy, bytes);
    const damaged = await cli(['dump', store, `quarantine/${log.path.slice(4)}`, '--json']);
    expect(damaged.code).toBe(4);
    expect(damaged.json().filter(({ what }) => what === 'log frame')).toHaveLength(frames.length - 1);
  });

  test('a store without its superblock is still listed, a truncated file is damaged', async () => {
    const store = await sampleStore();
    const files = await listed(store);
    const table = files.find(({ kind }) => kind === 'table')!;
    await truncate(join(store, table.path), table.size - 100);
    await rm(join(store, 'SUPER'));
    const run = await cli(['inspect', store, '--json']);
    expect(run.code).toBe(4);
    const after = run.json() as unknown as Listed[];
    expect(after.filter(({ ok }) => !ok).map(({ path }) => path)).toEqual([table.path]);
    expect(after).toHaveLength(files.length - 1);
  });

  test('only files inside the store are read', async () => {
    const store = await sampleStore();
    expect((await cli(['dump', store, '../secret'])).code).toBe(2);
    expect((await cli(['dump', store, '/etc/passwd'])).code).toBe(2);
    expect((await cli(['dump', store, 'wal/none'])).code).toBe(3);
  });

  test('reading a damaged value ends with 4', async () => {
    const store = await sampleStore();
    const segment = (await listed(store))
      .filter(({ kind }) => kind === 'segment')
      .sort((a, b) => b.size - a.size)[0]!;
    await flip(join(store, segment.path), 5000);
    expect((await cli(['get', store, 'large'])).code).toBe(4);
    expect((await cli(['get', store, 'key-3'])).out).toBe('value 3');
    const out = join(await freshDir(), 'out');
    const run = await cli(['export', store, out, '--json']);
    expect(run.code).toBe(4);
    expect(run.json()[0]).toMatchObject({
      corrupt: true,
      failed: [{ path: 'large', code: 'VARVE_CORRUPT' }],
    });
  });
});
