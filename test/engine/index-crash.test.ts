import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { openSmall } from './index-kit.ts';

const definition = { name: 't', kind: 'range', on: 'tags' } as const;

/** Every key by scan, every entry by the index: they must say the same. */
async function wrong(engine: Engine): Promise<string | undefined> {
  if (!engine.health().ok) return JSON.stringify(engine.health().damage);
  const expected: string[] = [];
  for await (const { key, stat } of engine.scan({ stats: true, values: false })) {
    for (const tag of stat!.tags ?? []) expected.push(`${tag} ${key}`);
  }
  const found: string[] = [];
  for await (const { key, indexKey } of engine.query({ index: 't', values: false }))
    found.push(`${indexKey} ${key}`);
  const [a, b] = [expected.sort().join('\n'), found.join('\n')];
  return a === b ? undefined : `${b}\ninstead of\n${a}`;
}

test('a crash while an index is built or removed leaves one that is built to its end', {
  timeout: 60_000,
}, async () => {
  const disk = new MemoryFileSystem();
  const prng = new Prng(7);
  const engine = await openSmall(disk);
  for (let i = 0; i < 40; i++) await engine.put(`k${i}`, 'v', { tags: [`t${i % 5}`] });
  await engine.flush();
  const disks: MemoryFileSystem[] = [];
  let ops = 0;
  disk.faults = () => {
    if (++ops % 17 === 0) disks.push(disk.crash(prng.chance(0.5) ? new Prng(ops) : 'none'));
    return undefined;
  };
  const building = engine.indexes.define(definition);
  for (let i = 0; i < 20; i++) {
    if (i % 4 === 0) await engine.delete(`k${i}`);
    else await engine.put(`k${i + 30}`, 'w', { tags: [`u${i % 3}`] });
    if (i === 10) await engine.deleteRange({ prefix: 'k2' });
  }
  await building;
  await engine.flush();
  await engine.indexes.rebuild('t');
  disk.faults = undefined;
  expect(await wrong(engine)).toBeUndefined();
  await engine.close();
  expect(disks.length).toBeGreaterThan(10);
  for (const left of disks) {
    const again = await openSmall(left);
    await again.indexes.define(definition);
    expect(await wrong(again)).toBeUndefined();
    await again.close();
  }
});
