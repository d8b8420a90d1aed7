import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { concatBytes, toHex } from '../../src/base/bytes.ts';
import { Prng } from '../../src/base/prng.ts';
import type { ValueRecord } from '../../src/format/value-record.ts';
import { BufferRing } from '../../src/pool/buffer-ring.ts';
import { Jobs } from '../../src/pool/jobs.ts';
import { CheckedReader, type CheckThreads } from '../../src/value/checked-reader.ts';
import { RangeReader } from '../../src/value/range-reader.ts';
import { TestClock, turn } from '../engine/engine-kit.ts';
import { FakePool } from '../pool/fake-pool.ts';
import { buildValue, FakeChunks, randomPieces, recordOf } from './fake-chunks.ts';

interface Sample {
  readonly store: FakeChunks;
  readonly record: ValueRecord;
  readonly pieces: readonly Uint8Array[];
  readonly whole: Uint8Array;
}

async function sample(seed: number, chunks: number): Promise<Sample> {
  const store = new FakeChunks();
  const pieces = randomPieces(new Prng(seed), chunks, 3000);
  const record = recordOf(await buildValue(store, pieces));
  return { store, record, pieces, whole: concatBytes(pieces) };
}

function threadsOf(seed: number, bufferBytes = 8192, buffers = 4): CheckThreads {
  const pool = new FakePool(2, new Prng(seed), { dies: 10 });
  const jobs = new Jobs({ pool, clock: new TestClock(), onFailure: () => undefined });
  return { jobs, ring: new BufferRing(bufferBytes, buffers), bytesMin: 1 };
}

function readerOf({ store, record }: Sample, start: number, end: number, threads: CheckThreads | undefined) {
  return new CheckedReader(new RangeReader(record, start, end, store), store, end - start, threads);
}

async function rest(reader: CheckedReader): Promise<Uint8Array[]> {
  const parts: Uint8Array[] = [];
  for (;;) {
    const piece = reader.now() ?? (await reader.next());
    if (piece === undefined) return parts;
    parts.push(piece.chunk.slice(piece.from, piece.to));
  }
}

/** Gives chunk `i` other bytes of the same length. */
function damage({ store, pieces }: Sample, i: number): void {
  for (const [id, bytes] of store.chunks) {
    if (bytes === pieces[i])
      store.chunks.set(
        id,
        bytes.map((byte) => byte ^ 1),
      );
  }
}

describe.each([
  ['on threads', (seed: number) => threadsOf(seed)],
  ['with one small buffer', (seed: number) => threadsOf(seed, 3000, 1)],
  ['without a buffer', (seed: number) => threadsOf(seed, 3000, 0)],
  ['here', () => undefined],
])('a checked reader %s', (_how, open) => {
  test('every range equals the slice of the value', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.nat(60), fc.nat(100_000), fc.nat(100_000), async (seed, count, a, b) => {
        const made = await sample(seed, count);
        const [start, end] = [Math.min(a, b), Math.max(a, b)];
        const threads = open(seed);
        const read = concatBytes(await rest(readerOf(made, start, end, threads)));
        expect(Buffer.compare(read, made.whole.subarray(start, end))).toBe(0);
        expect([threads?.ring.out ?? 0, threads?.ring.users ?? 0]).toEqual([0, 0]);
      }),
      { numRuns: 25 },
    );
  });

  test("bytes that are not their id's are never handed out", async () => {
    for (const at of [0, 1, 17, 39]) {
      const made = await sample(at, 40);
      damage(made, at);
      const threads = open(at);
      const reader = readerOf(made, 0, made.whole.length, threads);
      const parts: Uint8Array[] = [];
      const reading = (async () => {
        for (let piece = await reader.next(); piece !== undefined; piece = await reader.next())
          parts.push(piece.chunk.slice());
      })();
      await expect(reading).rejects.toMatchObject({ code: 'VARVE_CORRUPT' });
      expect(parts.map(toHex)).toEqual(made.pieces.slice(0, at).map(toHex));
      expect(await reader.next()).toBeUndefined();
      expect([threads?.ring.out ?? 0, threads?.ring.users ?? 0]).toEqual([0, 0]);
    }
  });

  test('a chunk that cannot be read ends it after the pieces before', async () => {
    const made = await sample(1, 40);
    for (const [id, bytes] of made.store.chunks) if (bytes === made.pieces[20]) made.store.chunks.delete(id);
    const threads = open(1);
    const reader = readerOf(made, 0, made.whole.length, threads);
    for (let i = 0; i < 20; i++) expect((await reader.next())?.chunk.length).toBe(made.pieces[i]!.length);
    await expect(reader.next()).rejects.toMatchObject({ code: 'VARVE_CORRUPT' });
    expect([threads?.ring.out ?? 0, threads?.ring.users ?? 0]).toEqual([0, 0]);
  });

  test('buffers are given back however a read ends', async () => {
    const made = await sample(1, 60);
    for (let turns = 0; turns < 12; turns++) {
      const threads = open(turns);
      const reader = readerOf(made, 0, made.whole.length, threads);
      const reading = rest(reader);
      for (let i = 0; i < turns; i++) await turn();
      reader.cancel();
      reader.cancel();
      const read = concatBytes(await reading);
      expect(Buffer.compare(read, made.whole.subarray(0, read.length))).toBe(0);
      expect([threads?.ring.out ?? 0, threads?.ring.users ?? 0]).toEqual([0, 0]);
    }
  });
});
