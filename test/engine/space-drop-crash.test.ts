import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { openOn, text } from './engine-kit.ts';

/** All of the space `s`, and what is set of it. */
async function stateOf(engine: Engine): Promise<string> {
  const found: string[] = [];
  for await (const { key, value } of engine.space('s').scan()) found.push(`${key}=${text(value)}`);
  const { quotaBytes, ttlMs } = engine.space('s').policy();
  return `${found.join(' ')} ${quotaBytes ?? '-'} ${ttlMs ?? '-'}`;
}

test('a power cut around a drop leaves what was before, nothing, or what was put since', async () => {
  const met = new Set<string>();
  for (let seed = 1; seed <= 16; seed++) {
    const prng = new Prng(seed);
    const disk = new MemoryFileSystem();
    const engine = await openOn(disk, { durability: 'os' });
    const space = engine.space('s');
    await space.setPolicy({ quotaBytes: 500, ttlMs: 90_000 });
    const states = [await stateOf(engine)];
    for (const key of ['a', 'b']) {
      await space.put(key, 'old');
      states.push(await stateOf(engine));
    }
    if (seed % 2 === 0) await engine.flush();
    const dropped = engine.spaces.drop('s');
    // The name is free as soon as the drop is sequenced, before anything of it is on its way to the disk.
    while (engine.spaces.list().includes('s')) await Promise.resolve();
    const put = engine.space('s').put('b', 'new');
    await Promise.all([dropped, put]);
    states.push(' - -', await stateOf(engine));
    await engine.space('t').put('x', '1');
    await engine.space('s').put('c', 'newer');
    states.push(await stateOf(engine));
    const left = disk.crash(prng);
    await engine.close();
    const again = await openOn(left);
    const state = await stateOf(again);
    expect(states, `seed ${seed}`).toContain(state);
    met.add(String(states.indexOf(state)));
    // Numbers are not given twice: what comes now meets nothing of before.
    await again.space('u').put('k', 'v');
    const keys: string[] = [];
    for await (const { key } of again.space('u').scan()) keys.push(key);
    expect(keys).toEqual(['k']);
    expect(again.space('u').policy()).toEqual({ name: 'u' });
    await again.flush();
    expect(await stateOf(again)).toBe(state);
    await again.close();
  }
  expect(met.size).toBeGreaterThan(1);
});
