import { describe, expect, test } from 'vitest';
import type { Clock } from '../../src/base/clock.ts';
import { VarveError } from '../../src/base/errors.ts';
import { logSyncBytes } from '../../src/base/limits.ts';
import { deferred } from '../../src/base/sync.ts';
import { type FrameFields, frameHeaderBytes, frameTypes } from '../../src/format/log-frame.ts';
import { GroupCommit } from '../../src/log/group-commit.ts';
import type { LogSink, NamedFile } from '../../src/log/group-end.ts';
import type { Durability } from '../../src/log/group-options.ts';
import { codeOf, TestClock, turn } from '../engine/engine-kit.ts';

/** A log that writes down what happened to it. */
class Sink implements LogSink {
  end = 0;
  readonly events: string[];
  readonly name: string;
  failing: 'append' | 'sync' | undefined;
  gate: Promise<void> | undefined;

  constructor(name: string, events: string[]) {
    this.name = name;
    this.events = events;
  }

  async append(buf: Uint8Array, payloadLen: number, header: FrameFields): Promise<void> {
    if (this.failing === 'append') throw new VarveError('VARVE_IO', 'append failed', { errno: 'EIO' });
    const text = new TextDecoder().decode(buf.subarray(frameHeaderBytes, frameHeaderBytes + payloadLen));
    this.events.push(`${this.name} ${header.seqFirst}+${header.count} ${text} d${header.durableSeq}`);
    this.end += frameHeaderBytes + payloadLen;
  }

  async dataSync(): Promise<void> {
    await this.gate;
    if (this.failing === 'sync') throw new VarveError('VARVE_IO', 'sync failed', { errno: 'EIO' });
    this.events.push(`${this.name} synced`);
  }
}

function setUp(durability: Durability, clock: Clock = new TestClock()) {
  const events: string[] = [];
  const sink = new Sink('log', events);
  const failures: VarveError[] = [];
  const log = new GroupCommit({
    log: sink,
    durability,
    clock,
    lastSeq: 10,
    lastTimeMs: 0,
    onFailed: (error) => failures.push(error),
  });
  const file = (name: string): NamedFile => ({
    flush: async () => events.push(`${name} flushed`),
    sync: async () => events.push(`${name} synced`),
  });
  const join = (text: string, ...files: NamedFile[]): { seq: number; done: Promise<void> } => {
    const group = log.group(text.length);
    for (const one of files) group.files.add(one);
    for (const byte of new TextEncoder().encode(text)) group.writer.u8(byte);
    return { seq: log.take(group), done: group.done.promise };
  };
  return { log, sink, events, failures, file, join };
}

describe("durability 'full'", () => {
  test('many transactions share one frame and one sync, and are visible only then', async () => {
    const { log, events, join } = setUp('full');
    const joined = ['a', 'b', 'c'].map((text) => join(text));
    expect(joined.map(({ seq }) => seq)).toEqual([11, 12, 13]);
    expect([log.lastSeq, log.visibleSeq, log.isWaitedFor]).toEqual([13, 10, true]);
    await Promise.all(joined.map(({ done }) => done));
    expect(events).toEqual(['log 11+3 abc d10', 'log synced']);
    expect([log.visibleSeq, log.durableSeq, log.isWaitedFor]).toEqual([13, 13, false]);
    expect(log.counters).toMatchObject({ count: 3, groups: 1, syncs: 1 });
  });

  test('chunk files are synced before the frame that names them, each once', async () => {
    const { events, file, join } = setUp('full');
    const [one, two] = [file('one'), file('two')];
    join('a', one);
    await join('b', two, one).done;
    expect(events).toEqual(['one synced', 'two synced', 'log 11+2 ab d10', 'log synced']);
  });

  test('while one round syncs the next group fills, and rounds end in order', async () => {
    const { log, sink, events, join } = setUp('full');
    const gate = deferred<void>();
    sink.gate = gate.promise;
    const first = join('a');
    for (let i = 0; i < 3; i++) await turn();
    const later = ['b', 'c'].map((text) => join(text));
    expect(log.visibleSeq).toBe(10);
    expect(log.pendingBytes).toBeGreaterThan(0);
    gate.resolve();
    await first.done;
    expect(log.visibleSeq).toBe(11);
    await Promise.all(later.map(({ done }) => done));
    expect(events).toEqual(['log 11+1 a d10', 'log synced', 'log 12+2 bc d11', 'log synced']);
    expect(log.pendingBytes).toBe(0);
  });

  test('a group that reached its size is closed, and the round still syncs once', async () => {
    const { log, events, join } = setUp('full');
    join('a');
    const group = log.group(5 * 1024 * 1024);
    group.writer.u8(98);
    log.take(group);
    await log.drained();
    expect(events).toEqual(['log 11+1 a d10', 'log 12+1 b d10', 'log synced']);
  });
});

test("'os' syncs the log beside the commits, so that a cut has little left", async () => {
  const { log, sink, events, file, join } = setUp('os');
  const big = async (bytes: number): Promise<void> => {
    const group = log.group(bytes);
    group.writer.zeros(bytes);
    log.take(group);
    await group.done.promise;
  };
  await join('a', file('one')).done;
  await big(logSyncBytes / 2);
  expect(events.filter((event) => event.endsWith('synced'))).toEqual([]);
  const gate = deferred<void>();
  sink.gate = gate.promise;
  await big(logSyncBytes / 2);
  const beside = join('b');
  await beside.done;
  expect([log.visibleSeq, log.durableSeq]).toEqual([beside.seq, 10]);
  gate.resolve();
  for (let i = 0; i < 5; i++) await turn();
  expect(events.filter((event) => event.endsWith('synced'))).toEqual(['one synced', 'log synced']);
  expect(log.durableSeq).toBe(beside.seq - 1);
});

test("'os' hands chunks and frame to the kernel and syncs nothing until a cut", async () => {
  const { log, events, file, join } = setUp('os');
  await join('a', file('one')).done;
  expect(events.splice(0)).toEqual(['one flushed', 'log 11+1 a d10']);
  expect([log.visibleSeq, log.durableSeq]).toEqual([11, 10]);
  const next = new Sink('next', events);
  const cut = log.cut(async (openSeq, prevEnd) => {
    events.push(`next opens with ${openSeq} after ${prevEnd}`);
    return next;
  });
  expect(cut.lastSeq).toBe(11);
  const after = join('b');
  expect(after.seq).toBe(13);
  await cut.done;
  await after.done;
  expect(events).toEqual([
    'one synced',
    'log synced',
    `next opens with 12 after ${frameHeaderBytes + 1}`,
    'next 13+1 b d11',
  ]);
});

test('{ groupMs } acknowledges at once and syncs within its time, once for all', async () => {
  const clock = new TestClock();
  const { log, events, file, join } = setUp({ groupMs: 50 }, clock);
  await join('a', file('one')).done;
  await join('b').done;
  expect(events.splice(0)).toEqual(['one flushed', 'log 11+1 a d10', 'log 12+1 b d10']);
  expect([log.durableSeq, clock.sleeping]).toEqual([10, 1]);
  await clock.advance(50);
  expect(events.splice(0)).toEqual(['one synced', 'log synced']);
  expect([log.durableSeq, clock.sleeping]).toEqual([12, 0]);
  await join('c').done;
  await log.syncNow();
  expect(log.durableSeq).toBe(13);
  events.length = 0;
  await clock.advance(50);
  expect(events, 'nothing is due after everything was synced').toEqual([]);
});

test('a second sync never calls durable what the first has not finished', async () => {
  const clock = new TestClock();
  const { log, events, join } = setUp({ groupMs: 50 }, clock);
  const gate = deferred<void>();
  const slow: NamedFile = {
    flush: async () => undefined,
    sync: async () => {
      await gate.promise;
      events.push('slow synced');
    },
  };
  await join('a', slow).done;
  await clock.advance(50);
  const now = log.syncNow();
  for (let i = 0; i < 5; i++) await turn();
  expect(log.durableSeq).toBe(10);
  gate.resolve();
  await now;
  expect(log.durableSeq).toBe(11);
  expect(events.indexOf('slow synced')).toBeLessThan(events.indexOf('log synced'));
});

test('a frame of its own keeps its place between groups', async () => {
  const { log, events, join } = setUp('full');
  join('a');
  const staged = log.frame(frameTypes.stage, [], (writer, seq) => writer.u8(64 + seq));
  join('b');
  await Promise.all([staged, log.drained()]);
  expect(events).toEqual(['log 11+1 a d10', 'log 12+1 L d10', 'log 13+1 b d10', 'log synced']);
});

test('a frame whose making throws takes no number and stops the log', async () => {
  const { log, failures } = setUp('full');
  expect(() =>
    log.frame(frameTypes.stage, [], () => {
      throw new VarveError('VARVE_CORRUPT', 'not to be encoded');
    }),
  ).toThrow('not to be encoded');
  expect(log.lastSeq).toBe(10);
  expect(failures).toHaveLength(1);
  expect(await codeOf(() => log.group(1))).toBe('VARVE_POISONED');
});

test('drained waits for what joined before it, not for what joins later', async () => {
  const { log, join } = setUp('full');
  let joins = 0;
  join('a');
  let drained = false;
  const end = log.drained().then(() => {
    drained = true;
  });
  while (!drained && joins < 100) {
    joins++;
    join('x');
    await turn();
  }
  await end;
  expect(joins).toBeLessThan(20);
});

test('commit time never falls, whatever the clock does', async () => {
  const clock = new TestClock();
  const { log, join } = setUp('full', clock);
  await join('a').done;
  const before = log.lastTimeMs;
  clock.ms -= 100_000;
  await join('b').done;
  expect(log.lastTimeMs).toBe(before);
});

describe('after a failure', () => {
  test.each(['append', 'sync'] as const)('of %s nothing is acknowledged again', async (failing) => {
    const { log, sink, failures, join } = setUp('full');
    await join('a').done;
    sink.failing = failing;
    const pending = ['b', 'c'].map((text) => codeOf(join(text).done));
    expect(await Promise.all(pending)).toEqual(['VARVE_COMMIT_UNKNOWN', 'VARVE_COMMIT_UNKNOWN']);
    expect([log.visibleSeq, log.durableSeq, log.pendingBytes]).toEqual([11, 11, 0]);
    expect([failures.length, failures[0]!.code, log.failure?.errno]).toEqual([1, 'VARVE_IO', 'EIO']);
    expect(log.isWaitedFor).toBe(false);
    sink.failing = undefined;
    expect(await codeOf(() => join('d'))).toBe('VARVE_POISONED');
    expect(await codeOf(log.drained())).toBe('VARVE_POISONED');
    expect(await codeOf(() => log.cut(async () => sink))).toBe('VARVE_POISONED');
    expect(await codeOf(() => log.frame(frameTypes.stage, [], () => undefined))).toBe('VARVE_POISONED');
  });

  test('a full disk says so, and a failure elsewhere stops everything that waits', async () => {
    const { log, failures, join } = setUp('full');
    const pending = codeOf(join('a').done);
    log.fail(new VarveError('VARVE_NO_SPACE', 'a segment is full', { errno: 'ENOSPC' }));
    log.fail(new VarveError('VARVE_IO', 'a later one'));
    expect(await pending).toBe('VARVE_NO_SPACE');
    expect(failures.map(({ code }) => code)).toEqual(['VARVE_NO_SPACE']);
  });

  test('a cut that cannot make its file fails, and with it everything behind', async () => {
    const { log, join } = setUp('full');
    const cut = log.cut(async () => {
      throw new VarveError('VARVE_IO', 'no new log');
    });
    const behind = codeOf(join('b').done);
    expect([await codeOf(cut.done), await behind]).toEqual(['VARVE_COMMIT_UNKNOWN', 'VARVE_COMMIT_UNKNOWN']);
    expect(log.failure?.message).toBe('no new log');
  });
});

describe('without a file', () => {
  function unmade(make?: () => Promise<LogSink>) {
    const events: string[] = [];
    const asked: number[] = [];
    const sink = new Sink('log', events);
    const log = new GroupCommit({
      log: async (openSeq) => {
        asked.push(openSeq);
        if (make !== undefined) return await make();
        events.push('made');
        return sink;
      },
      durability: 'full',
      clock: new TestClock(),
      lastSeq: 10,
      lastTimeMs: 0,
      onFailed: () => undefined,
    });
    return { log, events, asked };
  }

  test('one is made with the first frame, which follows the number of its OPEN', async () => {
    const { log, events, asked } = unmade();
    await log.syncNow();
    expect([log.isUnused, log.lastSeq, log.visibleSeq, events]).toEqual([true, 10, 10, []]);
    const group = log.group(1);
    group.writer.u8(0x61);
    expect(log.take(group)).toBe(12);
    expect(log.isUnused).toBe(false);
    await group.done.promise;
    await log.frame(frameTypes.stage, [], (writer) => writer.u8(0x62));
    expect(events).toEqual(['made', 'log 12+1 a d10', 'log synced', 'log 13+1 b d12', 'log synced']);
    expect([asked, log.visibleSeq, log.durableSeq]).toEqual([[11], 13, 13]);
  });

  test('a cut makes the first one, and ends it', async () => {
    const { log, events, asked } = unmade();
    const next = new Sink('next', events);
    const ends: number[] = [];
    const { lastSeq, done } = log.cut(async (openSeq, prevEnd) => {
      ends.push(openSeq, prevEnd);
      return next;
    });
    await done;
    // The number of OPEN, which no commit has, keeps nobody waiting.
    expect(log.isWaitedFor).toBe(false);
    expect([lastSeq, ends, asked, log.lastSeq]).toEqual([11, [12, 0], [11], 12]);
    expect(events).toEqual(['made', 'log synced']);
  });

  test('one that cannot be made ends all writing, and nobody is told otherwise', async () => {
    const { log } = unmade(() => Promise.reject(new VarveError('VARVE_IO', 'no file', { errno: 'EIO' })));
    const group = log.group(1);
    log.take(group);
    expect(await codeOf(group.done.promise)).toBe('VARVE_COMMIT_UNKNOWN');
    expect([log.visibleSeq, log.failure?.errno]).toEqual([10, 'EIO']);
    expect(await codeOf(() => log.group(1))).toBe('VARVE_POISONED');
    await log.settled();
  });

  test('a group that nobody joins keeps nobody waiting', async () => {
    const { log } = unmade();
    log.group(1);
    await log.drained();
    expect(log.visibleSeq).toBe(10);
  });
});
