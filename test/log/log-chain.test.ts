import { describe, expect, test } from 'vitest';
import { frameTypes, lastSeqOf } from '../../src/format/log-frame.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import type { LogChain } from '../../src/log/log-chain.ts';
import { LogFrameList } from '../../src/log/log-frame-list.ts';
import { LogWindow } from '../../src/log/log-window.ts';
import { checkFrames, LogSession, readChainOf } from './log-session.ts';

const wal = (no: number): string => `wal/000000000000000${no}.wal`;

/** Three files: 2 synced frames each, the newest with a third frame that was synced but not followed. */
async function threeFiles(): Promise<{ fs: MemoryFileSystem; session: LogSession }> {
  const fs = new MemoryFileSystem();
  await fs.mkdir('wal');
  await fs.syncDir('');
  const session = await LogSession.open(fs);
  for (let file = 0; file < 3; file++) {
    if (file > 0) await session.rotate();
    for (let i = 0; i < (file === 2 ? 3 : 2); i++) {
      await session.append();
      await session.sync();
    }
  }
  return { fs, session };
}

const batches = (chain: LogChain): number[] =>
  [...chain.frames].filter(({ type }) => type === frameTypes.batch).map(lastSeqOf);

const all = [2, 3, 5, 6, 8, 9, 10];

describe('log chain', () => {
  test('reads every frame in order and skips those below the checkpoint', async () => {
    const { fs } = await threeFiles();
    const chain = await readChainOf(fs);
    expect(batches(chain)).toEqual(all);
    expect(chain).toMatchObject({ lastSeq: 10, durableSeq: 9, damage: [], problems: [], torn: undefined });
    expect(batches(await readChainOf(fs, { checkpointSeq: 5 }))).toEqual([6, 8, 9, 10]);
    await fs.unlink(wal(1));
    const later = await readChainOf(fs, { checkpointSeq: 3, walFirstNo: 2 });
    expect(batches(later)).toEqual([5, 6, 8, 9, 10]);
    expect(later.damage).toEqual([]);
  });

  test('any flipped bit is a named loss, a reported problem, or the unproven last frame', async () => {
    const { fs } = await threeFiles();
    for (const no of [1, 2, 3]) {
      const bits = fs.bytesOf(wal(no)).length * 8;
      for (let bit = no; bit < bits; bit += 3) {
        const damaged = fs.fork();
        damaged.flipBit(wal(no), bit);
        const chain = await readChainOf(damaged);
        const missing = all.filter((seq) => !batches(chain).includes(seq));
        const named = missing.every((seq) =>
          chain.damage.some(({ missingFrom, missingTo }) => missingFrom <= seq && seq <= (missingTo ?? seq)),
        );
        const tornLast = chain.torn !== undefined && missing.join() === '10';
        expect(named || tornLast, `file ${no} bit ${bit}: ${missing} missing`).toBe(true);
        expect(missing.length, `file ${no} bit ${bit}`).toBeLessThanOrEqual(3);
        expect(chain.damage.length + chain.problems.length > 0 || tornLast, `file ${no} bit ${bit}`).toBe(
          true,
        );
        await checkFrames(chain);
        await chain.close();
      }
    }
  });

  test('a damaged frame that a later one proves durable is damage; what follows is still read', async () => {
    const { fs } = await threeFiles();
    const victim = [...(await readChainOf(fs)).frames].find(({ seqFirst }) => seqFirst === 8)!;
    fs.flipBit(wal(3), (victim.offset + 60) * 8);
    const chain = await readChainOf(fs);
    expect(batches(chain)).toEqual([2, 3, 5, 6, 9, 10]);
    expect(chain.damage).toMatchObject([
      { missingFrom: 8, missingTo: 8, error: { code: 'VARVE_CORRUPT', file: wal(3), offset: victim.offset } },
    ]);
    expect(() => chain.resume()).toThrow('not continued');
  });

  test('the newest file may end anywhere behind what is proven: a torn tail', async () => {
    const { fs } = await threeFiles();
    const frames = [...(await readChainOf(fs)).frames];
    const last = frames.at(-1)!;
    const size = fs.bytesOf(wal(3)).length;
    for (let length = last.offset + 1; length < size; length += 5) {
      const cut = fs.fork();
      cut.corrupt(wal(3), (bytes) => bytes.slice(0, length));
      const chain = await readChainOf(cut);
      expect(chain).toMatchObject({
        damage: [],
        torn: { file: wal(3), offset: last.offset },
        lastSeq: 9,
        lastEnd: last.offset,
      });
    }
    for (const tail of [new Uint8Array(100), new Uint8Array(4096).fill(0xa5)]) {
      const longer = fs.fork();
      longer.corrupt(wal(3), (bytes) => Uint8Array.from([...bytes, ...tail]));
      const chain = await readChainOf(longer);
      expect(chain).toMatchObject({ damage: [], torn: { offset: size }, lastEnd: size, lastSeq: 10 });
      expect(batches(chain)).toEqual(all);
    }
  });

  test('a shortened or missing middle file is damage with the missing numbers', async () => {
    const { fs } = await threeFiles();
    const shorter = fs.fork();
    const at = [...(await readChainOf(fs)).frames].find(({ seqFirst }) => seqFirst === 6)!.offset;
    shorter.corrupt(wal(2), (bytes) => bytes.slice(0, at));
    const cut = await readChainOf(shorter);
    expect(batches(cut)).toEqual([2, 3, 5, 8, 9, 10]);
    expect(cut.damage).toMatchObject([{ missingFrom: 6, missingTo: 6, error: { file: wal(2), offset: at } }]);
    await fs.unlink(wal(2));
    const gone = await readChainOf(fs);
    expect(batches(gone)).toEqual([2, 3, 8, 9, 10]);
    expect(gone.damage).toMatchObject([
      { missingFrom: 4, missingTo: 6, error: { code: 'VARVE_CORRUPT', file: wal(2) } },
    ]);
    const covered = await readChainOf(fs, { checkpointSeq: 6, walFirstNo: 3 });
    expect(covered.damage).toEqual([]);
  });

  test('the log the catalog names is missing: damage, unless there never was one', async () => {
    const fs = new MemoryFileSystem();
    expect((await readChainOf(fs)).damage).toEqual([]);
    const chain = await readChainOf(fs, { walFirstNo: 4, checkpointSeq: 20 });
    expect(chain.damage).toMatchObject([{ missingFrom: 21, missingTo: undefined, error: { file: wal(4) } }]);
    expect((await readChainOf(fs, { checkpointSeq: 20 })).resume()).toMatchObject({
      prevFileNo: 0,
      prevLastSeq: 20,
      lastSeq: 20,
    });
  });

  test('a file without OPEN never existed', async () => {
    const { fs } = await threeFiles();
    for (const length of [0, 40, 64, 5000]) {
      const hollow = fs.fork();
      const file = await hollow.open(wal(4), 'create');
      await file.write(new Uint8Array(length), 0);
      await file.close();
      const chain = await readChainOf(hollow);
      expect(chain).toMatchObject({ damage: [], lastNo: 3, highestNo: 4 });
      expect(batches(chain)).toEqual(all);
    }
  });

  test('a closed log must end with SEAL', async () => {
    const { fs, session } = await threeFiles();
    expect((await readChainOf(fs, { closedEpoch: 3 })).damage).toMatchObject([{ missingFrom: 11 }]);
    await session.log.seal({ seqFirst: 11, commitTimeMs: 2000, durableSeq: 10 });
    const chain = await readChainOf(fs, { closedEpoch: 3 });
    expect(chain).toMatchObject({ sealed: true, damage: [], lastSeq: 11 });
    const cut = fs.fork();
    cut.corrupt(wal(3), (bytes) => bytes.slice(0, bytes.length - 60));
    expect((await readChainOf(cut, { closedEpoch: 3 })).damage).toHaveLength(1);
    const again = await LogSession.open(fs);
    expect(again.log.lastSeq).toBe(12);
    expect((await readChainOf(fs)).damage).toEqual([]);
  });

  test('a log begun by a later writer than the one that closed the store needs no SEAL', async () => {
    const { fs } = await threeFiles();
    expect((await readChainOf(fs, { closedEpoch: 3 })).damage).toHaveLength(1);
    const chain = await readChainOf(fs, { closedEpoch: 2 });
    expect(chain).toMatchObject({ damage: [], lastSeq: 10, sealed: false });
  });

  test('a cut before a frame leaves it and everything behind out of the next file for good', async () => {
    const { fs } = await threeFiles();
    const chain = await readChainOf(fs);
    const index = [...chain.frames].findIndex(({ seqFirst }) => seqFirst === 10);
    expect(() => chain.resume(1)).toThrow(expect.objectContaining({ code: 'VARVE_CORRUPT', file: wal(1) }));
    expect(chain.resume(index)).toMatchObject({
      prevFileNo: 3,
      prevLastSeq: 9,
      lastSeq: 9,
      tailFrom: index,
      tailTo: index,
    });
    expect(chain.resume()).toMatchObject({
      prevFileNo: 3,
      prevLastSeq: 9,
      lastSeq: 10,
      tailFrom: index,
      tailTo: index + 1,
    });
  });

  test('newer formats are refused by their own code', async () => {
    const { fs } = await threeFiles();
    const { fileHeader } = await import('../../src/format/file-header.ts');
    const { writeChecksum } = await import('../../src/codec/checksum.ts');
    fs.corrupt(wal(3), (bytes) => {
      bytes[fileHeader.at.formatVersion + 1] = 2;
      writeChecksum(bytes, fileHeader.at.checksum, 0, fileHeader.at.checksum);
      return bytes;
    });
    await expect(readChainOf(fs)).rejects.toMatchObject({ code: 'VARVE_FORMAT_VERSION', file: wal(3) });
  });
});

describe('log frame list', () => {
  test('keeps every column while it grows and forgets what is cut', () => {
    const list = new LogFrameList();
    for (let i = 0; i < 1000; i++) {
      if (i % 100 === 0) list.beginFile({ no: 1 + i / 100, path: `f${i / 100}` });
      list.push({
        type: 2,
        seqFirst: i * 2 ** 40,
        count: i + 1,
        commitTimeMs: i + 5,
        durableSeq: i,
        offset: i * 2 ** 33,
        payloadLen: i,
      });
    }
    expect(list.at(777)).toEqual({
      fileNo: 8,
      path: 'f7',
      type: 2,
      seqFirst: 777 * 2 ** 40,
      count: 778,
      commitTimeMs: 782,
      durableSeq: 777,
      offset: 777 * 2 ** 33,
      payloadLen: 777,
    });
    list.truncate(10);
    expect([...list]).toHaveLength(10);
  });
});

describe('log window', () => {
  test('serves any range through a small buffer, growing only for what is asked', async () => {
    const fs = new MemoryFileSystem();
    const file = await fs.open('x', 'create');
    const bytes = Uint8Array.from({ length: 1000 }, (_, i) => i % 251);
    await file.write(bytes, 0);
    const window = new LogWindow(file, 1000, 64);
    for (const [offset, n] of [
      [0, 10],
      [5, 60],
      [100, 500],
      [990, 100],
      [3, 8],
      [1000, 5],
    ] as const) {
      await window.need(offset, n);
      const want = bytes.subarray(offset, Math.min(1000, offset + n));
      const at = offset - window.start;
      if (want.length > 0) expect(window.buf.subarray(at, at + want.length)).toEqual(want);
    }
    expect(window.buf.length).toBeLessThanOrEqual(500);
    await file.close();
  });
});
