import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { FrameCopier } from '../../src/chunk/clean-copy.ts';
import { LiveFrames } from '../../src/chunk/liveness.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { sha256 } from '../../src/kernels/hash/sha256.ts';
import type { SegmentSet } from '../../src/segment/segment-set.ts';
import { createWriter, dbUuid, segmentPath, segmentSet } from '../segment/support.ts';

/** Frame lengths on both sides of the buffer (16 KiB) and of gaps that are read along (64 KiB). */
const lengths = fc.array(fc.constantFrom(0, 1, 90, 700, 4000, 4000, 4000, 9000, 40_000), {
  minLength: 1,
  maxLength: 60,
});

test('any frames, live in any pattern and damaged anywhere, are copied as they are', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(lengths, { minLength: 1, maxLength: 3 }),
      fc.nat(),
      fc.constantFrom(0, 0, 1, 3),
      fc.constantFrom(8 * 1024, 30_000, 200_000),
      fc.constantFrom(Number.POSITIVE_INFINITY, 5000),
      fc.constantFrom(1, 3),
      async (segments, seed, damaged, segmentBytes, unsyncedMax, runsAhead) => {
        const prng = new Prng(seed);
        const fs = new MemoryFileSystem();
        const { set } = segmentSet(fs);
        const wanted = new Map<string, Uint8Array>();
        let synced = 0;
        const copier = new FrameCopier({
          ...{ fs, dbUuid, segments: set, segmentBytes, frames: 0, spare: [], runBytes: 2 ** 20, runsAhead },
          unsyncedMax: () => unsyncedMax,
          sync: async (bytes, work) => {
            synced += bytes;
            return await work();
          },
          random: (n) => prng.bytes(n),
          takeFileNo: (
            (no) => () =>
              ++no
          )(100),
          spend: async () => undefined,
        });
        const hurt: string[] = [];
        let reported = 0;
        for (const [i, sizes] of segments.entries()) {
          const writer = await createWriter(fs, i + 1);
          const live = new LiveFrames();
          for (const size of sizes) {
            const payload = prng.bytes(size);
            const id = sha256(payload);
            const off8 = writer.append(id, 0, payload, 0, size, 0, 0, size);
            if (!prng.chance(0.6) || wanted.has(`${id}`)) continue;
            live.add(id, 0, off8, size);
            wanted.set(`${id}`, payload);
            if (hurt.length < damaged && prng.chance(0.3)) {
              hurt.push(`${i + 1} ${off8 * 8 + prng.below(64)}`);
              wanted.delete(`${id}`);
            }
          }
          set.add(i + 1, await writer.seal());
          await writer.close();
          for (const place of hurt) {
            const [no, at] = place.split(' ').map(Number);
            if (no === i + 1) {
              fs.corrupt(segmentPath(no), (bytes) => {
                bytes[at!]! ^= 0x10;
                return bytes;
              });
            }
          }
          reported += (await copier.copy(i + 1, live)).length;
        }
        await copier.finish();
        expect(reported).toBe(hurt.length);
        expect(copier.moves.count).toBe(wanted.size);
        for (const info of copier.outputs) set.add(info.no, info);
        for (let m = 0; m < copier.moves.count; m++) {
          const { moves } = copier;
          const id = moves.ids.slice(m * 32, m * 32 + 32);
          const payload = await set.readFrame(moves.toSegment(m), moves.toOff8(m), moves.storedLen(m), id);
          expect(Buffer.compare(payload!, wanted.get(`${id}`)!)).toBe(0);
        }
        const frames = copier.outputs.reduce((sum, info) => sum + info.frames, 0);
        expect(frames).toBe(wanted.size);
        // Each byte once, in how many portions ever.
        expect(synced).toBe(copier.outputs.reduce((sum, { dataLen }) => sum + dataLen, 0));
        expect(synced).toBe(copier.copiedBytes);
        for (const info of copier.outputs) {
          expect(info.frames === 1 || info.dataLen + 64 <= segmentBytes).toBe(true);
          expect((await set.readTrailer(info.no)).count).toBe(info.frames);
        }
        await set.close();
      },
    ),
    { numRuns: 60 },
  );
});

/** Segments 1 .. n in memory, with frames of `bytes` random bytes, of which every other one is live. */
async function halfLive(segments: number, frames: number, bytes: number) {
  const prng = new Prng(7);
  const fs = new MemoryFileSystem();
  const { set } = segmentSet(fs);
  const found: LiveFrames[] = [];
  for (let no = 1; no <= segments; no++) {
    const writer = await createWriter(fs, no);
    const live = new LiveFrames();
    for (let i = 0; i < frames; i++) {
      const payload = prng.bytes(bytes);
      const id = sha256(payload);
      const off8 = writer.append(id, 0, payload, 0, bytes, 0, 0, bytes);
      if (i % 2 === 0) live.add(id, 0, off8, bytes);
    }
    set.add(no, await writer.seal());
    await writer.close();
    found.push(live);
  }
  return { fs, set, found };
}

function copierOf(fs: MemoryFileSystem, segments: SegmentSet, spare: Uint8Array[], runBytes: number) {
  let no = 1000;
  return new FrameCopier({
    ...{ fs, dbUuid, segments, segmentBytes: 200_000, frames: 0, spare, runBytes, runsAhead: 3 },
    unsyncedMax: () => Number.POSITIVE_INFINITY,
    sync: (_bytes, work) => work(),
    random: (n) => new Prng(1).bytes(n),
    takeFileNo: () => ++no,
    spend: async () => undefined,
  });
}

test('buffers are used again, however much is copied', async () => {
  const { fs, set, found } = await halfLive(40, 30, 3000);
  const seen = new Set<ArrayBufferLike>();
  let kept = 0;
  const spare = new (class extends Array<Uint8Array> {
    override push(...buffers: Uint8Array[]): number {
      for (const { buffer } of buffers) seen.add(buffer);
      kept += buffers.length;
      return super.push(...buffers);
    }
  })();
  const copier = copierOf(fs, set, spare, 16 * 1024);
  for (const [i, live] of found.entries()) await copier.copy(i + 1, live);
  await copier.finish();
  expect(copier.moves.count).toBe(600);
  // Every buffer comes back, and 1.8 MB went through no more than those that are under way at once.
  expect(kept).toBeGreaterThan(100);
  expect(spare.length).toBe(seen.size);
  expect(seen.size).toBeLessThanOrEqual(20);
  await set.close();
});

test('of what the disk cannot read at once, the frames it can read are copied', async () => {
  const { fs, set, found } = await halfLive(1, 30, 3000);
  const bad = found[0]!.off8[4]! * 8;
  fs.faults = ({ kind, pos, length }) =>
    kind === 'read' && pos! <= bad && bad < pos! + length! ? { errno: 'EIO' } : undefined;
  const copier = copierOf(fs, set, [], 64 * 1024);
  const damage = await copier.copy(1, found[0]!);
  await copier.finish();
  expect(damage.map(({ code, errno }) => [code, errno])).toEqual([['VARVE_IO', 'EIO']]);
  expect(copier.moves.count).toBe(14);
  const outputs = copier.outputs.reduce((sum, { frames }) => sum + frames, 0);
  expect(outputs).toBe(14);
  await set.close();
});
