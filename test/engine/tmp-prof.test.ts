import { test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { openParts } from './cleaner-kit.ts';
test('x', async () => {
  const disk = new MemoryFileSystem();
  const { engine, store } = await openParts(disk, { segmentBytes: 32 * 1024 });
  const prng = new Prng(7);
  for (let i = 0; i < 60; i++) await engine.put(`k${i}`, prng.bytes(8000));
  for (let round = 0; round < 3; round++) {
    let t = performance.now();
    for (let i = 0; i < 30; i++) await engine.put(`k${prng.below(60)}`, prng.bytes(8000));
    console.log('puts', performance.now() - t); 
    let ops = 0; const kinds: Record<string, number> = {};
    disk.faults = (op) => { ops++; kinds[op.kind] = (kinds[op.kind] ?? 0) + 1; return undefined; };
    t = performance.now();
    let last = t;
    const r = await engine.compact({ onProgress: (p) => { const n = performance.now(); console.log(p.phase, n - last, ops); last = n; } });
    console.log('total', performance.now() - t, ops, JSON.stringify(kinds), JSON.stringify(r.tables), store.parts.write!.cleaner.counters);
    disk.faults = undefined;
  }
  await engine.close();
}, 60000);
