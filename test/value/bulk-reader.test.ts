import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { concatBytes, toHex } from '../../src/base/bytes.ts';
import { Prng } from '../../src/base/prng.ts';
import { newLocation } from '../../src/chunk/chunk-store.ts';
import { chunkKinds } from '../../src/format/chunk-ref.ts';
import type { ValueRecord } from '../../src/format/value-record.ts';
import { sha256 } from '../../src/kernels/hash/sha256.ts';
import { BufferRing } from '../../src/pool/buffer-ring.ts';
import { Jobs } from '../../src/pool/jobs.ts';
import { type BulkOptions, BulkReader, type CheckThreads } from '../../src/value/bulk-reader.ts';
import { inlineBody, ValueBuilder } from '../../src/value/value-writer.ts';
import { bytesOf, codeOf, newStore, openOn, same, TestClock, turn } from '../engine/engine-kit.ts';
import { FakePool } from '../pool/fake-pool.ts';
import { putValue, writeParts } from '../txn/write-kit.ts';
import { buildValue, randomPieces, recordOf, smallLimits } from './fake-chunks.ts';
import { type Layout, PlacedChunks } from './placed-chunks.ts';

interface Sample {
  readonly store: PlacedChunks;
  readonly record: ValueRecord;
  readonly pieces: readonly Uint8Array[];
  readonly whole: Uint8Array;
}

const broken: Layout = { apart: 20, unknown: 20, lost: 5 };

/** Some chunks come more than once. */
async function sample(seed: number, chunks: number, layout: Layout = broken): Promise<Sample> {
  const store = new PlacedChunks();
  const prng = new Prng(seed);
  const pieces = randomPieces(prng, chunks, 3000);
  for (let i = 1; i < chunks; i++) if (prng.below(10) === 0) pieces[i] = pieces[prng.below(i)]!;
  const record = recordOf(await buildValue(store, pieces, chunks % 2 === 0 ? smallLimits : undefined));
  store.layOut(prng, layout);
  return { store, record, pieces, whole: concatBytes(pieces) };
}

function threadsOf(seed: number, bufferBytes = 8192, buffers = 6): CheckThreads {
  const pool = new FakePool(2, new Prng(seed), { dies: 10 });
  const jobs = new Jobs({ pool, clock: new TestClock(), onFailure: () => undefined });
  return { jobs, ring: new BufferRing(bufferBytes, buffers), bytesMin: 1 };
}

function readerOf(made: Sample, options: BulkOptions, start = 0, end = made.whole.length): BulkReader {
  return new BulkReader(made.record, start, end, made.store, { readAheadBytes: 16_384, ...options });
}

/** What is handed out, copied at once; memory that was borrowed is spoilt as another reader would. */
async function rest(reader: BulkReader, parts: Uint8Array[] = []): Promise<Uint8Array[]> {
  for (let batch = await reader.next(); batch !== undefined; batch = await reader.next()) {
    const views = batch.views().map((view) => view.slice());
    const copy = new Uint8Array(batch.left);
    const half = Math.floor(copy.length / 2);
    batch.copyTo(copy.subarray(0, half));
    expect(batch.left).toBe(copy.length - half);
    batch.copyTo(copy.subarray(half));
    expect([batch.left, Buffer.compare(concatBytes(views), copy)]).toEqual([0, 0]);
    parts.push(...views);
    batch.memory.fill(0);
  }
  return parts;
}

/** Everything that was lent is back. */
async function settled(threads: CheckThreads | undefined): Promise<void> {
  for (let turns = 0; turns < 100 && (threads?.ring.out ?? 0) > 0; turns++) await turn();
  expect([threads?.ring.out ?? 0, threads?.ring.users ?? 0]).toEqual([0, 0]);
}

/** Gives chunk `i` other bytes: in its frame, and for whoever asks for it alone. */
function damage({ store, pieces }: Sample, i: number): void {
  const name = toHex(sha256(pieces[i]!));
  store.frameOf(name)[64]! ^= 1;
  store.chunks.set(
    name,
    pieces[i]!.map((byte, at) => (at === 0 ? byte ^ 1 : byte)),
  );
}

const ways: readonly [string, (seed: number) => BulkOptions][] = [
  ['checked on threads', (seed) => ({ verify: true, threads: threadsOf(seed) })],
  ['checked with one small buffer', (seed) => ({ verify: true, threads: threadsOf(seed, 3000, 1) })],
  ['checked without a buffer', (seed) => ({ verify: true, threads: threadsOf(seed, 3000, 0) })],
  ['checked here', () => ({ verify: true })],
  ['by its frames', (seed) => ({ verify: false, threads: threadsOf(seed) })],
];

describe.each(ways)('a value read in bulk, %s', (how, open) => {
  test('every range equals the slice of the value', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(),
        fc.nat(70),
        fc.nat(120_000),
        fc.nat(120_000),
        fc.record({ apart: fc.nat(60), unknown: fc.nat(40), lost: fc.nat(10) }),
        async (seed, count, a, b, layout) => {
          const made = await sample(seed, count, layout);
          const options = open(seed);
          const [start, end] = [Math.min(a, b), Math.max(a, b)];
          const read = concatBytes(await rest(readerOf(made, options, start, end)));
          expect(Buffer.compare(read, made.whole.subarray(start, end))).toBe(0);
          await settled(options.threads);
        },
      ),
      { numRuns: 25 },
    );
  });

  test("bytes that are not their id's are never handed out", async () => {
    for (const at of [0, 1, 17, 39]) {
      const made = await sample(at, 40, { apart: 10 });
      const first = made.pieces.indexOf(made.pieces[at]!);
      damage(made, at);
      const options = open(at);
      const reader = readerOf(made, options);
      const parts: Uint8Array[] = [];
      // Without SHA-256 a frame is damaged too, and whoever reads the chunk alone would find that.
      if (how === 'by its frames') made.store.chunks.delete(toHex(sha256(made.pieces[at]!)));
      expect(await codeOf(rest(reader, parts))).toBe('VARVE_CORRUPT');
      expect(parts.map(toHex)).toEqual(made.pieces.slice(0, first).map(toHex));
      expect(await reader.next()).toBeUndefined();
      await settled(options.threads);
    }
  });

  test('damage ends a read behind the bytes before it', async () => {
    // A chunk that is nowhere, and a list node.
    for (const kind of [chunkKinds.data, chunkKinds.list]) {
      const made = await sample(2, 40, {});
      const names = [...made.store.kinds].filter(([, each]) => each === kind).map(([name]) => name);
      const name = names[kind === chunkKinds.data ? 20 : 1]!;
      made.store.chunks.delete(name);
      made.store.places.delete(name);
      const options = open(1);
      const parts: Uint8Array[] = [];
      expect(await codeOf(rest(readerOf(made, options), parts))).toBe('VARVE_CORRUPT');
      const read = concatBytes(parts);
      expect(read.length).toBeGreaterThan(0);
      expect(Buffer.compare(read, made.whole.subarray(0, read.length))).toBe(0);
      await settled(options.threads);
    }
  });

  test('a chunk that is not in its place is read alone, and only that one', async () => {
    const made = await sample(1, 39, {});
    const names = [3, 20].map((i) => toHex(sha256(made.pieces[i]!)));
    // Another id in the header; a file that is cut off.
    made.store.frameOf(names[0]!)[40]! ^= 1;
    made.store.places.set(names[1]!, { segment: 77, offset: 64, length: made.pieces[20]!.length });
    made.store.files.set(77, new Uint8Array(100));
    const options = open(3);
    const read = concatBytes(await rest(readerOf(made, options)));
    expect(Buffer.compare(read, made.whole)).toBe(0);
    expect([...new Set(made.store.alone)].sort()).toEqual(names.toSorted());
    await settled(options.threads);
  });

  test('memory is given back however a read ends', async () => {
    const made = await sample(1, 60);
    for (let turns = 0; turns < 14; turns++) {
      const options = open(turns);
      const reader = readerOf(made, options);
      const reading = rest(reader);
      for (let i = 0; i < turns; i++) await turn();
      reader.cancel();
      reader.cancel();
      const read = concatBytes(await reading);
      expect(Buffer.compare(read, made.whole.subarray(0, read.length))).toBe(0);
      await settled(options.threads);
    }
    const stop = new AbortController();
    const options = open(1);
    const reader = readerOf(made, { ...options, signal: stop.signal });
    await reader.next();
    stop.abort();
    expect(await codeOf(reader.next())).toBe('VARVE_ABORTED');
    await settled(options.threads);
  });

  test('reads stay within their bounds, and take what lies together together', async () => {
    const made = await sample(3, 101, {});
    const options = open(5);
    const reader = readerOf(made, options);
    let batches = 0;
    let most = 0;
    for (let batch = await reader.next(); batch !== undefined; batch = await reader.next()) {
      batches++;
      for (let i = 0; i < 30; i++) await turn();
      most = Math.max(most, made.store.bytesReading);
      expect(options.threads?.ring.out ?? 0).toBeLessThanOrEqual(4);
    }
    const bound = Math.min(8192, how.includes('small') || how.includes('without') ? 3000 : 8192);
    // A chunk that is longer is read alone.
    expect(Math.max(...made.store.lengths)).toBeLessThanOrEqual(Math.max(bound, 64 + 3000));
    expect(most).toBeLessThanOrEqual(3 * Math.max(bound, 64 + 3000));
    if (bound === 8192) expect(batches).toBeLessThan(40);
    await settled(options.threads);
  });
});

test('an inline value is one piece, and a range must be one', async () => {
  const record = recordOf(inlineBody(Uint8Array.of(1, 2, 3, 4)));
  const store = new PlacedChunks();
  const read = async (start: number, end: number) =>
    concatBytes(await rest(new BulkReader(record, start, end, store)));
  expect([...(await read(1, 3))]).toEqual([2, 3]);
  expect([...(await read(0, 99))]).toEqual([1, 2, 3, 4]);
  expect([...(await read(2, 2))]).toEqual([]);
  for (const [start, end] of [
    [3, 2],
    [-1, 2],
    [0.5, 2],
  ] as const)
    expect(() => new BulkReader(record, start, end, store)).toThrow(
      expect.objectContaining({ code: 'VARVE_INVALID_ARGUMENT' }),
    );
});

describe('a store read in bulk', () => {
  test('what is still being written is read as what is on the disk', async () => {
    const parts = await writeParts(256 * 1024);
    const value = bytesOf(1, 700_000);
    const record = recordOf((await putValue(parts, 'a', value)).body);
    for (const verify of [false, true]) {
      const read = concatBytes(
        await rest(new BulkReader(record, 0, value.length, parts.store, { verify, readAheadBytes: 300_000 })),
      );
      expect(same(read, value)).toBe(true);
    }
    expect(parts.damage).toEqual([]);
  });

  test('damage is told with its file, and what lies before and behind it is still served', async () => {
    const { engine: writer, disk } = await newStore({}, 1024 * 1024);
    const value = bytesOf(1, 700_000);
    await writer.put('k', value);
    await writer.close();
    const path = disk.files().find((name) => name.endsWith('.seg') && disk.bytesOf(name).length > 700_000)!;
    disk.flipBit(path, 350_000 * 8);
    const engine = await openOn(disk);
    const told = { code: 'VARVE_CORRUPT', file: path };
    await expect(engine.get('k')).rejects.toMatchObject(told);
    for (const verify of [false, true]) {
      const parts: Uint8Array[] = [];
      const reading = (async () => {
        for await (const pieces of engine.pieces('k', { verify }))
          parts.push(...pieces.map((piece) => piece.slice()));
      })();
      await expect(reading).rejects.toMatchObject(told);
      const read = concatBytes(parts);
      expect(read.length).toBeGreaterThan(200_000);
      expect(same(read, value.subarray(0, read.length))).toBe(true);
    }
    expect(engine.health().ok).toBe(false);
    for (const [start, end] of [
      [0, 300_000],
      [400_000, 700_000],
    ] as const) {
      const parts: Uint8Array[] = [];
      for await (const piece of engine.stream('k', { start, end, verify: true })) parts.push(piece);
      expect(same(Buffer.concat(parts), value.subarray(start, end))).toBe(true);
    }
    await engine.close();
  });

  test("a frame that is whole and has other bytes than its id's is found by verify alone", async () => {
    const parts = await writeParts();
    const piece = bytesOf(1, 500);
    const id = bytesOf(7, 32);
    const lane = parts.lanes.acquireData();
    await parts.lanes.ready(lane);
    const writer = parts.lanes.current(lane)!;
    const place = newLocation();
    parts.store.append(writer, id, 0, piece, 0, 500, chunkKinds.data, place);
    const builder = new ValueBuilder(new PlacedChunks());
    await builder.addChunk(id, 0, place.segment, place.off8, 500, 500);
    const record = recordOf(await builder.finish());
    const read = (verify: boolean) => rest(new BulkReader(record, 0, 500, parts.store, { verify }));
    expect(same(concatBytes(await read(false)), piece)).toBe(true);
    const error = await read(true).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'VARVE_CORRUPT', file: writer.path, offset: place.off8 * 8 });
    expect(parts.damage).toEqual([error]);
  });
});
