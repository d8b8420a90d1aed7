import { expect, test } from 'vitest';
import { VarveError } from '../../src/base/errors.ts';
import { deferred } from '../../src/base/sync.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { GroupCommit } from '../../src/log/group-commit.ts';
import type { LogSink, NamedFile } from '../../src/log/group-end.ts';
import { openOn, type StoreShape } from '../crash/machine.ts';
import { TestClock, turn } from '../engine/engine-kit.ts';

// While the sync that was due was failing on a segment, the end of the log file waited for its turn. It found
// no segment left to sync, called everything durable, and made the next log file, which said so: the next
// open took the lost segment for damage.
test('a log file does not end behind a sync that failed while it waited', async () => {
  const clock = new TestClock();
  const events: string[] = [];
  const sink: LogSink = {
    end: 0,
    append: () => undefined,
    dataSync: async () => {
      events.push('log synced');
    },
  };
  const log = new GroupCommit({
    log: sink,
    durability: { groupMs: 50 },
    clock,
    lastSeq: 10,
    lastTimeMs: 0,
    onFailed: () => events.push('failed'),
  });
  const syncing = deferred<void>();
  const lost: NamedFile = { flush: async () => undefined, sync: () => syncing.promise };
  const group = log.group(8);
  group.files.add(lost);
  group.writer.u64(0);
  expect(log.take(group)).toBe(11);
  await group.done.promise;
  await clock.advance(50);
  const cut = log.cut(async () => {
    events.push('next file');
    return sink;
  });
  for (let i = 0; i < 5; i++) await turn();
  syncing.reject(new VarveError('VARVE_IO', 'the sync of a segment failed', { errno: 'EIO' }));
  await expect(cut.done).rejects.toMatchObject({ code: 'VARVE_COMMIT_UNKNOWN' });
  await log.settled();
  expect(events).toEqual(['failed']);
  expect(log.durableSeq).toBe(10);
});

const shape: StoreShape = {
  durability: { groupMs: 5 },
  algorithm: 'fastcdc',
  inlineMax: 0,
  segmentBytes: 8 * 1024,
};

test.each(['none', 'all'] as const)(
  'a store whose segment could not be synced opens whole when %s of the rest survives',
  async (survives) => {
    for (let turns = 0; turns < 12; turns++) {
      const disk = new MemoryFileSystem({ profile: 'wild' });
      disk.schedule = async ({ kind, path }) => {
        const isSlow = kind === 'dataSync' && path.startsWith('seg/');
        for (let i = 0; i < (isSlow ? 8 : 2); i++) await turn();
      };
      const engine = await openOn(disk, shape, 1);
      await engine.put('a', 'first');
      let failures = 0;
      disk.faults = ({ kind, path }) =>
        kind === 'dataSync' && path.startsWith('seg/') && failures++ === 0
          ? { errno: 'EIO', lost: 'zeroed' }
          : undefined;
      await engine.put('b', new Uint8Array(3000).fill(2)).catch(() => undefined);
      for (let i = 0; i < turns; i++) await turn();
      await engine.flush().catch(() => undefined);
      await engine.close().catch(() => undefined);
      const isClosed = disk.trace.length;
      for (let i = 0; i < 40; i++) await turn();
      expect(disk.trace.length, 'nothing is written once the store is closed').toBe(isClosed);
      expect(failures).toBeGreaterThan(0);
      disk.faults = undefined;
      disk.schedule = undefined;
      const again = await openOn(disk.crash(survives), shape, 2);
      expect({ turns, health: again.health() }).toMatchObject({ turns, health: { ok: true } });
      await again.close();
    }
  },
);
