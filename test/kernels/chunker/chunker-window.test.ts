import { describe, expect, test } from 'vitest';
import { equalBytes } from '../../../src/base/bytes.ts';
import { MiB } from '../../../src/base/limits.ts';
import { Prng } from '../../../src/base/prng.ts';
import { ChunkerPool, chunkAll, createChunker, StreamChunker } from '../../../src/kernels/chunker/chunker.ts';
import { deriveChunkerKey } from '../../../src/kernels/chunker/key.ts';
import { solveParams } from '../../../src/kernels/chunker/params.ts';
import type { ScanKernel } from '../../../src/kernels/chunker/scan-kernel.ts';
import { cutsInPieces } from './in-pieces.ts';

const params = solveParams({ algorithm: 'fastcdc', min: 256, avg: 1024, max: 4096 });

describe('the window', () => {
  test('the window takes bytes again after every drain', () => {
    const chunker = createChunker(params);
    const bytes = new Prng(1).bytes(5 * MiB);
    const prng = new Prng(2);
    let taken = 0;
    while (taken < bytes.length) {
      const room = chunker.room();
      const offered = Math.min(bytes.length, taken + 1 + prng.below(300_000));
      const n = chunker.write(bytes.subarray(0, offered), taken);
      expect(n).toBe(Math.min(room, offered - taken));
      expect(n).toBeGreaterThan(0);
      taken += n;
      while (chunker.next(false) > 0) chunker.consume();
      expect(chunker.pending).toBeLessThan(params.max);
      expect(chunker.room()).toBeGreaterThanOrEqual(params.max);
    }
  });

  test('a full window takes nothing until a chunk is consumed', () => {
    const chunker = createChunker(params);
    const capacity = chunker.room();
    expect(capacity).toBe(2 * params.max + MiB);
    expect(chunker.write(new Uint8Array(capacity + 10))).toBe(capacity);
    expect(chunker.room()).toBe(0);
    expect(chunker.write(new Uint8Array(10))).toBe(0);
    expect(chunker.next(false)).toBe(params.max);
    chunker.consume();
    expect(chunker.room()).toBe(params.max);
    expect(chunker.write(new Uint8Array(10))).toBe(10);
  });

  test('bytes written in place are cut like copied ones', () => {
    const chunker = createChunker(params);
    const bytes = new Prng(12).bytes(200_000);
    chunker.space().set(bytes);
    chunker.advance(bytes.length);
    const ends: number[] = [];
    let end = 0;
    for (let n = chunker.next(true); n > 0; n = chunker.next(true)) {
      end += n;
      ends.push(end);
      chunker.consume();
    }
    expect(ends).toEqual([...chunkAll(createChunker(params), bytes)]);
  });

  test('chunk bytes stay in place after consume until the next write', () => {
    const chunker = createChunker(params);
    const bytes = new Prng(13).bytes(100_000);
    chunker.write(bytes);
    const views: Uint8Array[] = [];
    while (chunker.next(true) > 0) {
      views.push(chunker.chunk());
      chunker.consume();
    }
    let at = 0;
    for (const view of views) {
      expect(equalBytes(view, bytes.subarray(at, at + view.length))).toBe(true);
      at += view.length;
    }
    expect(at).toBe(bytes.length);
  });

  test('a chunk that grows byte by byte is scanned once', () => {
    const scanned: [number, number][] = [];
    const kernel: ScanKernel = {
      kind: 'javascript',
      window: new Uint8Array(20_000),
      scan(from, strictEnd, end) {
        expect(strictEnd).toBe(params.normal);
        scanned.push([from, end]);
        return 0;
      },
    };
    const chunker = new StreamChunker(params, kernel, () => undefined);
    let length = 0;
    while (length === 0) {
      chunker.write(Uint8Array.of(1));
      length = chunker.next(false);
    }
    expect(length).toBe(params.max);
    expect(scanned[0]![0]).toBe(params.min);
    expect(scanned.at(-1)![1]).toBe(params.max);
    for (let i = 1; i < scanned.length; i++) expect(scanned[i]![0]).toBe(scanned[i - 1]![1]);
  });

  test('cuts are the same when a stream grows byte by byte', () => {
    const bytes = new Prng(14).bytes(20_000);
    const whole = [...chunkAll(createChunker(params), bytes)];
    expect(cutsInPieces(createChunker(params), bytes, () => 1)).toEqual(whole);
  });

  test('next gives the same chunk until it is consumed', () => {
    const chunker = createChunker(params);
    chunker.write(new Prng(1).bytes(50_000));
    const first = chunker.next(false);
    expect(first).toBeGreaterThan(0);
    expect([chunker.next(false), chunker.next(true)]).toEqual([first, first]);
    expect(chunker.start).toBe(0);
    chunker.consume();
    expect(chunker.start).toBe(first);
  });

  test('nothing is written after the end of a stream until reset', () => {
    const chunker = createChunker(params);
    chunker.write(new Uint8Array(10));
    expect(chunker.next(true)).toBe(10);
    expect(() => chunker.write(new Uint8Array(1))).toThrow('after the end');
    expect(() => chunker.advance(1)).toThrow('after the end');
    expect(() => chunker.next(false)).toThrow('final');
    chunker.reset();
    expect(chunker.write(new Uint8Array(5))).toBe(5);
    expect(chunker.next(true)).toBe(5);
  });
});

describe('the pool', () => {
  test('streams side by side do not touch each other', () => {
    const pool = new ChunkerPool(params);
    const bytes = [new Prng(21).bytes(300_000), new Prng(22).bytes(300_000)] as const;
    const open = bytes.map(() => pool.open());
    const ends: number[][] = [[], []];
    for (let at = 0; at < 300_000; at += 1_000) {
      for (const i of [0, 1] as const) {
        const chunker = open[i]!;
        chunker.write(bytes[i].subarray(0, at + 1_000), at);
        for (let n = chunker.next(at === 299_000); n > 0; n = chunker.next(at === 299_000)) {
          ends[i]!.push((ends[i]!.at(-1) ?? 0) + n);
          chunker.consume();
        }
      }
    }
    for (const i of [0, 1]) expect(ends[i]).toEqual([...chunkAll(createChunker(params), bytes[i]!)]);
  });

  test('a released window is used again and starts empty', () => {
    const pool = new ChunkerPool(params);
    const first = pool.open();
    const window = first.buffer;
    first.write(new Prng(1).bytes(10_000));
    first.next(false);
    first.release();
    expect(pool.idle).toBe(1);
    const second = pool.open();
    expect(second.buffer).toBe(window);
    expect(second.pending).toBe(0);
    const bytes = new Prng(2).bytes(10_000);
    expect(chunkAll(second, bytes)).toEqual(chunkAll(createChunker(params), bytes));
  });

  test('a released chunker cannot touch the window it gave back', () => {
    const chunker = new ChunkerPool(params).open();
    chunker.write(new Uint8Array(5_000));
    expect(chunker.next(false)).toBe(params.max);
    chunker.release();
    chunker.release();
    expect(() => chunker.write(new Uint8Array(1))).toThrow('not released');
    expect(() => chunker.next(false)).toThrow('not released');
    expect(() => chunker.buffer).toThrow('not released');
    expect(() => chunker.reset()).toThrow('not released');
    expect(() => chunker.chunk()).toThrow('there is a chunk');
    expect(() => chunker.consume()).toThrow('there is a chunk');
  });

  test('no more windows are kept than asked for, and one released twice is kept once', () => {
    const pool = new ChunkerPool(params, { kept: 2 });
    const open = [pool.open(), pool.open(), pool.open()];
    for (const chunker of [...open, ...open]) chunker.release();
    expect(pool.idle).toBe(2);
  });

  test('parameters that cannot be run on and keys of another algorithm are refused', () => {
    const refused = { code: 'VARVE_INVALID_ARGUMENT' };
    expect(() => new ChunkerPool({ ...params, algorithmId: 3 })).toThrow(expect.objectContaining(refused));
    expect(() => new ChunkerPool({ ...params, max: 2 ** 25 })).toThrow(expect.objectContaining(refused));
    expect(() => createChunker(params, { key: deriveChunkerKey('sieve') })).toThrow(
      expect.objectContaining(refused),
    );
  });
});
