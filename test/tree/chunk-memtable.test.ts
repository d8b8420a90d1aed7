import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareBytes, concatBytes, toHex } from '../../src/base/bytes.ts';
import { GiB } from '../../src/base/limits.ts';
import { Prng } from '../../src/base/prng.ts';
import { ChunkMemtable, chunkFlags } from '../../src/tree/chunk-memtable.ts';
import { sortSlots } from '../../src/tree/slot-sort.ts';

interface Entry {
  segment: number;
  off8: number;
  storedLen: number;
  rawLen: number;
  kind: number;
  codec: number;
  refs: number;
  flags: number;
}

const { hasLocation, dropped, saturated } = chunkFlags;
const refsMax = 2 ** 31 - 1;
const refsMin = -(2 ** 31);
const fresh = (): Entry => ({
  segment: 0,
  off8: 0,
  storedLen: 0,
  rawLen: 0,
  kind: 0,
  codec: 0,
  refs: 0,
  flags: 0,
});

function entryAt(table: ChunkMemtable, slot: number): Entry {
  return {
    segment: table.segmentAt(slot),
    off8: table.off8At(slot),
    storedLen: table.storedLenAt(slot),
    rawLen: table.rawLenAt(slot),
    kind: table.kindAt(slot),
    codec: table.codecAt(slot),
    refs: table.refsAt(slot),
    flags: table.flagsAt(slot),
  };
}

function idAt(table: ChunkMemtable, slot: number): string {
  return toHex(table.ids.subarray(table.idFrom(slot), table.idFrom(slot) + 32));
}

/** Ids of which many share their first word, so that probes run long and sorting has ties. */
function pickId(random: Prng, spread: number): Uint8Array {
  const n = random.below(spread);
  const id = new Prng(n).bytes(32);
  if (n % 3 === 0) id.fill(n % 2 === 0 ? 0 : 0xff, 0, 4);
  return id;
}

/** One random operation on the table and on the model; returns the slot. */
function change(random: Prng, table: ChunkMemtable, entry: Entry, buf: Uint8Array): number {
  const what = random.below(4);
  if (what === 0) {
    const [segment, off8, storedLen, rawLen] = [random.u32(), random.u32(), random.u32(), random.u32()];
    const [kind, codec] = [random.below(3), random.below(5)];
    const flags = (entry.flags | hasLocation) & ~dropped;
    Object.assign(entry, { segment, off8, storedLen, rawLen, kind, codec, flags });
    return table.setLocation(buf, 3, segment, off8, storedLen, rawLen, kind, codec);
  }
  if (what === 1) {
    const flags = (entry.flags | dropped) & ~hasLocation;
    Object.assign(entry, fresh(), { kind: 1, refs: entry.refs, flags });
    return table.drop(buf, 3);
  }
  const delta = random.pick([1, -1, random.below(100), 2 ** 30, -(2 ** 31)]);
  if ((entry.flags & saturated) === 0) {
    const sum = entry.refs + delta;
    entry.refs = Math.min(refsMax, Math.max(refsMin, sum));
    if (sum !== entry.refs) entry.flags |= saturated;
  }
  return table.addRefs(buf, 3, delta);
}

describe('chunk memtable', () => {
  test('memtable equals a Map under any operations and growth', () => {
    fc.assert(
      fc.property(fc.nat(), fc.constantFrom(3, 50, 900, 5000), fc.nat({ max: 6000 }), (seed, spread, n) => {
        const random = new Prng(seed);
        const table = new ChunkMemtable({ bytesMax: GiB });
        const model = new Map<string, Entry>();
        const slots = new Map<string, number>();
        for (let i = 0; i < n; i++) {
          const id = pickId(random, spread);
          const name = toHex(id);
          const buf = concatBytes([Uint8Array.of(1, 2, 3), id]);
          expect(table.find(buf, 3)).toBe(slots.get(name) ?? -1);
          if (random.chance(0.3)) continue;
          const entry = model.get(name) ?? fresh();
          model.set(name, entry);
          const slot = change(random, table, entry, buf);
          slots.set(name, slots.get(name) ?? slot);
          if (slots.get(name) !== slot) throw new Error(`slot of ${name} moved`);
          if (idAt(table, slot) !== name) throw new Error(`slot ${slot} lost its id`);
        }
        expect(table.entries).toBe(model.size);
        for (const [name, entry] of model) expect(entryAt(table, slots.get(name)!)).toEqual(entry);
        expect(Array.from(table.sorted(), (slot) => idAt(table, slot))).toEqual([...model.keys()].sort());
      }),
      { numRuns: 25 },
    );
  });

  test('slots stay valid while the table grows', () => {
    const random = new Prng(5);
    const table = new ChunkMemtable({ bytesMax: GiB });
    const ids = random.bytes(32 * 100_000);
    for (let i = 0; i < 100_000; i++) {
      const slot = table.addRefs(ids, i * 32, i);
      if (slot !== i) throw new Error(`slot ${slot} for entry ${i}`);
    }
    for (let i = 0; i < 100_000; i++) {
      const slot = table.find(ids, i * 32);
      if (slot !== i || table.refsAt(slot) !== i) throw new Error(`entry ${i} found at ${slot}`);
    }
    const order = table.sorted();
    for (let i = 1; i < order.length; i++) {
      const [a, b] = [order[i - 1]! * 32, order[i]! * 32];
      if (compareBytes(ids.subarray(a, a + 32), ids.subarray(b, b + 32)) >= 0)
        throw new Error(`order at ${i}`);
    }
    expect(new Set(order).size).toBe(100_000);
    expect(table.ids.buffer).toBeInstanceOf(SharedArrayBuffer);
  });

  test('a location never changes the count, nor a count the location', () => {
    const table = new ChunkMemtable({ bytesMax: GiB });
    const id = new Prng(1).bytes(32);
    const slot = table.addRefs(id, 0, 3);
    expect(entryAt(table, slot)).toEqual({ ...fresh(), refs: 3 });
    table.setLocation(id, 0, 0xffff_ffff, 0xffff_fffe, 10, 20, 2, 4);
    const located = { segment: 0xffff_ffff, off8: 0xffff_fffe, storedLen: 10, rawLen: 20, kind: 2, codec: 4 };
    expect(entryAt(table, slot)).toEqual({ ...located, refs: 3, flags: hasLocation });
    table.addRefs(id, 0, -5);
    expect(entryAt(table, slot)).toEqual({ ...located, refs: -2, flags: hasLocation });
  });

  test('a drop clears the location and a later one brings the id back', () => {
    const table = new ChunkMemtable({ bytesMax: GiB });
    const id = new Prng(1).bytes(32);
    const slot = table.setLocation(id, 0, 1, 2, 3, 4, 1, 2);
    table.addRefs(id, 0, 1);
    table.drop(id, 0);
    expect(entryAt(table, slot)).toEqual({ ...fresh(), kind: 1, refs: 1, flags: dropped });
    table.setLocation(id, 0, 5, 6, 7, 8, 1, 0);
    expect(table.flagsAt(slot)).toBe(hasLocation);
    expect(table.refsAt(slot)).toBe(1);
    expect(table.entries).toBe(1);
  });

  test('counts saturate and stick', () => {
    for (const [delta, end] of [
      [1, refsMax],
      [-1, refsMin],
    ] as const) {
      const table = new ChunkMemtable({ bytesMax: GiB });
      const id = new Prng(2).bytes(32);
      const slot = table.addRefs(id, 0, end);
      expect([table.refsAt(slot), table.flagsAt(slot)]).toEqual([end, 0]);
      table.addRefs(id, 0, delta);
      expect([table.refsAt(slot), table.flagsAt(slot)]).toEqual([end, saturated]);
      table.addRefs(id, 0, -1000 * delta);
      expect([table.refsAt(slot), table.flagsAt(slot)]).toEqual([end, saturated]);
      table.setLocation(id, 0, 1, 1, 1, 1, 0, 0);
      table.drop(id, 0);
      expect([table.refsAt(slot), table.flagsAt(slot)]).toEqual([end, saturated | dropped]);
    }
    const table = new ChunkMemtable({ bytesMax: GiB });
    expect(table.refsAt(table.addRefs(new Uint8Array(32), 0, Number.MAX_SAFE_INTEGER))).toBe(refsMax);
  });

  test('note keeps the lowest and highest sequence number', () => {
    const table = new ChunkMemtable({ bytesMax: GiB });
    expect([table.minSeq, table.maxSeq]).toEqual([0, 0]);
    for (const seq of [7, 2 ** 40, 5]) table.note(seq);
    expect([table.minSeq, table.maxSeq]).toEqual([5, 2 ** 40]);
  });

  test('a frozen memtable refuses changes and still reads', () => {
    const table = new ChunkMemtable({ bytesMax: GiB });
    const id = new Prng(3).bytes(32);
    const slot = table.addRefs(id, 0, 1);
    table.freeze();
    table.freeze();
    expect(table.frozen).toBe(true);
    const refused = 'a frozen memtable takes no changes';
    expect(() => table.addRefs(id, 0, 1)).toThrow(refused);
    expect(() => table.setLocation(id, 0, 1, 1, 1, 1, 0, 0)).toThrow(refused);
    expect(() => table.drop(id, 0)).toThrow(refused);
    expect(() => table.note(1)).toThrow(refused);
    expect(table.find(id, 0)).toBe(slot);
    expect(table.refsAt(slot)).toBe(1);
    expect([...table.sorted()]).toEqual([slot]);
  });

  test('the budget counts entries and index, says full at the bound and takes changes beyond it', () => {
    const probe = new ChunkMemtable({ bytesMax: GiB });
    const empty = probe.bytesUsed;
    expect(new ChunkMemtable({ bytesMax: 1 }).full).toBe(false);
    const table = new ChunkMemtable({ bytesMax: empty + 2 * 56 });
    const ids = new Prng(4).bytes(96);
    table.addRefs(ids, 0, 1);
    expect([table.bytesUsed, table.full]).toEqual([empty + 56, false]);
    table.addRefs(ids, 32, 1);
    expect(table.full).toBe(true);
    table.addRefs(ids, 64, 1);
    expect(table.entries).toBe(3);
    for (const bytesMax of [0, GiB + 1, 0.5]) {
      expect(() => new ChunkMemtable({ bytesMax })).toThrow(
        expect.objectContaining({ code: 'VARVE_INVALID_ARGUMENT' }),
      );
    }
  });

  test('our own mistakes fail assertions: fractions, ids cut off, numbers too wide', () => {
    const table = new ChunkMemtable({ bytesMax: GiB });
    const id = new Uint8Array(33);
    expect(() => table.addRefs(id, 0, 0.5)).toThrow('delta is an integer');
    expect(() => table.addRefs(id, 2, 1)).toThrow('lies in its buffer');
    expect(() => table.setLocation(id, 0, 2 ** 32, 0, 0, 0, 0, 0)).toThrow('a location fits');
    expect(() => table.setLocation(id, 0, 1, 0, -1, 0, 0, 0)).toThrow('lengths fit');
    expect(() => table.setLocation(id, 0, 1, 0, 0, 0, 0, 16)).toThrow('codec fit');
    expect(table.entries).toBe(0);
  });
});

describe('slot sort', () => {
  test('equals a comparison sort, also where every id begins alike', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat({ max: 400 }), fc.boolean(), (seed, n, isAlike) => {
        const bytes = new Prng(seed).bytes(n * 12);
        if (isAlike) for (let i = 0; i < n; i++) bytes.fill(9, i * 12, i * 12 + 6);
        const idOf = (slot: number): Uint8Array => bytes.subarray(slot * 12, slot * 12 + 8);
        const wanted = Array.from({ length: n }, (_, i) => i).sort(
          (a, b) => compareBytes(idOf(a), idOf(b)) || a - b,
        );
        expect([...sortSlots(bytes, 12, 8, n)]).toEqual(wanted);
      }),
      { numRuns: 50 },
    );
  });
});
