import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openEngine } from '../../src/index.ts';
import { bytesOf } from '../engine/engine-kit.ts';
import { cli, freshDir } from './kit.ts';

/** A store of three values, the chunks of one of them damaged. */
async function damagedStore(): Promise<string> {
  const dir = join(await freshDir(), 'store');
  for (let i = 1; i <= 3; i++) {
    const engine = await openEngine(dir);
    await engine.put(`photos/${i}`, bytesOf(i, 60_000));
    await engine.close();
  }
  const segment = (await readdir(join(dir, 'seg/00/00'))).sort()[1]!;
  const path = join(dir, 'seg/00/00', segment);
  const bytes = await readFile(path);
  bytes[30_000]! ^= 1;
  await writeFile(path, bytes);
  return dir;
}

describe('verify, repair and unlock', () => {
  test('damage is found with its key and exit code 4, repaired, and healed by another put', async () => {
    const dir = await damagedStore();
    const found = await cli(['verify', dir]);
    expect([found.code, found.out.includes('key photos/2'), found.out.includes('photos/1')]).toEqual([
      4,
      true,
      false,
    ]);
    const [report] = (await cli(['verify', dir, '--json', '--level', 'full'])).json();
    expect(report).toMatchObject({ type: 'verify', ok: false, done: true, level: 'full' });
    const dry = await cli(['repair', dir, '--dry-run']);
    expect([dry.code, dry.out.includes('value of photos/2')]).toEqual([4, true]);
    const [done] = (await cli(['repair', dir, '--json'])).json();
    expect(done).toMatchObject({
      type: 'repair',
      ok: false,
      dryRun: false,
      kept: { keys: 2, bytes: 120_000 },
    });
    expect((await cli(['get', dir, 'photos/2', '-o', '/dev/null'])).code).toBe(4);
    expect((await cli(['put', dir, 'photos/2'], { stdin: bytesOf(2, 60_000) })).code).toBe(0);
    const whole = await cli(['verify', dir, '--level', 'full']);
    expect([whole.code, whole.out.startsWith('no damage')]).toEqual([0, true]);
    const nothing = await cli(['repair', dir]);
    expect([nothing.code, nothing.out.includes('nothing to repair')]).toEqual([0, true]);
  });

  test('a check that runs out of time prints where to go on, and ends there', async () => {
    const dir = await damagedStore();
    let cursor: string | undefined;
    let code = 0;
    for (let parts = 0; ; parts++) {
      const more = cursor === undefined ? [] : ['--cursor', cursor];
      const result = await cli(['verify', dir, '--max-seconds', '0', '--json', ...more]);
      const [report] = result.json();
      code = Math.max(code, result.code);
      cursor = report!.cursor as string | undefined;
      if (report!.done === true) break;
      expect(parts).toBeLessThan(50);
    }
    expect(code).toBe(4);
    expect((await cli(['verify', dir, '--cursor', 'nonsense'])).code).toBe(2);
  });

  test('a store without SUPER is repaired; none is not found; one in use is locked', async () => {
    const dir = await damagedStore();
    const engine = await openEngine(dir, { onDegraded: 'readonly' });
    await engine.close();
    await rm(join(dir, 'SUPER'));
    expect((await cli(['repair', dir])).code).toBe(4);
    expect((await cli(['get', dir, 'photos/1', '-o', '/dev/null'])).code).toBe(0);
    const writer = await openEngine(dir);
    expect((await cli(['repair', dir])).code).toBe(5);
    expect((await cli(['unlock', dir])).code).toBe(5);
    expect((await cli(['verify', dir])).code).toBe(4);
    await writer.close();
    const free = await cli(['unlock', dir]);
    expect([free.code, free.out.startsWith('free')]).toEqual([0, true]);
    expect((await cli(['repair', join(dir, 'nowhere')])).code).toBe(3);
    expect((await cli(['verify', await freshDir()])).code).toBe(3);
  });
});
