import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { IdSet } from '../../src/chunk/id-set.ts';
import { PutGuard } from '../../src/chunk/put-guard.ts';

const id = (seed: number): Uint8Array => new Prng(seed).bytes(32);

test('a set of ids has every id that was added', () => {
  const set = new IdSet();
  for (let i = 0; i < 3000; i++) {
    set.add(id(i), 0);
    set.add(id(i), 0);
  }
  expect(set.count).toBe(3000);
  for (let i = 0; i < 3000; i++) expect(set.has(id(i), 0)).toBe(true);
  let wrong = 0;
  for (let i = 3000; i < 6000; i++) if (set.has(id(i), 0)) wrong++;
  expect(wrong).toBeLessThan(3);
  const zeros = new IdSet();
  expect(zeros.has(new Uint8Array(32), 0)).toBe(false);
  zeros.add(new Uint8Array(32), 0);
  expect(zeros.has(new Uint8Array(32), 0)).toBe(true);
});

test('pins go with the claims that made them', () => {
  const step = fc.tuple(
    fc.nat(3),
    fc.constantFrom('frame', 'node', 'stage', 'durable', 'release'),
    fc.nat(4),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const guard = new PutGuard();
      const puts = Array.from({ length: 4 }, () => ({
        claims: guard.begin(),
        open: new Set<number>(),
        staged: [] as { segments: Set<number>; done: () => void }[],
        nodes: new Set<number>(),
      }));
      for (const [n, what, segment] of steps) {
        const put = puts[n]!;
        if (what === 'frame') {
          put.claims.frame(segment);
          put.open.add(segment);
        } else if (what === 'node') {
          put.claims.node(segment);
          put.nodes.add(segment);
        } else if (what === 'stage') {
          put.staged.push({ segments: put.open, done: put.claims.staged() });
          put.open = new Set();
        } else if (what === 'durable') put.staged.shift()?.done();
        else {
          put.claims.release();
          put.open = new Set();
          put.staged = [];
          put.nodes = new Set();
        }
        for (let each = 0; each < 5; each++) {
          const isPinned = puts.some(
            ({ open, nodes, staged }) =>
              open.has(each) || nodes.has(each) || staged.some(({ segments }) => segments.has(each)),
          );
          expect(guard.isPinned(each)).toBe(isPinned);
        }
      }
    }),
  );
});

test('ids held at a moment stay held for who asked then', async () => {
  const guard = new PutGuard();
  const claims = guard.begin();
  claims.entry(id(1), 0);
  const held = guard.heldNow();
  const durable = claims.staged();
  claims.entry(id(2), 0);
  expect(guard.isHeld(id(1), 0)).toBe(true);
  durable();
  expect(guard.isHeld(id(1), 0)).toBe(false);
  expect(guard.isHeld(id(2), 0)).toBe(true);
  claims.frame(7);
  const released = guard.released();
  claims.release();
  claims.release();
  await released;
  expect(guard.isHeld(id(2), 0)).toBe(false);
  expect(guard.isPinned(7)).toBe(false);
  expect(held.has(id(1), 0)).toBe(true);
  expect(held.has(id(3), 0)).toBe(false);
});
