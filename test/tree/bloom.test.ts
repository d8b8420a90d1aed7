import { describe, expect, test } from 'vitest';
import { mix32 } from '../../src/codec/key-hash.ts';
import { BloomFilter, bucketBytes, bucketOf, bucketsFor, FilterWords, remix } from '../../src/tree/bloom.ts';

describe('bloom filter', () => {
  test('a filter finds every key that was added, also in the pieces that were saved', () => {
    const filter = new BloomFilter(bucketsFor(5000, 12));
    for (let i = 0; i < 5000; i++) filter.addHash(mix32(i));
    const pieces: FilterWords[] = [];
    const pieceBytes = 1024;
    for (let from = 0; from < filter.bytes; from += pieceBytes) {
      const bytes = new Uint8Array(Math.min(pieceBytes, filter.bytes - from));
      filter.save(bytes, from);
      pieces.push(FilterWords.from(bytes));
    }
    const perPiece = pieceBytes / bucketBytes;
    for (let i = 0; i < 5000; i++) {
      const hash = mix32(i);
      const bucket = bucketOf(hash, filter.buckets);
      const piece = pieces[Math.floor(bucket / perPiece)]!;
      expect(filter.mayContain(hash) && piece.has(bucket % perPiece, remix(hash))).toBe(true);
    }
  });

  test('a filter of 12 bits per key errs rarely', () => {
    for (const [bits, most] of [
      [12, 100],
      [14, 50],
    ] as const) {
      const filter = new BloomFilter(bucketsFor(20_000, bits));
      for (let i = 0; i < 20_000; i++) filter.addPair(mix32(i), mix32(i ^ 0x5bd1e995));
      let wrong = 0;
      for (let i = 100_000; i < 110_000; i++)
        if (filter.mayContainPair(mix32(i), mix32(i ^ 0x5bd1e995))) wrong++;
      expect(wrong).toBeLessThan(most);
    }
  });

  test('the bits of a key never change', () => {
    const filter = new BloomFilter(1);
    filter.addHash(0x12345678);
    const bytes = new Uint8Array(32);
    filter.save(bytes, 0);
    expect(Buffer.from(bytes).toString('hex')).toBe(
      '0000200004000000080000002000000000000004000002000400000040000000',
    );
  });

  test('a filter has at least one bucket', () => {
    expect(bucketsFor(0, 12)).toBe(1);
    expect(bucketsFor(1000, 12)).toBe(47);
  });
});
