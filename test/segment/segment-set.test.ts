import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { frameBytes } from '../../src/format/chunk-frame.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { SegmentSet, segmentHandlesMax } from '../../src/segment/segment-set.ts';
import {
  append,
  createWriter,
  dbUuid,
  type Known,
  sealedSegment,
  segmentPath,
  segmentSet,
} from './support.ts';

const corruptAt = (offset: number, no = 1) => ({ code: 'VARVE_CORRUPT', file: segmentPath(no), offset });

const read = (set: SegmentSet, known: Known, no = 1) =>
  set.readFrame(no, known.off8, known.payload.length, known.id);

describe('segment set', () => {
  test('frames read equal frames appended, through every state of a segment', async () => {
    const step = fc.oneof(
      {
        weight: 5,
        arbitrary: fc.record({ do: fc.constant('append' as const), n: fc.integer({ min: 0, max: 500 }) }),
      },
      { weight: 4, arbitrary: fc.record({ do: fc.constant('read' as const), n: fc.nat(1000) }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('run' as const), n: fc.nat(1000) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('sync' as const), n: fc.nat(1) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('roll' as const), n: fc.nat(1) }) },
    );
    const property = fc.asyncProperty(fc.array(step, { maxLength: 50 }), fc.nat(), async (steps, seed) => {
      const prng = new Prng(seed);
      const fs = new MemoryFileSystem();
      fs.schedule = async () => {
        for (let turns = prng.below(6); turns > 0; turns--) await Promise.resolve();
      };
      const { set, damage } = segmentSet(fs, 2);
      let writer = await createWriter(fs, 1, 512);
      set.addWriter(writer);
      const model: { no: number; known: Known }[] = [];
      const reads: Promise<void>[] = [];
      for (const { do: what, n } of steps) {
        if (what === 'append') model.push({ no: writer.no, known: append(writer, prng, n) });
        else if (what === 'sync') await writer.sync();
        else if (what === 'roll') {
          set.seal(writer.no, await writer.seal());
          await writer.close();
          writer = await createWriter(fs, writer.no + 1, 512);
          set.addWriter(writer);
        } else if (model.length > 0) {
          const at = n % model.length;
          const { no, known } = model[at]!;
          if (what === 'read') {
            reads.push(read(set, known, no).then((payload) => expect(payload).toEqual(known.payload)));
          } else {
            const run = (await set.readFrames(no, known.off8, n))!;
            expect(run.count).toBeGreaterThan(0);
            for (let i = 0; i < run.count; i++) {
              const from = run.payloadFrom[i]!;
              const wanted = model[at + i]!;
              expect([wanted.no, run.off8[i]]).toEqual([no, wanted.known.off8]);
              expect(run.bytes.slice(from, from + run.storedLen[i]!)).toEqual(wanted.known.payload);
              expect(run.bytes.slice(run.idAt[i], run.idAt[i]! + 32)).toEqual(wanted.known.id);
              if (i > 0) expect(from + run.storedLen[i]!).toBeLessThanOrEqual(n);
            }
          }
        }
      }
      await Promise.all(reads);
      for (let no = 1; no <= writer.no; no++) {
        const mine = model.filter((entry) => entry.no === no).map((entry) => entry.known);
        const trailer = await set.readTrailer(no);
        expect(Array.from(trailer.off8)).toEqual(mine.map((known) => known.off8));
        expect(Array.from(trailer.storedLen)).toEqual(mine.map((known) => known.payload.length));
        expect(trailer.complete).toBe(true);
      }
      expect(set.openHandles).toBeLessThanOrEqual(2);
      expect(damage).toEqual([]);
      await set.close();
      await writer.close();
    });
    await fc.assert(property, { numRuns: 60 });
  });

  test('every bit flip of a sealed segment is detected, and no read gives wrong bytes', async () => {
    const { fs, known, sealed } = await sealedSegment([3, 21]);
    const pristine = fs.bytesOf(segmentPath(1));
    const flipped = (bit: number): Uint8Array => {
      const bytes = pristine.slice();
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      return bytes;
    };
    for (let bit = 0; bit < pristine.length * 8; bit++) {
      fs.corrupt(segmentPath(1), () => flipped(bit));
      const { set, damage } = segmentSet(fs);
      set.add(1, sealed);
      let detected = 0;
      await set.readTrailer(1);
      for (const frame of known) {
        const payload = await read(set, frame).catch((error: unknown) => {
          expect(error).toMatchObject({ code: 'VARVE_CORRUPT', file: segmentPath(1) });
          detected++;
        });
        if (payload !== undefined) expect(payload).toEqual(frame.payload);
      }
      expect(detected + damage.length, `bit ${bit}`).toBeGreaterThan(0);
      await set.close();
    }
  });

  test('a place of another chunk, or in a segment that is gone, is out of date and no damage', async () => {
    const { fs, known, sealed } = await sealedSegment([10, 700, 5]);
    const { set } = segmentSet(fs);
    set.add(1, sealed);
    const [a, b, c] = known as [Known, Known, Known];
    expect(await set.readFrame(2, 8, 10, a.id)).toBeUndefined();
    for (const length of [10, 700, 5, 0]) {
      expect(await set.readFrame(1, b.off8, length, a.id)).toBeUndefined();
      expect(await set.readFrame(1, c.off8, length, b.id)).toBeUndefined();
    }
    await set.remove(1);
    expect(await read(set, a)).toBeUndefined();
    expect(await set.readFrames(1, 8, 100)).toBeUndefined();
    await expect(set.readTrailer(1)).rejects.toMatchObject({ code: 'VARVE_NOT_FOUND' });
  });

  test('a place without a whole frame of that length is damage, with file and offset', async () => {
    const { fs, known, sealed } = await sealedSegment([10, 700, 5]);
    const { set } = segmentSet(fs);
    set.add(1, sealed);
    const [a, b] = known as [Known, Known];
    await expect(set.readFrame(1, b.off8, 699, b.id)).rejects.toMatchObject({
      ...corruptAt(b.off8 * 8),
      actual: 700,
    });
    await expect(set.readFrame(1, b.off8, 701, b.id)).rejects.toMatchObject(corruptAt(b.off8 * 8));
    await expect(set.readFrame(1, 9, 10, a.id)).rejects.toMatchObject(corruptAt(72));
    await expect(set.readFrame(1, 0, 10, a.id)).rejects.toMatchObject(corruptAt(0));
    await expect(set.readFrame(1, 1000, 10, a.id)).rejects.toMatchObject(corruptAt(8000));
    await expect(set.readFrame(1, 8, 2 ** 32 - 1, a.id)).rejects.toMatchObject(corruptAt(64));
    await expect(set.readFrames(1, 9, 100)).rejects.toMatchObject(corruptAt(72));
    await expect(set.readFrames(1, (64 + sealed.dataLen) / 8, 100)).rejects.toMatchObject(
      corruptAt(64 + sealed.dataLen),
    );
  });

  test('a missing file is damage', async () => {
    const { fs, known, sealed } = await sealedSegment([10]);
    await fs.unlink(segmentPath(1));
    const { set } = segmentSet(fs);
    set.add(1, sealed);
    await expect(read(set, known[0]!)).rejects.toMatchObject(corruptAt(0));
    await expect(set.readTrailer(1)).rejects.toMatchObject({ code: 'VARVE_CORRUPT' });
  });

  test('frames under a damaged file header are read by their id, and by nothing less', async () => {
    const { fs, known, sealed } = await sealedSegment([10]);
    fs.flipBit(segmentPath(1), 300);
    const { set, damage } = segmentSet(fs);
    set.add(1, sealed);
    expect(await read(set, known[0]!)).toEqual(known[0]!.payload);
    await expect(set.readFrame(1, 8, 10)).rejects.toMatchObject({ code: 'VARVE_CORRUPT' });
    expect((await set.readTrailer(1)).count).toBe(1);
    expect(damage).toHaveLength(1);
  });

  test('a damaged trailer is reported and read from the frames', async () => {
    for (const fromEnd of [4, 100]) {
      const { fs, known, sealed } = await sealedSegment([10, 20, 30]);
      fs.flipBit(segmentPath(1), (sealed.size - fromEnd) * 8);
      const { set, damage } = segmentSet(fs);
      set.add(1, sealed);
      const trailer = await set.readTrailer(1);
      expect(trailer.complete).toBe(true);
      expect(trailer.ids).toEqual(Uint8Array.from(known.flatMap((frame) => Array.from(frame.id))));
      expect(damage).toHaveLength(1);
    }
  });

  test('a trailer rebuilt past a damaged frame is incomplete and ends before it', async () => {
    const { fs, sealed, known } = await sealedSegment([10, 20, 30, 40]);
    fs.flipBit(segmentPath(1), (sealed.size - 4) * 8);
    fs.flipBit(segmentPath(1), (known[2]!.off8 * 8 + 70) * 8);
    const { set, damage } = segmentSet(fs);
    set.add(1, sealed);
    const trailer = await set.readTrailer(1);
    expect([trailer.count, trailer.complete]).toEqual([2, false]);
    expect(damage).toContainEqual(expect.objectContaining(corruptAt(known[2]!.off8 * 8)));
  });

  test('a shortened or lengthened sealed segment, or another one under its name, is damage', async () => {
    const { fs, sealed } = await sealedSegment([10, 20]);
    const other = await sealedSegment([10, 20, 30], 1);
    for (const change of [
      (bytes: Uint8Array) => bytes.slice(0, -8),
      (bytes: Uint8Array) => Uint8Array.of(...bytes, 0),
      (bytes: Uint8Array) => bytes.slice(0, 100),
      (bytes: Uint8Array) => bytes.slice(0, 0),
      () => other.fs.bytesOf(segmentPath(1)),
    ]) {
      const disk = fs.fork();
      disk.corrupt(segmentPath(1), change);
      const { set, damage } = segmentSet(disk);
      set.add(1, sealed);
      await expect(set.checkSealed(1)).rejects.toMatchObject({ code: 'VARVE_CORRUPT', file: segmentPath(1) });
      await set.readTrailer(1);
      expect(damage.length).toBeGreaterThan(0);
    }
    const { set } = segmentSet(fs);
    set.add(1, sealed);
    await set.checkSealed(1);
    await expect(set.checkSealed(2)).rejects.toMatchObject({ code: 'VARVE_NOT_FOUND' });
  });

  test('reading ahead stops before damage, which is met when that frame is asked for', async () => {
    const { fs, known, sealed } = await sealedSegment([10, 20, 30]);
    fs.flipBit(segmentPath(1), (known[1]!.off8 * 8 + 64) * 8);
    const { set } = segmentSet(fs);
    set.add(1, sealed);
    expect((await set.readFrames(1, 8, 10_000))!.count).toBe(1);
    await expect(set.readFrames(1, known[1]!.off8, 10_000)).rejects.toMatchObject(
      corruptAt(known[1]!.off8 * 8),
    );
    expect((await set.readFrames(1, known[2]!.off8, 1))!.count).toBe(1);
  });

  test('a synchronous read equals the asynchronous one', async () => {
    const { fs, known, sealed } = await sealedSegment([10, 700]);
    const { set } = segmentSet(fs);
    set.add(1, sealed);
    for (const { off8, payload, id } of known) {
      expect(set.readFrameSync(1, off8, payload.length, id)).toEqual(payload);
    }
    expect(set.openHandles).toBe(1);
    await set.close();
  });

  test('a synchronous read judges places as the asynchronous one does', async () => {
    const { fs, known, sealed } = await sealedSegment([10, 700]);
    const { set } = segmentSet(fs);
    set.add(1, sealed);
    const [a, b] = known as [Known, Known];
    await read(set, a);
    expect(set.readFrameSync(1, b.off8, 700, b.id)).toEqual(b.payload);
    expect(set.readFrameSync(1, b.off8, 10, a.id)).toBeUndefined();
    expect(set.readFrameSync(7, b.off8, 10, a.id)).toBeUndefined();
    expect(() => set.readFrameSync(1, b.off8, 1, b.id)).toThrow(
      expect.objectContaining(corruptAt(b.off8 * 8)),
    );
  });

  test('a synchronous read that overtakes an opening leaves one file open', async () => {
    const { fs, known, sealed } = await sealedSegment([10, 20]);
    const { set } = segmentSet(fs);
    set.add(1, sealed);
    const [a, b] = known as [Known, Known];
    const slow = read(set, a);
    expect(set.readFrameSync(1, b.off8, 20, b.id)).toEqual(b.payload);
    expect(await slow).toEqual(a.payload);
    expect(set.openHandles).toBe(1);
    await set.close();
  });

  test('a synchronous read serves what is only buffered', async () => {
    const fs = new MemoryFileSystem();
    const writer = await createWriter(fs);
    const { set } = segmentSet(fs);
    set.addWriter(writer);
    const known = append(writer, new Prng(1), 30);
    expect(set.readFrameSync(1, known.off8, 30, known.id)).toEqual(known.payload);
    expect(set.readFrameSync(1, known.off8, 30, new Uint8Array(32))).toBeUndefined();
    expect(() => set.readFrameSync(1, known.off8 + 1, 30, known.id)).toThrow(
      expect.objectContaining(corruptAt(72)),
    );
    expect((await set.readFrames(1, 8, 1))!.count).toBe(1);
    expect(frameBytes(30)).toBe(96);
  });

  test('open handles stay within their bound', async () => {
    const fs = new MemoryFileSystem();
    const { set } = segmentSet(fs, 3);
    const known: Known[] = [];
    for (let no = 1; no <= 8; no++) {
      const writer = await createWriter(fs, no);
      known.push(append(writer, new Prng(no), 20));
      set.add(no, await writer.seal());
      await writer.close();
    }
    for (let i = 0; i < 40; i++) {
      const no = 1 + ((i * 5) % 8);
      expect(await read(set, known[no - 1]!, no)).toEqual(known[no - 1]!.payload);
      expect(set.openHandles).toBeLessThanOrEqual(3);
    }
    await Promise.all(known.map((frame, i) => read(set, frame, i + 1)));
    expect(set.openHandles).toBeLessThanOrEqual(3);
    await set.close();
    await expect(read(set, known[0]!)).rejects.toMatchObject({ code: 'VARVE_CLOSED' });
    expect(() => new SegmentSet(fs, { dbUuid, handlesMax: 0, onDamage: () => undefined })).toThrow();
    expect(segmentHandlesMax).toBe(128);
  });

  test('a handle in use is not closed under its read', async () => {
    const { fs, known, sealed } = await sealedSegment([10, 20]);
    const other = await createWriter(fs, 2);
    const otherKnown = append(other, new Prng(5), 10);
    const { set } = segmentSet(fs, 1);
    set.add(1, sealed);
    set.add(2, await other.seal());
    await read(set, known[0]!);
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const closed: string[] = [];
    fs.schedule = (op) => {
      if (op.kind === 'close') closed.push(op.path);
      return op.kind === 'read' && op.path === segmentPath(1) ? held : undefined;
    };
    const slow = read(set, known[1]!);
    await read(set, otherKnown, 2);
    let removed = false;
    const removing = set.remove(1).then(() => {
      removed = true;
    });
    for (let i = 0; i < 50; i++) await Promise.resolve();
    expect([removed, closed.includes(segmentPath(1))]).toEqual([false, false]);
    expect(await read(set, known[0]!)).toBeUndefined();
    // The other file is over the bound while this one is held, and still serves its own read.
    expect(set.readFrameSync(2, otherKnown.off8, 10, otherKnown.id)).toEqual(otherKnown.payload);
    release();
    expect(await slow).toEqual(known[1]!.payload);
    await removing;
    expect(removed).toBe(true);
    expect(set.openHandles).toBeLessThanOrEqual(1);
  });
});
