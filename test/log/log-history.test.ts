import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { filePath } from '../../src/format/file-names.ts';
import { frameTypes, lastSeqOf } from '../../src/format/log-frame.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { LogHistory, type LogTurn } from '../../src/log/log-history.ts';
import { LogTail } from '../../src/log/log-tail.ts';
import { codeOf } from '../engine/engine-kit.ts';
import { dbUuid, LogSession } from './log-session.ts';

async function newDisk(): Promise<MemoryFileSystem> {
  const fs = new MemoryFileSystem();
  await fs.mkdir('wal');
  return fs;
}

const failed = (error: unknown): void => {
  throw error;
};

const first: LogTurn = { no: 1, openSeq: 1, prevFileNo: 0, prevEndOffset: 0, prevLastSeq: 0 };

/** Another file takes over. */
async function rotate(session: LogSession, history: LogHistory): Promise<void> {
  const { no: prevFileNo, end: prevEndOffset, lastSeq: prevLastSeq } = session.log;
  await session.rotate();
  const { no, lastSeq: openSeq } = session.log;
  history.turned({ no, openSeq, prevFileNo, prevEndOffset, prevLastSeq });
}

/** Numbers of the frames from `since` on, one by one. */
async function numbers(tail: LogTail, published: number): Promise<number[]> {
  const found: number[] = [];
  for (;;) {
    const frame = await tail.next(published);
    if (frame === undefined) return found;
    if (frame.type !== frameTypes.batch) continue;
    for (let seq = frame.seqFirst; seq <= lastSeqOf(frame); seq++) found.push(seq);
  }
}

describe('which files there are', () => {
  test('a history whose first file is not made yet ends where the log before it ends', async () => {
    const fs = await newDisk();
    const session = await LogSession.open(fs);
    await session.append(2);
    await session.sync();
    const { no: prevFileNo, end: prevEndOffset, lastSeq: prevLastSeq } = session.log;
    const before = { prevFileNo, prevEndOffset, prevLastSeq };
    const history = LogHistory.from(before, fs, dbUuid, 0);
    expect((await history.spans()).map(({ no, lastSeq, end }) => [no, lastSeq, end])).toEqual([
      [prevFileNo, prevLastSeq, prevEndOffset],
    ]);
    const tail = new LogTail(fs, history, dbUuid, 0);
    expect(await numbers(tail, prevLastSeq)).toEqual([2, 3]);
    // The reader waits at the end of the old file when the new one comes.
    await session.rotate();
    history.turned({ no: session.log.no, openSeq: session.log.lastSeq, ...before });
    await session.append(3);
    await session.sync();
    expect(await numbers(tail, session.log.lastSeq)).toEqual([5, 6, 7]);
    expect((await history.after(prevFileNo))?.no).toBe(session.log.no);
    await tail.close();
    await session.log.close();
  });

  test('spans chain back as far as files are whole', async () => {
    const fs = await newDisk();
    let session = await LogSession.open(fs);
    for (let i = 0; i < 3; i++) {
      await session.append(2);
      await session.sync();
      await session.log.close();
      session = await LogSession.open(fs);
    }
    const whole = await new LogHistory(fs, dbUuid, 0).spans();
    expect(whole.map(({ no }) => no)).toEqual([1, 2, 3, 4]);
    for (let i = 1; i < whole.length; i++) expect(whole[i]!.firstSeq).toBe(whole[i - 1]!.lastSeq! + 1);
    expect(whole.at(-1)!.end).toBeUndefined();
    await fs.unlink(filePath('wal', 2));
    expect((await new LogHistory(fs, dbUuid, 0).spans()).map(({ no }) => no)).toEqual([3, 4]);
    await session.log.close();
  });

  test('the newest files stay until they hold enough, and what is read stays', async () => {
    const fs = await newDisk();
    for (const [no, length] of [100, 200, 300, 400].entries()) {
      const file = await fs.open(filePath('wal', no + 1), 'create');
      await file.write(new Uint8Array(length), 0);
      await file.close();
    }
    const goes = (bytes: number, held?: number): Promise<number[]> => {
      const history = new LogHistory(fs, dbUuid, bytes);
      if (held !== undefined) history.hold(held);
      return history.mayGo([1, 2, 3, 4], failed);
    };
    expect(await goes(0)).toEqual([4, 3, 2, 1]);
    expect(await goes(1)).toEqual([3, 2, 1]);
    expect(await goes(400)).toEqual([3, 2, 1]);
    expect(await goes(401)).toEqual([2, 1]);
    expect(await goes(10_000)).toEqual([]);
    expect(await goes(0, 2)).toEqual([4, 3, 1]);
    const history = new LogHistory(fs, dbUuid, 401);
    await history.mayGo([1, 2, 3, 4], failed);
    expect(history.kept).toEqual({ files: 2, bytes: 700 });
  });

  test('a file that there is no room for goes, with every older one', async () => {
    const fs = await newDisk();
    for (const [no, length] of [100, 50, 200, 100].entries()) {
      const file = await fs.open(filePath('wal', no + 1), 'create');
      await file.write(new Uint8Array(length), 0);
      await file.close();
    }
    const goes = (room: number, held?: number): Promise<number[]> => {
      const history = new LogHistory(fs, dbUuid, 10_000, () => room);
      if (held !== undefined) history.hold(held);
      return history.mayGo([1, 2, 3, 4], failed);
    };
    expect(await goes(450)).toEqual([]);
    expect(await goes(449)).toEqual([1]);
    expect(await goes(299)).toEqual([3, 2, 1]);
    expect(await goes(99)).toEqual([4, 3, 2, 1]);
    expect(await goes(99, 2)).toEqual([4, 3, 1]);
  });

  test('what is kept on stays, with all behind it', async () => {
    const fs = await newDisk();
    const session = await LogSession.open(fs);
    const history = LogHistory.from(first, fs, dbUuid, 0);
    await rotate(session, history);
    const kept = history.keepFrom(session.log.lastSeq);
    await rotate(session, history);
    const later = history.keepFrom(session.log.lastSeq + 1);
    await rotate(session, history);
    expect(await history.mayGo([1, 2, 3], failed)).toEqual([1]);
    history.letGo(kept);
    expect(await history.mayGo([2, 3], failed)).toEqual([2]);
    history.letGo(later);
    expect(await history.mayGo([3], failed)).toEqual([3]);
    await session.log.close();
  });

  test('a size that cannot be read keeps the file and is told', async () => {
    const fs = await newDisk();
    const told: string[] = [];
    const broken = new Proxy(fs, {
      get: (target, name) =>
        name === 'stat' ? () => Promise.reject(new Error('stat')) : Reflect.get(target, name).bind(target),
    });
    const history = new LogHistory(broken, dbUuid, 10);
    expect(await history.mayGo([1], (_error, path) => told.push(path))).toEqual([]);
    expect(told).toEqual([filePath('wal', 1)]);
  });
});

describe('reading along', () => {
  test('frames come once and without a gap, however files turn', async () => {
    const step = fc.oneof(
      {
        weight: 5,
        arbitrary: fc.record({ do: fc.constant('append' as const), count: fc.integer({ min: 1, max: 3 }) }),
      },
      {
        weight: 1,
        arbitrary: fc.record({ do: fc.constantFrom('rotate' as const, 'read' as const), count: fc.nat(1) }),
      },
    );
    const run = fc.asyncProperty(fc.array(step, { maxLength: 20 }), fc.nat(10), async (steps, since) => {
      const fs = await newDisk();
      const session = await LogSession.open(fs);
      const history = LogHistory.from(first, fs, dbUuid, 0);
      const live = new LogTail(fs, history, dbUuid, 0);
      const seen: number[] = [];
      const written: number[] = [];
      for (const { do: what, count } of steps) {
        if (what === 'append') {
          const from = session.log.lastSeq + 1;
          await session.append(count);
          for (let seq = from; seq <= session.log.lastSeq; seq++) written.push(seq);
        } else if (what === 'read') seen.push(...(await numbers(live, session.log.lastSeq)));
        else await rotate(session, history);
      }
      seen.push(...(await numbers(live, session.log.lastSeq)));
      expect(seen).toEqual(written);
      const expected = written.filter((seq) => seq > since);
      for (const source of [history, new LogHistory(fs, dbUuid, 0)]) {
        const late = new LogTail(fs, source, dbUuid, since);
        expect((await numbers(late, session.log.lastSeq)).filter((seq) => seq > since)).toEqual(expected);
        await late.close();
      }
      await live.close();
      await session.log.close();
    });
    await fc.assert(run, { numRuns: 60 });
  });

  test('nothing above what was published is given, and a file that is gone is an error', async () => {
    const fs = await newDisk();
    const session = await LogSession.open(fs);
    const history = LogHistory.from(first, fs, dbUuid, 0);
    const tail = new LogTail(fs, history, dbUuid, 0);
    await session.append(1);
    const one = session.log.lastSeq;
    await session.append(1);
    expect(await numbers(tail, one)).toEqual([one]);
    expect(await numbers(tail, one + 1)).toEqual([one + 1]);
    await tail.close();
    await fs.unlink(session.log.path);
    expect(await codeOf(new LogTail(fs, history, dbUuid, 0).next(one))).toBe('VARVE_HISTORY_GONE');
    await session.log.close();
  });
});
