import { expect, test } from 'vitest';
import { KiB, MiB } from '../../src/base/limits.ts';
import { BufferRing, ringFor } from '../../src/pool/buffer-ring.ts';

test('streams share the buffers evenly', () => {
  const ring = new BufferRing(1024, 6);
  ring.join();
  const alone: SharedArrayBuffer[] = [];
  for (let b = ring.take(0); b !== undefined; b = ring.take(alone.length)) alone.push(b);
  expect([alone.length, ring.out, ring.bytes]).toEqual([6, 6, 6 * 1024]);
  for (const buffer of alone) ring.give(buffer);
  ring.join();
  expect([ring.take(3), ring.take(2) === undefined, ring.out]).toEqual([undefined, false, 1]);
  for (let i = 0; i < 10; i++) ring.join();
  // With more users than buffers each may have one, as long as there is one.
  expect([ring.take(1), ring.take(0) === undefined]).toEqual([undefined, false]);
  for (let i = 0; i < 12; i++) ring.leave();
  expect([ring.users, ring.out]).toEqual([0, 2]);
});

test('buffers hold several of the largest chunks and stay within their bound', () => {
  for (const max of [1024, 64 * KiB, 100_000, 512 * KiB, MiB, 2 * MiB]) {
    const ring = ringFor(max, 4)!;
    expect(ring.bufferBytes).toBeGreaterThanOrEqual(Math.max(2 * MiB, 4 * max));
    expect(ring.bufferBytes % max).toBe(0);
    expect(ring.bufferBytes * ring.count).toBeLessThanOrEqual(32 * MiB);
    expect(ring.count).toBeGreaterThanOrEqual(4);
  }
  expect([ringFor(2 * MiB + 1, 4), ringFor(16 * MiB, 4)]).toEqual([undefined, undefined]);
});
