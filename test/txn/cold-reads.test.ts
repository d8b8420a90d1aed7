import { expect, test } from 'vitest';
import type { BlockHold } from '../../src/tree/block-hold.ts';
import { ColdReads } from '../../src/txn/cold-reads.ts';

/** Reads that take `ms` each, by a clock of their own. */
class Disk {
  time = 0;
  ms = 0;
  reads = 0;
  readonly clock = { monotonic: (): number => this.time };
  readonly hold = {
    loadSync: () => {
      this.reads++;
      this.time += this.ms;
    },
  } as Partial<BlockHold> as BlockHold;
}

test('what memory has is read at once', () => {
  const disk = new Disk();
  const cold = new ColdReads(disk.clock);
  disk.ms = 0.02;
  for (let i = 0; i < 100; i++) expect(cold.load(disk.hold)).toBe(true);
  expect(disk.reads).toBe(100);
});

test('a slow read is the last one for a while', () => {
  const disk = new Disk();
  const cold = new ColdReads(disk.clock);
  disk.ms = 5;
  let held = 0;
  for (; disk.time < 10_000; disk.time++) if (cold.load(disk.hold)) held += disk.ms;
  expect(disk.reads).toBeGreaterThan(100);
  expect(held / disk.time).toBeLessThan(0.1);
});

test('an error of the read is the error of the lookup', () => {
  const disk = new Disk();
  const broken = {
    loadSync: () => {
      throw new Error('damaged');
    },
  } as Partial<BlockHold> as BlockHold;
  expect(() => new ColdReads(disk.clock).load(broken)).toThrow('damaged');
});
