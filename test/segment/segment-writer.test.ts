import { describe, expect, test } from 'vitest';
import { isVarveError } from '../../src/base/errors.ts';
import { MiB } from '../../src/base/limits.ts';
import { Prng } from '../../src/base/prng.ts';
import { ChunkFrame, checkChunkFrame, frameBytes } from '../../src/format/chunk-frame.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { CrashNow } from '../../src/fs/sim-machine.ts';
import { SegmentReader } from '../../src/segment/segment-reader.ts';
import type { SegmentWriter } from '../../src/segment/segment-writer.ts';
import { append, createWriter, dbUuid, endOf, type Known, scanAll, segmentPath } from './support.ts';

/** What one run had been promised when the power went. */
interface Promised {
  created: boolean;
  syncedEnd: number;
  sealed: Awaited<ReturnType<SegmentWriter['seal']>> | undefined;
  known: Known[];
}

async function run(fs: MemoryFileSystem, promised: Promised): Promise<void> {
  const prng = new Prng(11);
  const writer = await createWriter(fs, 1, 256);
  promised.created = true;
  for (let i = 0; i < 14; i++) {
    promised.known.push(append(writer, prng, prng.below(400)));
    if (i % 4 === 3) promised.syncedEnd = await writer.sync();
    if (writer.needsDrain) await writer.drain();
  }
  promised.sealed = await writer.seal();
  promised.syncedEnd = writer.end;
  await writer.close();
}

const nothing = (): Promised => ({ created: false, syncedEnd: 0, sealed: undefined, known: [] });

async function expectKept(disk: MemoryFileSystem, promised: Promised): Promise<void> {
  if (!promised.created) return;
  expect(disk.files()).toContain(segmentPath(1));
  const scanned = await scanAll(disk);
  const kept = promised.known.filter((known) => endOf(known) <= promised.syncedEnd);
  expect(scanned.firstInvalid ?? Infinity).toBeGreaterThanOrEqual(promised.syncedEnd);
  for (const [i, known] of kept.entries()) {
    expect(scanned.found[i]).toEqual({
      offset: known.off8 * 8,
      id: known.id,
      payload: known.payload,
      resynced: false,
    });
  }
  if (promised.syncedEnd > 0) expect(scanned.headerDamage).toBeUndefined();
  if (promised.sealed !== undefined) {
    const reader = await SegmentReader.open(disk, 1, dbUuid);
    expect((await reader.readTrailer(promised.sealed)).count).toBe(promised.known.length);
    await reader.close();
  }
}

describe('segment writer', () => {
  test('a crash at any operation keeps every frame below a resolved sync', async () => {
    const whole = new MemoryFileSystem();
    await run(whole, nothing());
    expect(whole.opCount).toBeGreaterThan(20);
    for (let at = 0; at <= whole.opCount; at++) {
      const fs = new MemoryFileSystem();
      fs.failAt(at, 'crash');
      const promised = nothing();
      await run(fs, promised).catch((error: unknown) => {
        const cause = isVarveError(error, 'VARVE_POISONED') ? error.cause : error;
        if (!(cause instanceof CrashNow)) throw error;
      });
      for (const choose of ['none', 'all', new Prng(at), new Prng(at + 1000), new Prng(at + 2000)] as const) {
        await expectKept(fs.crash(choose), promised);
      }
    }
  });

  test('the position of a frame is fixed when it is appended', async () => {
    const writer = await createWriter(new MemoryFileSystem(), 1, 256);
    const prng = new Prng(1);
    let end = 64;
    for (const length of [0, 1, 8, 100, 1000, 5]) {
      expect(append(writer, prng, length).off8).toBe(end / 8);
      end += frameBytes(length);
      expect(writer.end).toBe(end);
    }
    expect(writer.frames).toBe(6);
    expect(writer.dataLen).toBe(end - 64);
  });

  test('payload and id are copied, from the middle of larger buffers too', async () => {
    const fs = new MemoryFileSystem();
    const writer = await createWriter(fs);
    const ids = new Prng(1).bytes(96);
    const payload = new Prng(2).bytes(50);
    const wantedId = ids.slice(32, 64);
    const wanted = payload.slice(10, 30);
    writer.append(ids, 32, payload, 10, 30, 0, 0, 20);
    ids.fill(0);
    payload.fill(0);
    await writer.sync();
    const { found } = await scanAll(fs);
    expect(found).toEqual([{ offset: 64, id: wantedId, payload: wanted, resynced: false }]);
  });

  test('frames are readable before and after they reach the file', async () => {
    const fs = new MemoryFileSystem();
    const writer = await createWriter(fs, 1, 256);
    const prng = new Prng(6);
    const known = [append(writer, prng, 50), append(writer, prng, 20)];
    for (const { off8, payload } of known) {
      const frame = writer.readBack(off8)!;
      expect(frame.length).toBe(frameBytes(payload.length));
      expect(frame.slice(64, 64 + payload.length)).toEqual(payload);
    }
    expect(writer.readBack(known[0]!.off8 + 1)).toBeUndefined();
    expect(writer.readBack(writer.end / 8)).toBeUndefined();
    append(writer, prng, 400);
    await writer.sync();
    expect(writer.readBack(known[0]!.off8)).toBeUndefined();
    expect((await scanAll(fs)).frames).toBe(3);
  });

  test('a frame copied verbatim is bit-identical to its source', async () => {
    const fs = new MemoryFileSystem();
    const source = await createWriter(fs, 1);
    append(source, new Prng(1), 33);
    const frame = source.readBack(8)!;
    const fields = new ChunkFrame();
    const shifted = new Uint8Array(frame.length + 16);
    shifted.set(frame, 16);
    expect(checkChunkFrame(shifted, 16, shifted.length, fields)).toBe('ok');
    const target = await createWriter(fs, 2, undefined, 5);
    append(target, new Prng(2), 10);
    const off8 = target.appendFrame(shifted, 16, fields);
    expect(target.readBack(off8)).toEqual(frame);
    expect(target.trailer().ids.slice(32)).toEqual(source.trailer().ids);
  });

  test('a failed write or sync poisons the writer for ever', async () => {
    const fs = new MemoryFileSystem();
    const writer = await createWriter(fs);
    append(writer, new Prng(1), 10);
    let failures = 0;
    fs.faults = (op) => (op.kind === 'dataSync' && failures++ === 0 ? { errno: 'EIO' } : undefined);
    await expect(writer.sync()).rejects.toMatchObject({ code: 'VARVE_IO' });
    await expect(writer.sync()).rejects.toMatchObject({ code: 'VARVE_POISONED' });
    await expect(writer.seal()).rejects.toMatchObject({ code: 'VARVE_POISONED' });
    await expect(writer.drain()).rejects.toMatchObject({ code: 'VARVE_POISONED' });
    expect(() => append(writer, new Prng(1), 10)).toThrow(
      expect.objectContaining({ code: 'VARVE_POISONED' }),
    );
    expect(writer.readBack(8)).toBeDefined();
    expect(writer.syncedEnd).toBe(0);
    await writer.close();
  });

  test('a failed sync while sealing leaves the segment unsealed and poisoned', async () => {
    const fs = new MemoryFileSystem();
    const writer = await createWriter(fs);
    append(writer, new Prng(1), 10);
    fs.faults = (op) => (op.kind === 'sync' ? { errno: 'EIO' } : undefined);
    await expect(writer.seal()).rejects.toMatchObject({ code: 'VARVE_IO' });
    await expect(writer.seal()).rejects.toMatchObject({ code: 'VARVE_POISONED' });
    await writer.close();
  });

  test('the number of an existing file is refused', async () => {
    const fs = new MemoryFileSystem();
    await createWriter(fs);
    await expect(createWriter(fs)).rejects.toMatchObject({ code: 'VARVE_IO', errno: 'EEXIST' });
  });

  test('buffer sizes are accepted at their bounds and refused one past them', async () => {
    let no = 1;
    for (const good of [128, 64 * MiB]) await createWriter(new MemoryFileSystem(), no++, good);
    for (const bad of [0, 120, 130, 64 * MiB + 8, Number.NaN, -128, 128.5]) {
      await expect(createWriter(new MemoryFileSystem(), no, bad)).rejects.toMatchObject({
        code: 'VARVE_INVALID_ARGUMENT',
      });
    }
  });

  test('an empty segment can be synced and sealed', async () => {
    const fs = new MemoryFileSystem();
    const writer = await createWriter(fs);
    expect(await writer.sync()).toBe(64);
    const sealed = await writer.seal({ byRecovery: true });
    expect(sealed).toMatchObject({ no: 1, class: 0, size: 128, frames: 0, dataLen: 0 });
    expect(await writer.seal()).toEqual(sealed);
    await writer.close();
    await writer.close();
    const { footer, frames, firstInvalid } = await scanAll(fs);
    expect([footer?.sealedByRecovery, frames, firstInvalid]).toEqual([true, 0, undefined]);
    expect(await writer.sync()).toBe(64);
    await expect(writer.drain()).rejects.toMatchObject({ code: 'VARVE_CLOSED' });
  });

  test('fits counts the trailer', async () => {
    const writer = await createWriter(new MemoryFileSystem());
    const most = 2 * 1024 * MiB - 64 - 48 - 64;
    expect(writer.fits(most)).toBe(true);
    expect(writer.fits(most + 1)).toBe(false);
  });
});
