import { describe, expect, test } from 'vitest';
import { MiB } from '../../src/base/limits.ts';
import { Prng } from '../../src/base/prng.ts';
import { writeChecksum } from '../../src/codec/checksum.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { scanBytes, WindowBuffers } from '../../src/segment/frame-window.ts';
import { rescueSegment, scanSegment } from '../../src/segment/segment-scan.ts';
import {
  append,
  createWriter,
  dbUuid,
  endOf,
  type Known,
  scanAll,
  sealedSegment,
  segmentPath,
} from './support.ts';

const offsetOf = (known: Known): number => known.off8 * 8;

describe('segment scan', () => {
  test('finds every frame of a sealed segment and takes the trailer for no damage', async () => {
    const { fs, known, sealed } = await sealedSegment([3, 0, 500, 64]);
    const scanned = await scanAll(fs);
    expect(scanned.found.map((frame) => frame.payload)).toEqual(known.map((frame) => frame.payload));
    expect(scanned.found.map((frame) => frame.id)).toEqual(known.map((frame) => frame.id));
    expect(scanned).toMatchObject({ frames: 4, firstInvalid: undefined, gaps: [], headerDamage: undefined });
    expect([scanned.end, scanned.size]).toEqual([64 + sealed.dataLen, sealed.size]);
  });

  test('stops at a torn tail and keeps every frame before it', async () => {
    const { fs, known, sealed } = await sealedSegment([10, 20, 30]);
    const dataEnd = 64 + sealed.dataLen;
    for (let length = 0; length <= dataEnd; length += 4) {
      const disk = fs.fork();
      disk.corrupt(segmentPath(1), (bytes) => bytes.slice(0, length));
      const scanned = await scanAll(disk);
      const kept = known.filter((frame) => endOf(frame) <= length);
      expect(scanned.frames).toBe(kept.length);
      expect(scanned.end).toBe(kept.length === 0 ? 64 : endOf(kept[kept.length - 1]!));
      expect(scanned.firstInvalid).toBe(length > scanned.end ? scanned.end : undefined);
      expect(scanned.gaps).toEqual([]);
    }
  });

  test('goes on after damage at the next whole frame, wherever the damage lies', async () => {
    const { fs, known } = await sealedSegment([100, 200, 300, 50]);
    const from = offsetOf(known[1]!);
    const to = endOf(known[1]!);
    for (let at = from; at < to; at++) {
      const disk = fs.fork();
      disk.flipBit(segmentPath(1), at * 8 + (at % 8));
      const scanned = await scanAll(disk);
      expect(scanned.found.map((frame) => frame.offset)).toEqual([0, 2, 3].map((i) => offsetOf(known[i]!)));
      expect(scanned.found.map((frame) => frame.resynced)).toEqual([false, true, true]);
      expect([scanned.gaps, scanned.firstInvalid]).toEqual([[[from, to]], from]);
    }
  });

  test('reports damage in the last frame of a sealed segment up to the end of its data', async () => {
    const { fs, known, sealed } = await sealedSegment([100, 200]);
    fs.flipBit(segmentPath(1), (offsetOf(known[1]!) + 80) * 8);
    const scanned = await scanAll(fs);
    expect(scanned.gaps).toEqual([[offsetOf(known[1]!), 64 + sealed.dataLen]]);
    expect(scanned.frames).toBe(1);
  });

  test('frames inside a damaged payload are passed over, or marked where its length is damaged', async () => {
    const inner = await sealedSegment([40, 50]);
    const fs = new MemoryFileSystem();
    const writer = await createWriter(fs);
    const prng = new Prng(1);
    append(writer, prng, 10);
    const stored = inner.fs.bytesOf(segmentPath(1));
    const outerAt = writer.end;
    writer.append(prng.bytes(32), 0, stored, 0, stored.length, 0, 0, stored.length);
    const last = append(writer, prng, 10);
    await writer.sync();
    const payloadDamaged = fs.fork();
    payloadDamaged.flipBit(segmentPath(1), (outerAt + 64) * 8);
    const passed = await scanAll(payloadDamaged);
    expect(passed.found.map((frame) => frame.offset)).toEqual([64, offsetOf(last)]);
    const headerDamaged = fs.fork();
    headerDamaged.flipBit(segmentPath(1), outerAt * 8);
    const marked = await scanAll(headerDamaged);
    expect(marked.found.map((frame) => [frame.offset, frame.resynced])).toEqual([
      [64, false],
      [outerAt + 128, true],
      [outerAt + 128 + 104, true],
      [offsetOf(last), true],
    ]);
  });

  test('reads nothing at or above the given end', async () => {
    const { fs, known } = await sealedSegment([100, 200, 300]);
    const scanned = await scanAll(fs, 1, endOf(known[1]!));
    expect([scanned.frames, scanned.end, scanned.firstInvalid]).toEqual([2, endOf(known[1]!), undefined]);
    const within = await scanAll(fs, 1, endOf(known[1]!) - 8);
    expect([within.frames, within.gaps]).toEqual([1, [[offsetOf(known[1]!), endOf(known[1]!) - 8]]]);
  });

  test('frames longer than the window, and frames across its edges, are found in pieces', async () => {
    const lengths = [scanBytes + 1, 100, 3 * MiB, 3 * MiB, 5, 2 * MiB];
    const { fs, known } = await sealedSegment(lengths);
    const scanned = await scanAll(fs);
    expect(scanned.found.map((frame) => frame.offset)).toEqual(known.map(offsetOf));
    fs.flipBit(segmentPath(1), (offsetOf(known[2]!) + 1) * 8);
    const after = await scanAll(fs);
    expect(after.found.map((frame) => frame.offset)).toEqual(known.filter((_, i) => i !== 2).map(offsetOf));
  });

  test('frames of any lengths are found through windows read ahead, in the same memory', async () => {
    const prng = new Prng(11);
    const lengths = Array.from({ length: 60 }, () => prng.below(prng.chance(0.1) ? 1.5 * MiB : 300_000));
    const { fs, known } = await sealedSegment(lengths);
    let reads = 0;
    fs.schedule = async ({ kind }) => {
      if (kind === 'read') reads++;
    };
    const buffers = new WindowBuffers();
    const taken = new Set<Uint8Array>();
    const take = buffers.take.bind(buffers);
    buffers.take = (length) => {
      const bytes = take(length);
      taken.add(bytes);
      return bytes;
    };
    for (let round = 0; round < 3; round++) {
      const offsets: number[] = [];
      const options = { dbUuid, buffers };
      await scanSegment(fs, 1, segmentPath(1), options, (buf, _pos, frame, offset) => {
        const { payload } = known[offsets.length]!;
        expect(Buffer.compare(buf.subarray(frame.payloadFrom, frame.payloadTo), payload)).toBe(0);
        offsets.push(offset);
      });
      expect(offsets).toEqual(known.map(offsetOf));
    }
    // A window for this piece and one for the next, whatever was scanned.
    expect(taken.size).toBe(2);
    expect(reads).toBeGreaterThan(10);
  });

  test('a damaged or foreign file header is reported and the frames are read', async () => {
    const { fs } = await sealedSegment([10, 20]);
    fs.flipBit(segmentPath(1), 200);
    const scanned = await scanAll(fs);
    expect(scanned.headerDamage).toMatchObject({ code: 'VARVE_CORRUPT', file: segmentPath(1) });
    expect(scanned.frames).toBe(2);
  });

  test('a whole frame of a newer format is refused, not skipped', async () => {
    const { fs } = await sealedSegment([16, 20]);
    fs.corrupt(segmentPath(1), (bytes) => {
      bytes[64 + 16] = 2;
      writeChecksum(bytes, 64 + 8, 64 + 16, 64 + 64 + 16);
      return bytes;
    });
    await expect(scanAll(fs)).rejects.toMatchObject({ code: 'VARVE_FORMAT_VERSION', offset: 64 });
  });

  test('a zero-filled tail and one of stale bytes read as torn', async () => {
    const fs = new MemoryFileSystem();
    const writer = await createWriter(fs);
    append(writer, new Prng(1), 50);
    await writer.sync();
    for (const tail of [new Uint8Array(5000), new Prng(3).bytes(5003)]) {
      const disk = fs.fork();
      disk.corrupt(segmentPath(1), (bytes) => Uint8Array.of(...bytes, ...tail));
      const scanned = await scanAll(disk);
      expect([scanned.frames, scanned.end, scanned.firstInvalid]).toEqual([1, writer.end, writer.end]);
    }
  });
});

describe('rescue of a segment', () => {
  async function rescue(fs: MemoryFileSystem, committedEnd: number) {
    const to = await createWriter(fs, 2, 256, 5);
    const moved: [number, number, boolean][] = [];
    const damage: unknown[] = [];
    const before = fs.bytesOf(segmentPath(1));
    const result = await rescueSegment(fs, {
      from: 1,
      dbUuid,
      committedEnd,
      to,
      onMoved: (_buf, _idAt, oldOff8, newOff8, _frame, resynced) => moved.push([oldOff8, newOff8, resynced]),
      onDamage: (error) => damage.push(error),
    });
    await to.seal({ byRecovery: true });
    await to.close();
    expect(fs.bytesOf(segmentPath(1))).toEqual(before);
    return { result, moved, damage, to, copy: await scanAll(fs, 2) };
  }

  async function unsealed(lengths: number[]) {
    const fs = new MemoryFileSystem();
    const writer = await createWriter(fs);
    const prng = new Prng(5);
    const known = lengths.map((length) => append(writer, prng, length));
    await writer.sync();
    await writer.close();
    return { fs, known };
  }

  test('copies every frame below the committed end verbatim and nothing beyond', async () => {
    const { fs, known } = await unsealed([10, 300, 20, 999]);
    const end = endOf(known[2]!);
    const { result, moved, damage, to, copy } = await rescue(fs, end);
    expect([result, damage]).toEqual([{ moved: 3, damagedBytes: 0 }, []]);
    expect(moved).toEqual(known.slice(0, 3).map((frame) => [frame.off8, frame.off8, false]));
    expect(fs.bytesOf(segmentPath(2)).slice(64, to.end)).toEqual(fs.bytesOf(segmentPath(1)).slice(64, end));
    expect([copy.frames, copy.footer?.sealedByRecovery]).toEqual([3, true]);
  });

  test('reports a damaged frame with its offset and copies the rest', async () => {
    const { fs, known } = await unsealed([10, 300, 20, 40]);
    fs.flipBit(segmentPath(1), (offsetOf(known[1]!) + 90) * 8);
    const { result, moved, damage } = await rescue(fs, endOf(known[3]!));
    expect(result).toEqual({ moved: 3, damagedBytes: endOf(known[1]!) - offsetOf(known[1]!) });
    expect(moved.map(([oldOff8, , resynced]) => [oldOff8, resynced])).toEqual([
      [known[0]!.off8, false],
      [known[2]!.off8, true],
      [known[3]!.off8, true],
    ]);
    expect(damage).toEqual([
      expect.objectContaining({ code: 'VARVE_CORRUPT', file: segmentPath(1), offset: offsetOf(known[1]!) }),
    ]);
  });

  test('reports a file shorter than its committed end', async () => {
    const { fs, known } = await unsealed([10, 300, 20]);
    fs.corrupt(segmentPath(1), (bytes) => bytes.slice(0, endOf(known[1]!)));
    const { result, damage } = await rescue(fs, endOf(known[2]!));
    expect(result).toEqual({ moved: 2, damagedBytes: endOf(known[2]!) - endOf(known[1]!) });
    expect(damage).toEqual([expect.objectContaining({ code: 'VARVE_CORRUPT', offset: endOf(known[1]!) })]);
  });

  test('reports a damaged file header and copies the frames', async () => {
    const { fs, known } = await unsealed([10, 20]);
    fs.flipBit(segmentPath(1), 100);
    const { result, damage } = await rescue(fs, endOf(known[1]!));
    expect([result.moved, damage.length]).toEqual([2, 1]);
  });

  test('nothing committed moves nothing', async () => {
    const { fs } = await unsealed([10, 20]);
    for (const end of [0, 64]) {
      const disk = fs.fork();
      expect((await rescue(disk, end)).result).toEqual({ moved: 0, damagedBytes: 0 });
    }
  });
});
