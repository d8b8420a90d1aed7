import { expect, test } from 'vitest';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { openEngine } from '../../src/index.ts';
import { Prng } from '../../src/base/prng.ts';

test('smoke', async () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'varve-'));
  try {
    let e = await openEngine(dir);
    const r = await e.put('a', 'hello');
    console.log(r);
    expect(Buffer.from((await e.get('a'))!).toString()).toBe('hello');
    const big = new Prng(1).bytes(3_000_000);
    console.log(await e.put('big', big));
    console.log(await e.put('big2', big));
    expect(await e.get('big')).toEqual(big);
    expect(e.getSync('big2')).toEqual(big);
    console.log(JSON.stringify(e.stats()), e.health());
    await e.close();
    e = await openEngine(dir);
    expect(await e.get('big')).toEqual(big);
    for await (const x of e.scan({ values: false, stats: true })) console.log(x);
    console.log(JSON.stringify(e.stats()), e.health());
    await e.close();
  } finally {
    rmSync(dir, { recursive: true });
  }
});
