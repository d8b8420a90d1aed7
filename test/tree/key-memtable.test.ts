import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareBytes, compareRange, concatBytes, startsWith, toHex } from '../../src/base/bytes.ts';
import { GiB } from '../../src/base/limits.ts';
import { Prng } from '../../src/base/prng.ts';
import { END, type KeyCursor, OK } from '../../src/tree/cursor.ts';
import { KeyMemtable } from '../../src/tree/key-memtable.ts';

interface Row {
  key: Uint8Array;
  value: Uint8Array;
}

const none = new Uint8Array(0);

function invertedSeq(seq: number): Uint8Array {
  const out = new Uint8Array(8);
  new DataView(out.buffer).setBigUint64(0, ~BigInt(seq) & 0xffff_ffff_ffff_ffffn);
  return out;
}

function rowKey(prefix: Uint8Array, seq: number): Uint8Array {
  return concatBytes([prefix, invertedSeq(seq)]);
}

function seqOf(key: Uint8Array): number {
  return Number(
    ~new DataView(key.buffer, key.byteOffset).getBigUint64(key.length - 8) & 0xffff_ffff_ffff_ffffn,
  );
}

/** The plain truth: rows in order, newest first among equal keys. */
class Model {
  readonly rows: Row[] = [];

  lowerBound(key: Uint8Array): number {
    let low = 0;
    let high = this.rows.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareBytes(this.rows[middle]!.key, key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  insert(row: Row): void {
    this.rows.splice(this.lowerBound(row.key), 0, row);
  }

  find(prefix: Uint8Array, seqMax: number): Row | undefined {
    return this.rows.find(
      ({ key }) => key.length === prefix.length + 8 && startsWith(key, prefix) && seqOf(key) <= seqMax,
    );
  }
}

function insert(table: KeyMemtable, { key, value }: Row): void {
  const shared = concatBytes([Uint8Array.of(7), key, value, Uint8Array.of(7)]);
  const middle = 1 + key.length;
  table.insert(shared, 1, middle, shared, middle, middle + value.length);
  shared.fill(0xee);
}

function current(cursor: KeyCursor): Row {
  return {
    key: cursor.keyBytes.slice(cursor.keyFrom, cursor.keyTo),
    value: cursor.valueBytes.slice(cursor.valueFrom, cursor.valueTo),
  };
}

function rowAt(table: KeyMemtable, handle: number): Row | undefined {
  if (handle === -1) return undefined;
  const { arena } = table;
  return {
    key: arena.slice(table.entryKeyFrom(handle), table.entryKeyTo(handle)),
    value: arena.slice(table.entryValueFrom(handle), table.entryValueTo(handle)),
  };
}

const show = ({ key, value }: Row): string => `${toHex(key)}=${toHex(value)}`;

function scan(table: KeyMemtable, isForward: boolean): string[] {
  const cursor = table.cursor();
  const out: string[] = [];
  let step = isForward ? cursor.first() : cursor.last();
  while (step === OK) {
    out.push(show(current(cursor)));
    step = isForward ? cursor.next() : cursor.prev();
  }
  return isForward ? out : out.reverse();
}

/** Prefixes that collide in every way: shared beginnings, prefixes of each other, zeros, ff, long ones. */
function pickPrefix(random: Prng): Uint8Array {
  const shared = new Uint8Array(random.pick([0, 0, 1, 4, 9, 40])).fill(random.pick([0, 0x61, 0xff]));
  const tail = random.bytes(random.below(4)).map((byte) => random.pick([0, 1, 0xff, byte]));
  return concatBytes([shared, tail]);
}

function pickRow(random: Prng, shape: 'tangled' | 'random' | 'up' | 'down', n: number): Row {
  const value = random.bytes(random.pick([0, 1, 5, 97, 200]));
  if (shape === 'tangled') return { key: rowKey(pickPrefix(random), random.below(30)), value };
  if (shape === 'random') return { key: rowKey(random.bytes(12), 1 + n), value };
  const counter = new Uint8Array(8);
  new DataView(counter.buffer).setUint32(4, shape === 'up' ? n : 100_000 - n);
  return { key: rowKey(counter, 1 + n), value };
}

const shapes = ['tangled', 'random', 'up', 'down'] as const;
const cases = (): [fc.Arbitrary<number>, fc.Arbitrary<(typeof shapes)[number]>, fc.Arbitrary<number>] => [
  fc.nat(),
  fc.constantFrom(...shapes),
  fc.integer({ min: 0, max: 1500 }),
];

describe('key memtable', () => {
  test('memtable equals a sorted model under any inserts and lookups', () => {
    fc.assert(
      fc.property(...cases(), (seed, shape, n) => {
        const random = new Prng(seed);
        const table = new KeyMemtable({ bytesMax: GiB });
        const model = new Model();
        for (let i = 0; i < n; i++) {
          const row = pickRow(random, shape, i);
          insert(table, row);
          model.insert(row);
        }
        const wanted = model.rows.map(show);
        expect(scan(table, true)).toEqual(wanted);
        expect(scan(table, false)).toEqual(wanted);
        expect(table.entries).toBe(n);
        const seqs = model.rows.map(({ key }) => seqOf(key));
        expect([table.minSeq, table.maxSeq]).toEqual(
          n === 0 ? [0, 0] : [Math.min(...seqs), Math.max(...seqs)],
        );
        for (let i = 0; i < 60; i++) {
          const known = n > 0 && random.chance(0.6) ? random.pick(model.rows).key : undefined;
          const prefix = known === undefined ? pickPrefix(random) : known.subarray(0, known.length - 8);
          const seqMax = random.pick([0, random.below(35), n, Number.MAX_SAFE_INTEGER]);
          const buf = concatBytes([Uint8Array.of(1, 2), prefix, Uint8Array.of(3)]);
          const handle = table.find(buf, 2, 2 + prefix.length, seqMax);
          const found = model.find(prefix, seqMax);
          expect(rowAt(table, handle)).toEqual(found);
          if (found !== undefined) expect(table.entrySeq(handle)).toBe(seqOf(found.key));
        }
      }),
      { numRuns: 40 },
    );
  });

  test('trees of three levels hold every row in order, whatever order rows came in', () => {
    fc.assert(
      fc.property(fc.nat(), fc.constantFrom(...shapes, 'mixed' as const), (seed, shape) => {
        const random = new Prng(seed);
        const table = new KeyMemtable({ bytesMax: GiB });
        const rows: { key: Uint8Array; text: string; at: number }[] = [];
        for (let i = 0; i < 9000; i++) {
          const row = pickRow(random, shape === 'mixed' ? random.pick(shapes) : shape, i);
          insert(table, row);
          rows.push({ key: row.key, text: show(row), at: i });
        }
        rows.sort((a, b) => compareBytes(a.key, b.key) || b.at - a.at);
        const wanted = rows.map(({ text }) => text).join();
        expect(scan(table, true).join() === wanted).toBe(true);
        expect(scan(table, false).join() === wanted).toBe(true);
        for (const [i, { key, text }] of rows.entries()) {
          if (i > 0 && compareBytes(rows[i - 1]!.key, key) === 0) continue;
          const found = rowAt(table, table.find(key, 0, key.length - 8, seqOf(key)));
          if (found === undefined || show(found) !== text) throw new Error(`row ${i} was not found`);
        }
      }),
      { numRuns: 3 },
    );
  });

  test('cursor seeks like the model, both ways, for keys that are there and keys that are not', () => {
    fc.assert(
      fc.property(...cases(), (seed, shape, n) => {
        const random = new Prng(seed);
        const table = new KeyMemtable({ bytesMax: GiB });
        const model = new Model();
        for (let i = 0; i < n; i++) {
          const row = pickRow(random, shape, i);
          insert(table, row);
          model.insert(row);
        }
        const cursor = table.cursor();
        for (let i = 0; i < 60; i++) {
          let key = n > 0 && random.chance(0.5) ? random.pick(model.rows).key : pickPrefix(random);
          if (random.chance(0.3)) key = concatBytes([key, Uint8Array.of(random.pick([0, 255]))]);
          if (random.chance(0.3)) key = key.subarray(0, random.below(key.length + 1));
          const at = model.lowerBound(key);
          expectAt(cursor.seek(key), cursor, model.rows[at]);
          expectAt(cursor.seekBefore(key), cursor, model.rows[at - 1]);
        }
        expectAt(cursor.seek(none), cursor, model.rows[0]);
        expect(cursor.seekBefore(none)).toBe(END);
      }),
      { numRuns: 40 },
    );
  });

  test('cursor keeps its entry while inserts split its leaf', () => {
    fc.assert(
      fc.property(...cases(), (seed, shape, n) => {
        const random = new Prng(seed);
        const table = new KeyMemtable({ bytesMax: GiB });
        const model = new Model();
        const cursors = Array.from({ length: 3 }, () => ({
          cursor: table.cursor(),
          on: undefined as Row | undefined,
        }));
        for (let i = 0; i < n; i++) {
          const row = pickRow(random, shape, i);
          insert(table, row);
          model.insert(row);
          if (random.chance(0.7)) continue;
          const one = random.pick(cursors);
          const at = one.on === undefined ? -1 : model.rows.indexOf(one.on);
          if (one.on !== undefined) expect(show(current(one.cursor))).toBe(show(one.on));
          let to: number;
          let step: number;
          if (at === -1 || random.chance(0.1)) {
            to = model.lowerBound(row.key);
            step = one.cursor.seek(row.key);
          } else {
            const isForward = random.chance(0.5);
            to = at + (isForward ? 1 : -1);
            step = isForward ? one.cursor.next() : one.cursor.prev();
          }
          one.on = model.rows[to];
          expectAt(step, one.cursor, one.on);
        }
      }),
      { numRuns: 40 },
    );
  });

  test('equal keys come newest first, also across leaves', () => {
    const table = new KeyMemtable({ bytesMax: GiB });
    const key = rowKey(Uint8Array.of(5), 9);
    const values = Array.from({ length: 300 }, (_, i) => Uint8Array.of(i >> 8, i));
    for (const prefix of [4, 6]) insert(table, { key: rowKey(Uint8Array.of(prefix), 9), value: none });
    for (const value of values) insert(table, { key, value });
    const cursor = table.cursor();
    expect(cursor.seek(key)).toBe(OK);
    for (const value of values.toReversed()) {
      expect(current(cursor).value).toEqual(value);
      expect(cursor.next()).toBe(OK);
    }
    expect(current(cursor).key[0]).toBe(6);
    expect(cursor.seekBefore(key)).toBe(OK);
    expect(current(cursor).key[0]).toBe(4);
    expect(rowAt(table, table.find(key, 0, 1, 9))!.value).toEqual(values.at(-1));
  });

  test('keys with long shared prefixes sort like any others', () => {
    const random = new Prng(11);
    const table = new KeyMemtable({ bytesMax: GiB });
    const model = new Model();
    const long = random.bytes(131_000);
    for (let i = 0; i < 150; i++) {
      const cut = random.pick([0, 7, 8, 9, 16, 130_990, 131_000]);
      const row = { key: rowKey(concatBytes([long.subarray(0, cut), random.bytes(2)]), i), value: none };
      insert(table, row);
      model.insert(row);
    }
    const cursor = table.cursor();
    let step = cursor.first();
    for (const { key } of model.rows) {
      expect(step).toBe(OK);
      const { keyBytes, keyFrom, keyTo } = cursor;
      expect(compareRange(keyBytes, keyFrom, keyTo, key, 0, key.length)).toBe(0);
      step = cursor.next();
    }
    expect(step).toBe(END);
    for (const { key } of model.rows) {
      const handle = table.find(key, 0, key.length - 8, seqOf(key));
      expect(handle).not.toBe(-1);
      const [from, to] = [table.entryKeyFrom(handle), table.entryKeyTo(handle)];
      expect(compareRange(table.arena, from, to, key, 0, key.length)).toBe(0);
    }
  });

  test('records keep their bytes while the arena grows', () => {
    const table = new KeyMemtable({ bytesMax: GiB });
    const key = rowKey(Uint8Array.of(1), 1);
    insert(table, { key, value: Uint8Array.of(42) });
    const handle = table.find(key, 0, 1, 1);
    const { arena } = table;
    const cursor = table.cursor();
    expect(cursor.first()).toBe(OK);
    for (let i = 2; i < 40; i++)
      insert(table, { key: rowKey(Uint8Array.of(2), i), value: new Uint8Array(65_536) });
    expect(table.arena).not.toBe(arena);
    expect(arena[table.entryValueFrom(handle)]).toBe(42);
    expect(rowAt(table, handle)).toEqual({ key, value: Uint8Array.of(42) });
    expect(current(cursor)).toEqual({ key, value: Uint8Array.of(42) });
    expect(table.arena.buffer).toBeInstanceOf(SharedArrayBuffer);
  });

  test('sequence numbers up to 2^53-1 order newest first and bound a lookup', () => {
    const table = new KeyMemtable({ bytesMax: GiB });
    const seqs = [0, 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 52 + 3, Number.MAX_SAFE_INTEGER];
    const prefix = Uint8Array.of(9, 9);
    for (const seq of seqs) insert(table, { key: rowKey(prefix, seq), value: none });
    expect([table.minSeq, table.maxSeq]).toEqual([0, Number.MAX_SAFE_INTEGER]);
    for (const [i, seq] of seqs.entries()) {
      expect(table.entrySeq(table.find(prefix, 0, 2, seq))).toBe(seq);
      if (i > 0) expect(table.entrySeq(table.find(prefix, 0, 2, seq - 1))).toBe(seqs[i - 1]);
    }
  });

  test('a frozen memtable refuses inserts and still reads', () => {
    const table = new KeyMemtable({ bytesMax: GiB });
    const row = { key: rowKey(Uint8Array.of(1), 1), value: none };
    insert(table, row);
    table.freeze();
    table.freeze();
    expect(table.frozen).toBe(true);
    expect(() => insert(table, row)).toThrow('a frozen memtable takes no inserts');
    expect(scan(table, true)).toEqual([show(row)]);
  });

  test('the budget counts every byte, says full at the bound and takes inserts beyond it', () => {
    const probe = new KeyMemtable({ bytesMax: GiB });
    const row = (seq: number): Row => ({ key: rowKey(Uint8Array.of(1), seq), value: new Uint8Array(10) });
    const empty = probe.bytesUsed;
    insert(probe, row(1));
    expect(probe.bytesUsed - empty).toBe(28);
    const table = new KeyMemtable({ bytesMax: probe.bytesUsed + 1 });
    insert(table, row(1));
    expect(table.full).toBe(false);
    insert(table, row(2));
    expect(table.full).toBe(true);
    insert(table, row(3));
    expect(table.entries).toBe(3);
    expect(new KeyMemtable({ bytesMax: 1 }).full).toBe(false);
  });

  test('a budget out of bounds is refused', () => {
    for (const bytesMax of [0, -1, 1.5, Number.NaN, GiB + 1]) {
      expect(() => new KeyMemtable({ bytesMax })).toThrow(
        expect.objectContaining({ code: 'VARVE_INVALID_ARGUMENT' }),
      );
    }
    expect(new KeyMemtable({ bytesMax: GiB }).bytesMax).toBe(GiB);
  });

  test('our own mistakes fail assertions: short keys, ranges outside a buffer, moves from nowhere', () => {
    const table = new KeyMemtable({ bytesMax: GiB });
    expect(() => table.insert(new Uint8Array(7), 0, 7, none, 0, 0)).toThrow('ends in a sequence number');
    expect(() => table.insert(new Uint8Array(8), 0, 8, none, 0, 0)).toThrow('exact integer');
    const key = rowKey(none, 1);
    expect(() => table.insert(key, 0, 8, none, 0, 1)).toThrow('value lies in its buffer');
    const cursor = table.cursor();
    expect(cursor.first()).toBe(END);
    expect(() => cursor.next()).toThrow('only from an entry');
    expect(() => cursor.loadSync()).toThrow('never misses');
    expect(() => cursor.load()).toThrow('never misses');
    expect(table.entries).toBe(0);
  });
});

function expectAt(step: number, cursor: KeyCursor, row: Row | undefined): void {
  expect(step).toBe(row === undefined ? END : OK);
  if (row !== undefined) expect(show(current(cursor))).toBe(show(row));
}
