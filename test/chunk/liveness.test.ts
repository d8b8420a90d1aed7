import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { findLiveFrames, measureLiveness } from '../../src/chunk/liveness.ts';
import { frameBytes } from '../../src/format/chunk-frame.ts';
import { chunkKinds } from '../../src/format/chunk-ref.ts';
import { ChunkTree } from '../../src/tree/chunk-tree.ts';

const pace = {
  monotonic: () => performance.now(),
  turn: () => new Promise<void>((resolve) => setImmediate(resolve)),
  cancelled: () => false,
};

test('live bytes equal a count over a model', async () => {
  const prng = new Prng(3);
  const chunks = new ChunkTree(64 * 1024 * 1024, []);
  const model = new Map<number, { segment: number; len: number; refs: number; list: boolean }>();
  const ids = prng.bytes(32 * 2000);
  for (let step = 0; step < 12_000; step++) {
    const i = prng.below(2000);
    const before = model.get(i);
    if (step % 4000 === 3999) chunks.freeze();
    if (before === undefined || prng.chance(0.3)) {
      const list = before?.list ?? prng.chance(0.1);
      const at = { segment: prng.chance(0.01) ? 2_000_000 : 1 + prng.below(50), len: prng.below(3000), list };
      chunks.setLocation(
        ids,
        i * 32,
        at.segment,
        i,
        at.len,
        at.len,
        list ? chunkKinds.list : chunkKinds.data,
        0,
      );
      model.set(i, { ...at, refs: before?.refs ?? 0 });
    } else {
      const delta = before.refs === 0 || prng.chance(0.4) ? 1 : -1;
      chunks.addRefs(ids, i * 32, delta);
      before.refs += delta;
    }
  }
  const expected = new Map<number, number>();
  const isThere = (segment: number): boolean => segment !== 7;
  let spent = 0;
  let orphans = 0;
  for (const { segment, len, refs, list } of model.values()) {
    if (refs > 0 || list) expected.set(segment, (expected.get(segment) ?? 0) + frameBytes(len));
    else if (!isThere(segment)) spent++;
    if (list && refs === 0) orphans++;
  }
  const liveness = await measureLiveness(chunks, isThere, pace);
  expect(new Map(liveness.live)).toEqual(expected);
  expect(liveness).toMatchObject({ entries: model.size, spent });
  expect(liveness.orphans).toHaveLength(orphans);
  const held = new Prng(9).bytes(32);
  const found = await findLiveFrames(chunks, [5, 6], { has: (id) => id === held }, pace);
  expect(found.get(5)!.bytes).toBe(expected.get(5));
  expect(found.get(6)!.bytes).toBe(expected.get(6));
  const off8 = Array.from(found.get(5)!.inOrder(), (at) => found.get(5)!.off8[at]!);
  expect(off8).toEqual([...off8].sort((a, b) => a - b));
  const all = await findLiveFrames(chunks, [5], { has: () => true }, pace);
  expect(all.get(5)!.count).toBe([...model.values()].filter(({ segment }) => segment === 5).length);
});

test('a scan ends when it is cancelled', async () => {
  const chunks = new ChunkTree(64 * 1024 * 1024, []);
  const ids = new Prng(1).bytes(32 * 1000);
  for (let i = 0; i < 1000; i++) chunks.setLocation(ids, i * 32, 1, i, 1, 1, chunkKinds.data, 0);
  let now = 0;
  const late = { ...pace, monotonic: () => (now += 10), cancelled: () => true };
  await expect(measureLiveness(chunks, () => true, late)).rejects.toMatchObject({ code: 'VARVE_ABORTED' });
});
