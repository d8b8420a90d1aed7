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

test('slow reads take a tenth of the time', () => {
  for (const ms of [0.3, 2, 5, 15]) {
    const disk = new Disk();
    const cold = new ColdReads(disk.clock);
    disk.ms = ms;
    let held = 0;
    for (; disk.time < 20_000; disk.time++) if (cold.load(disk.hold)) held += disk.ms;
    expect(held / disk.time, `${ms} ms`).toBeLessThan(0.11);
    expect(held / disk.time, `${ms} ms`).toBeGreaterThan(0.08);
  }
});

test('a thread that waits for a processor now and then goes on reading', () => {
  const disk = new Disk();
  const cold = new ColdReads(disk.clock);
  const rounds = 10_000;
  for (let i = 0; i < rounds; i++) {
    // Every ten milliseconds another process has the processor for eighty; one in four meets a read.
    const isOut = i % 2000 === 0;
    disk.ms = isOut ? 80 : 0.005;
    if (i % 500 === 0 && !isOut) disk.time += 80;
    cold.load(disk.hold);
    disk.time += 0.015;
  }
  expect(disk.reads).toBe(rounds);
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
