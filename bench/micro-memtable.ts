/**
 * Operations per second of the two memtables, with 1 M random entries: `node dist/bench/micro-memtable.js`.
 */
import { Prng } from '../src/base/prng.ts';
import { ChunkMemtable } from '../src/tree/chunk-memtable.ts';
import { OK } from '../src/tree/cursor.ts';
import { KeyMemtable } from '../src/tree/key-memtable.ts';

const entries = Number(process.argv[2] ?? 1_000_000);
const rounds = 3;
const keyBytes = 20;
const valueBytes = 12;

/** Runs `work`, which does `n` operations, and prints their rate. */
function measure(name: string, n: number, work: () => void): void {
  const start = process.hrtime.bigint();
  work();
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  console.log(`${name.padEnd(44)} ${(n / seconds / 1e6).toFixed(2)} M/s`);
}

/** Keys of 20 bytes, the last 8 an inverted sequence number: random, or counting up behind a long prefix. */
function makeKeys(isRandom: boolean): Uint8Array {
  const keys = new Prng(1).bytes(entries * keyBytes);
  const view = new DataView(keys.buffer);
  for (let i = 0; i < entries; i++) {
    const at = i * keyBytes;
    if (!isRandom) keys.fill(0x61, at, at + 8);
    if (!isRandom) view.setUint32(at + 8, i);
    view.setUint32(at + 12, 0xffff_ffff);
    view.setUint32(at + 16, ~i);
  }
  return keys;
}

/** A fixed permutation of 0 .. entries-1, so that lookups come in another order than inserts. */
function shuffled(): Uint32Array {
  const order = Uint32Array.from({ length: entries }, (_, i) => i);
  const random = new Prng(2);
  for (let i = entries - 1; i > 0; i--) {
    const j = random.below(i + 1);
    const kept = order[i]!;
    order[i] = order[j]!;
    order[j] = kept;
  }
  return order;
}

function runKeys(name: string, keys: Uint8Array, order: Uint32Array): void {
  const table = new KeyMemtable({ bytesMax: 2 ** 30 });
  const value = new Uint8Array(valueBytes);
  let scanned = 0;
  measure(`${name} insert`, entries, () => {
    for (let i = 0; i < entries; i++) {
      const at = i * keyBytes;
      table.insert(keys, at, at + keyBytes, value, 0, valueBytes);
    }
  });
  let found = 0;
  measure(`${name} find, present`, entries, () => {
    for (const i of order) {
      const at = i * keyBytes;
      if (table.find(keys, at, at + 12, Number.MAX_SAFE_INTEGER) !== -1) found++;
    }
  });
  measure(`${name} find, absent`, entries, () => {
    for (const i of order) {
      const at = i * keyBytes;
      if (table.find(keys, at + 1, at + 13, Number.MAX_SAFE_INTEGER) !== -1) found++;
    }
  });
  if (found < entries) throw new Error(`${entries - found} keys were not found`);
  const cursor = table.cursor();
  measure(`${name} scan`, entries, () => {
    let step = cursor.first();
    while (step === OK) {
      scanned += cursor.keyTo - cursor.keyFrom;
      step = cursor.next();
    }
  });
  if (scanned !== entries * keyBytes) throw new Error('scan missed entries');
  console.log(`${name} bytes per entry: ${(table.bytesUsed / entries).toFixed(1)}`);
}

function runChunks(order: Uint32Array): void {
  const ids = new Prng(3).bytes(entries * 32);
  const absent = new Prng(4).bytes(entries * 32);
  const table = new ChunkMemtable({ bytesMax: 2 ** 30 });
  measure('chunk setLocation, new', entries, () => {
    for (let i = 0; i < entries; i++) table.setLocation(ids, i * 32, 1, i, 100, 100, 0, 0);
  });
  measure('chunk addRefs, known, shuffled', entries, () => {
    for (const i of order) table.addRefs(ids, i * 32, 1);
  });
  let found = 0;
  measure('chunk find, present, shuffled', entries, () => {
    for (const i of order) if (table.find(ids, i * 32) !== -1) found++;
  });
  measure('chunk find, absent', entries, () => {
    for (let i = 0; i < entries; i++) if (table.find(absent, i * 32) !== -1) found++;
  });
  if (found !== entries) throw new Error('lookups went wrong');
  measure('chunk sorted', entries, () => {
    table.sorted();
  });
  console.log(`chunk bytes per entry: ${(table.bytesUsed / entries).toFixed(1)}`);
}

const order = shuffled();
for (let round = 1; round <= rounds; round++) {
  console.log(`round ${round} of ${rounds}, ${entries} entries`);
  runKeys('key random', makeKeys(true), order);
  runKeys('key ascending', makeKeys(false), order);
  runChunks(order);
}
