import { describe, expect, test } from 'vitest';
import { fromHex } from '../../src/base/bytes.ts';
import { Prng } from '../../src/base/prng.ts';
import { newLocation } from '../../src/chunk/chunk-store.ts';
import { RunReader } from '../../src/chunk/run-reader.ts';
import { chunkKinds } from '../../src/format/chunk-ref.ts';
import { bytesOf, codeOf, newStore, openOn, same } from '../engine/engine-kit.ts';
import { putValue, stateOf, type WriteParts, writeParts } from '../txn/write-kit.ts';

/** Ids and kinds of all chunks, in the order they were stored. */
async function chunksOf(parts: WriteParts) {
  const { chunks } = await stateOf(parts.forest);
  return chunks
    .map((line) => /^(\w+) (\d+):(\d+)\+(\d+) kind (\d)/.exec(line)!)
    .map(([, id, segment, off8, length, kind]) => ({
      id: fromHex(id!),
      segment: Number(segment),
      off8: Number(off8),
      storedLen: Number(length),
      isData: Number(kind) === chunkKinds.data,
    }))
    .sort((a, b) => a.segment - b.segment || a.off8 - b.off8);
}

describe('a run reader', () => {
  test('a run gives what single reads give', async () => {
    const parts = await writeParts(256 * 1024);
    await putValue(parts, 'a', bytesOf(1, 700_000));
    const chunks = await chunksOf(parts);
    const prng = new Prng(1);
    const orders = [
      chunks,
      chunks.toReversed(),
      chunks.filter((_, i) => i % 7 > 0),
      chunks.toSorted(() => prng.below(3) - 1),
    ];
    for (const order of orders) {
      const reader = new RunReader(parts.store, true);
      for (let at = 0; at < order.length; at += 50) {
        const some = order.slice(at, at + 50);
        const read = await Promise.all(
          some.map(({ id, isData, segment, off8, storedLen }, i) => {
            const kind = isData ? chunkKinds.data : chunkKinds.list;
            const place = { segment, off8, storedLen, rawLen: storedLen };
            // Without a hint, with the right one, and with one that is out of date.
            const hint = [undefined, place, { ...place, segment: 9999 }][i % 3];
            return reader.read(id, hint, kind);
          }),
        );
        for (const [i, bytes] of read.entries()) {
          const { id, isData } = some[i]!;
          const kind = isData ? chunkKinds.data : chunkKinds.list;
          expect(same(bytes, parts.store.readSync(id, undefined, kind))).toBe(true);
        }
      }
    }
  });

  test('runs stay within their bounds, and grow as long as chunks lie behind each other', async () => {
    const parts = await writeParts(4 * 1024 * 1024);
    await putValue(parts, 'a', bytesOf(1, 2_000_000));
    const chunks = (await chunksOf(parts)).filter(({ isData }) => isData);
    const asked: number[] = [];
    const { store } = parts;
    const readRun = store.readRun.bind(store);
    store.readRun = (segment, off8, bytes) => {
      asked.push(bytes);
      return readRun(segment, off8, bytes);
    };
    const reader = new RunReader(store);
    for (const { id } of chunks) await reader.read(id, undefined, chunkKinds.data);
    expect(asked.length).toBeLessThan(10);
    expect(Math.max(...asked)).toBe(512 * 1024);
    asked.length = 0;
    const apart = new RunReader(store);
    for (const { id } of chunks.filter((_, i) => i % 300 === 0).toReversed())
      await apart.read(id, undefined, chunkKinds.data);
    expect(asked[0]).toBe(128 * 1024);
    expect(Math.max(...asked.slice(1))).toBeLessThan(4096);
  });

  test('damage is told as a single read tells it', async () => {
    const { engine: writer, disk } = await newStore({}, 1024 * 1024);
    const value = bytesOf(1, 700_000);
    await writer.put('k', value);
    await writer.close();
    const path = disk.files().find((name) => name.endsWith('.seg') && disk.bytesOf(name).length > 700_000)!;
    disk.flipBit(path, 350_000 * 8);
    const engine = await openOn(disk);
    const error = await engine.get('k').then(
      () => undefined,
      (e: unknown) => e,
    );
    expect(error).toMatchObject({ code: 'VARVE_CORRUPT', file: path });
    expect(engine.health().ok).toBe(false);
    // What lies before and behind it is still served.
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
    for (const kind of [chunkKinds.data, chunkKinds.list]) {
      const parts = await writeParts();
      const id = bytesOf(7, 32);
      const lane = parts.lanes.acquireData();
      await parts.lanes.ready(lane);
      const writer = parts.lanes.current(lane)!;
      const place = newLocation();
      parts.store.append(writer, id, 0, bytesOf(1, 500), 0, 500, kind, place);
      const error = await parts.store.mismatch(id, place);
      expect(error).toMatchObject({ code: 'VARVE_CORRUPT', file: writer.path, offset: place.off8 * 8 });
      expect(parts.damage).toEqual([error]);
      const read = (verify: boolean) => new RunReader(parts.store, verify).read(id, place, kind);
      expect((await read(false)).length).toBe(500);
      // Data is its reader's to check, which has many chunks to check at once.
      expect(kind === chunkKinds.data ? 'data' : await codeOf(read(true))).toBe(
        kind === chunkKinds.data ? 'data' : 'VARVE_CORRUPT',
      );
    }
  });
});
