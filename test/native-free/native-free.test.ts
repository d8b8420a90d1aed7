import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import * as portable from '../../native-free/index.ts';
import { Prng } from '../../src/base/prng.ts';
import * as main from '../../src/index.ts';

const root = mkdtempSync(path.join(tmpdir(), 'varve-free-'));
afterAll(() => rmSync(root, { recursive: true }));

const value = new Prng(7).bytes(1_500_000);
const same = (a: Uint8Array | undefined, b: Uint8Array): boolean =>
  a !== undefined && Buffer.compare(a, b) === 0;

describe('native-free', () => {
  test('has the names of the main entry', () => {
    expect(Object.keys(portable).sort()).toEqual(Object.keys(main).sort());
  });

  for (const sha256 of ['auto', 'javascript'] as const) {
    test(`stores are interchangeable with the main build (sha256: ${sha256})`, async () => {
      const dir = path.join(root, sha256);
      const first = await portable.openEngine(dir, {}, { sha256 });
      const put = await first.put('from portable', value);
      await first.put('small', 'x');
      await first.close();
      const second = await main.openEngine(dir);
      expect(same(await second.get('from portable'), value)).toBe(true);
      const again = await second.put('from main', value);
      expect([again.digest, again.newChunks]).toEqual([put.digest, 0]);
      await second.close();
      const third = await portable.openEngine(dir, { readOnly: true }, { sha256 });
      expect(same(await third.get('from main'), value)).toBe(true);
      await third.close();
    });
  }

  test('excludes a writer of the main build, and the other way round', async () => {
    const dir = path.join(root, 'lock');
    const held = await portable.openEngine(dir);
    await expect(main.openEngine(dir)).rejects.toMatchObject({ code: 'VARVE_LOCKED' });
    await held.close();
    const other = await main.openEngine(dir);
    await expect(portable.openEngine(dir)).rejects.toMatchObject({ code: 'VARVE_LOCKED' });
    await other.close();
  });
});
