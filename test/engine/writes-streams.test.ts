/** Streamed values: however they arrive, and however they end. */
import { describe, expect, test } from 'vitest';
import { bytesOf, codeOf, collect, inPieces, newStore, same, text, turn } from './engine-kit.ts';

describe('streams', () => {
  const value = bytesOf(5, 300_000);

  test('an async iterable and a web stream are stored as the same value, however they are cut', async () => {
    const { engine } = await newStore();
    const whole = await engine.put('whole', value);
    const web = new ReadableStream<Uint8Array>({
      start(controller) {
        for (let at = 0; at < value.length; at += 30_001) controller.enqueue(value.slice(at, at + 30_001));
        controller.close();
      },
    });
    for (const source of [inPieces(value, 1000), inPieces(value, 299_999), inPieces(value, 1_000_000), web]) {
      const put = await engine.put('k', source);
      expect([put.digest, put.size, put.chunks, put.newChunks]).toEqual([
        whole.digest,
        value.length,
        whole.chunks,
        0,
      ]);
      expect(same(await engine.get('k'), value)).toBe(true);
    }
  });

  test('a short stream is kept inline, empty pieces and all', async () => {
    const { engine } = await newStore();
    async function* source(): AsyncGenerator<Uint8Array> {
      yield new Uint8Array(0);
      yield Uint8Array.of(1, 2);
      yield new Uint8Array(0);
      yield Uint8Array.of(3);
    }
    expect(await engine.put('k', source())).toMatchObject({ size: 3, chunks: 0, newChunks: 0 });
    expect(await engine.get('k')).toEqual(Uint8Array.of(1, 2, 3));
    expect(await engine.put('e', inPieces(new Uint8Array(0), 1))).toMatchObject({ size: 0, chunks: 0 });
  });

  test('a stream that throws leaves nothing visible, and the engine as it was', async () => {
    const { engine } = await newStore();
    await engine.put('k', 'old');
    for (const after of [0, 30, 200_000]) {
      async function* source(): AsyncGenerator<Uint8Array> {
        yield* inPieces(value.subarray(0, after), 7000);
        throw new RangeError('source failed');
      }
      await expect(engine.put('k', source())).rejects.toThrow(new RangeError('source failed'));
      expect(text(await engine.get('k'))).toBe('old');
    }
    expect(engine.health().ok).toBe(true);
    await engine.put('k', value);
    expect(same(await engine.get('k'), value)).toBe(true);
  });

  test('a stream of something else than bytes is refused and ended', async () => {
    const { engine } = await newStore();
    let ended = false;
    async function* source(): AsyncGenerator<Uint8Array> {
      try {
        yield value.subarray(0, 100);
        yield 'text' as unknown as Uint8Array;
      } finally {
        ended = true;
      }
    }
    expect(await codeOf(engine.put('k', source()))).toBe('VARVE_INVALID_ARGUMENT');
    expect(ended).toBe(true);
  });

  test('an aborted put fails at once, also while its source stalls, and ends the source', async () => {
    const { engine } = await newStore();
    for (const before of [0, 100_000]) {
      const abort = new AbortController();
      let cancelled = false;
      const source = new ReadableStream<Uint8Array>({
        start: (controller) => {
          if (before > 0) controller.enqueue(value.slice(0, before));
        },
        cancel: () => {
          cancelled = true;
        },
      });
      const put = codeOf(engine.put('k', source, { signal: abort.signal }));
      for (let i = 0; i < 5; i++) await turn();
      abort.abort(new Error('enough'));
      expect(await put).toBe('VARVE_ABORTED');
      expect(await engine.has('k')).toBe(false);
      expect(cancelled || source.locked).toBe(true);
    }
    const abort = new AbortController();
    abort.abort();
    expect(await codeOf(engine.put('k', 'x', { signal: abort.signal }))).toBe('VARVE_ABORTED');
    expect(await codeOf(engine.delete('k', { signal: abort.signal }))).toBe('VARVE_ABORTED');
    expect(await codeOf(engine.batch([], { signal: abort.signal }))).toBe('VARVE_ABORTED');
    await engine.close();
  });

  test('a stream is seen whole at its commit or never', async () => {
    const { engine } = await newStore();
    let seen = 0;
    async function* source(): AsyncGenerator<Uint8Array> {
      for await (const piece of inPieces(value, 10_000)) {
        expect(await engine.has('k')).toBe(false);
        seen++;
        yield piece;
      }
    }
    await engine.put('k', source());
    expect(seen).toBe(30);
    expect(same(await collect(engine.stream('k')), value)).toBe(true);
  });

  test('a stream of 64 MiB is stored in bounded memory and read back', async () => {
    const { engine } = await newStore(
      {
        chunking: { algorithm: 'fastcdc', min: 4096, avg: 16_384, max: 65_536 },
      },
      16 * 1024 * 1024,
    );
    const block = bytesOf(6, 1024 * 1024);
    let pending = 0;
    async function* source(): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < 64; i++) {
        block[0] = i;
        block[500_000] = i;
        pending = Math.max(pending, engine.stats().memory.pendingCommits.used);
        yield block;
      }
    }
    const put = await engine.put('big', source(), { sha256: true });
    expect(put.size).toBe(64 * 1024 * 1024);
    expect(pending).toBeLessThan(4 * 1024 * 1024);
    let at = 0;
    let equal = true;
    for await (const part of engine.stream('big')) {
      for (let i = 0; i < part.length; i += 4096, at += 4096) {
        const offset = at % block.length;
        const index = Math.floor(at / block.length);
        const expected = offset === 0 || offset === 500_000 ? index : block[offset];
        equal &&= part[i] === expected;
      }
      at += part.length - Math.ceil(part.length / 4096) * 4096;
    }
    expect([equal, at]).toEqual([true, put.size]);
    const { newChunks } = await engine.put('again', engine.stream('big'));
    expect(newChunks).toBe(0);
  });
});
