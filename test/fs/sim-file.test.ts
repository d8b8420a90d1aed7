import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SimFile, sectorBytes, sectorCount } from '../../src/fs/sim-file.ts';

const bytesOf = (file: SimFile): number[] => [...file.cache.copy(0, 1e6)];

const step = fc.oneof(
  fc.record({
    op: fc.constant('write' as const),
    pos: fc.nat(2_000),
    length: fc.integer({ min: 1, max: 1_500 }),
  }),
  fc.record({ op: fc.constant('truncate' as const), length: fc.nat(2_500) }),
  fc.record({ op: fc.constantFrom('sync' as const, 'dataSync' as const) }),
);

test('syncs and power cuts leave for each byte only what it was at or after the last sync', () => {
  const runs = fc.tuple(fc.array(step, { maxLength: 12 }), fc.infiniteStream(fc.boolean()));
  fc.assert(
    fc.property(runs, ([steps, coins]) => {
      const file = new SimFile(1, 'a');
      // Values each byte may have after a power cut; past the end of the list, only "not there".
      let possible: Set<number>[] = [];
      let value = 0;
      for (const [i, s] of steps.entries()) {
        value = (value % 250) + 1;
        if (s.op === 'write') {
          file.write(new Uint8Array(s.length).fill(value), s.pos, i);
          for (let at = 0; at < s.pos + s.length; at++) {
            possible[at] ??= new Set([0]);
            if (at >= s.pos) possible[at].add(value);
          }
        } else if (s.op === 'truncate') {
          file.truncate(s.length, i);
          for (let at = 0; at < s.length; at++) possible[at] ??= new Set([0]);
          for (let at = s.length; at < possible.length; at++) possible[at]!.add(0);
        } else {
          if (s.op === 'sync') file.commit();
          else file.commitData(i);
          const now = bytesOf(file);
          const beyond = s.op === 'sync' ? [] : possible.slice(now.length);
          possible = [...now.map((byte) => new Set([byte])), ...beyond];
          if (s.op === 'sync') expect(file.pending).toEqual([]);
        }
      }
      expect([...file.survive(() => true).copy(0, 1e6)]).toEqual(bytesOf(file));
      const flip = (): boolean => coins.next().value === true;
      const left = file.survive(() => (flip() ? flip() : flip)).copy(0, 1e6);
      for (const [at, byte] of left.entries()) {
        if (possible[at]?.has(byte) !== true) throw new Error(`byte ${at} is ${byte}`);
      }
    }),
    { numRuns: 120 },
  );
});

test('data sync keeps the end that a truncation cut off until a full sync', () => {
  const file = new SimFile(1, 'a');
  file.write(Uint8Array.of(1, 2, 3, 4), 0, 0);
  file.commit();
  file.truncate(2, 1);
  file.write(Uint8Array.of(9), 0, 2);
  file.commitData(3);
  expect([...file.survive(() => false).copy(0, 9)]).toEqual([9, 2, 3, 4]);
  expect([...file.survive(() => true).copy(0, 9)]).toEqual([9, 2]);
  file.commit();
  expect([...file.survive(() => false).copy(0, 9)]).toEqual([9, 2]);
});

test('a write is torn at the sectors of the file, not at its own start', () => {
  expect(sectorCount(500, 12)).toBe(1);
  expect(sectorCount(500, 13)).toBe(2);
  expect(sectorCount(512, 1024)).toBe(2);
  expect(sectorCount(0, 0)).toBe(0);
  const file = new SimFile(1, 'a');
  file.write(new Uint8Array(1_000).fill(7), 500, 0);
  const left = file.survive(() => (sector) => sector === 1).copy(0, 2_000);
  expect(left.length).toBe(2 * sectorBytes);
  expect(left.indexOf(7)).toBe(512);
  expect(left.lastIndexOf(7)).toBe(1023);
});
