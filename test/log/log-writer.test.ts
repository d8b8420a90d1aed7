import { describe, expect, test } from 'vitest';
import { equalBytes, toHex } from '../../src/base/bytes.ts';
import { frameHeaderBytes, frameTypes } from '../../src/format/log-frame.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { scanLog } from '../../src/log/log-reader.ts';
import { LogWriter, type NewLog, syncWriteBytesMax } from '../../src/log/log-writer.ts';
import { dbUuid, LogSession, payloadOf, readChainOf } from './log-session.ts';

async function disk(): Promise<MemoryFileSystem> {
  const fs = new MemoryFileSystem();
  await fs.mkdir('wal');
  await fs.syncDir('');
  return fs;
}

const first: NewLog = {
  no: 1,
  dbUuid,
  salt: Uint8Array.from({ length: 12 }, (_, i) => i),
  open: {
    prevFileNo: 0,
    prevEndOffset: 0,
    prevLastSeq: 0,
    firstSeq: 1,
    writerEpoch: 4,
    timelineId: 1,
    durability: 0,
  },
  openSeq: 1,
  commitTimeMs: 1000,
  durableSeq: 0,
};
const header = { type: frameTypes.batch, seqFirst: 2, count: 1, commitTimeMs: 1001, durableSeq: 1 };

describe('log writer', () => {
  test('a new file is a header and OPEN, durable with its name', async () => {
    const fs = await disk();
    const log = await LogWriter.create(fs, first);
    expect([log.end, log.lastSeq, log.path]).toEqual([168, 1, 'wal/0000000000000001.wal']);
    expect(toHex(fs.crash('none').bytesOf(log.path))).toBe(golden);
    await log.close();
  });

  test('small frames are written at once, large ones through a promise, and both read back', async () => {
    const fs = await disk();
    const log = await LogWriter.create(fs, first);
    const lengths = [
      0,
      1,
      syncWriteBytesMax - frameHeaderBytes,
      syncWriteBytesMax - frameHeaderBytes + 1,
      200_000,
    ];
    let seqFirst = 2;
    for (const length of lengths) {
      const payload = payloadOf(seqFirst, length);
      const buf = new Uint8Array(frameHeaderBytes + length + 7);
      buf.set(payload, frameHeaderBytes);
      const result = log.append(buf, length, { ...header, seqFirst });
      expect(result instanceof Promise).toBe(frameHeaderBytes + length > syncWriteBytesMax);
      await result;
      seqFirst++;
    }
    expect(log.lastSeq).toBe(6);
    const chain = await readChainOf(fs);
    expect([...chain.frames].map(({ payloadLen }) => payloadLen)).toEqual(lengths);
    for (const frame of chain.frames)
      expect(equalBytes(await chain.readPayload(frame), payloadOf(frame.seqFirst, frame.payloadLen))).toBe(
        true,
      );
    expect(chain.lastEnd).toBe(log.end);
    await chain.close();
    await log.close();
  });

  test('a failed write or sync poisons the writer', async () => {
    for (const kind of ['append', 'sync'] as const) {
      const fs = await disk();
      const log = await LogWriter.create(fs, first);
      fs.failAt(fs.opCount, { errno: 'EIO' });
      const buf = new Uint8Array(64);
      const failing = async (): Promise<void> =>
        kind === 'append' ? log.append(buf, 8, header) : log.dataSync();
      await expect(failing()).rejects.toMatchObject({ code: 'VARVE_IO', errno: 'EIO' });
      expect(() => log.append(buf, 8, header)).toThrow(expect.objectContaining({ code: 'VARVE_POISONED' }));
      await expect(log.dataSync()).rejects.toMatchObject({ code: 'VARVE_POISONED' });
      await log.close();
    }
  });

  test('append asserts that numbers are contiguous and that nothing follows SEAL', async () => {
    const fs = await disk();
    const log = await LogWriter.create(fs, first);
    const buf = new Uint8Array(64);
    expect(() => log.append(buf, 8, { ...header, seqFirst: 3 })).toThrow('contiguous');
    await log.seal({ seqFirst: 2, commitTimeMs: 5, durableSeq: 1 });
    expect(() => log.append(buf, 8, { ...header, seqFirst: 3 })).toThrow('nothing follows SEAL');
    await log.close();
    expect((await readChainOf(fs.crash('none'))).sealed).toBe(true);
  });

  test('a number that is taken is refused', async () => {
    const fs = await disk();
    await (await LogWriter.create(fs, first)).close();
    await expect(LogWriter.create(fs, first)).rejects.toMatchObject({ code: 'VARVE_IO', errno: 'EEXIST' });
  });

  test('a tail keeps its numbers, SEAL becomes NOOP and holes are covered', async () => {
    const fs = await disk();
    const tail = [
      { ...header, seqFirst: 6, count: 2, payload: payloadOf(6) },
      { ...header, type: frameTypes.seal, seqFirst: 9, payload: new Uint8Array(0) },
    ];
    const open = { ...first.open, prevLastSeq: 5, firstSeq: 6 };
    const log = await LogWriter.create(fs, { ...first, open, tail, openSeq: 11, durableSeq: 10 });
    const seen: unknown[] = [];
    for await (const item of scanLog(fs, log.path, { no: 1, dbUuid }))
      seen.push(item.kind === 'frame' ? [item.frame.type, item.frame.seqFirst, item.frame.count] : item.kind);
    const { open: o, batch, noop } = frameTypes;
    expect(seen).toEqual([
      [o, 11, 1],
      [batch, 6, 2],
      [noop, 8, 1],
      [noop, 9, 1],
      [noop, 10, 1],
    ]);
    await log.close();
  });

  test('a session opens, rotates and reopens with one unbroken chain', async () => {
    const fs = await disk();
    const session = await LogSession.open(fs);
    await session.append();
    await session.rotate();
    await session.append();
    await session.sync();
    const again = await LogSession.open(fs);
    const chain = await readChainOf(fs);
    expect(chain).toMatchObject({
      damage: [],
      problems: [],
      torn: undefined,
      lastNo: 3,
      writerEpoch: 3,
      durability: 0,
      highestNo: 3,
    });
    expect(chain.lastSeq).toBe(again.log.lastSeq);
  });
});

const golden = [
  '895652570d0a1a0a00015700000000000100000000000000070707070707070707070707070707070001020304050607',
  '08090a0b00000000749d850bd9220214565257463800000068b3408f0634653901000000000000000100000001000000',
  'e80300000000000000000000000000000000000000000000000000000000000000000000000000000100000000000000',
  '040000000000000001000000000000000000000000000000',
].join('');
