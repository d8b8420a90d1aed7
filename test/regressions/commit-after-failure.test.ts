import { expect, test } from 'vitest';
import { VarveError } from '../../src/base/errors.ts';
import { deferred } from '../../src/base/sync.ts';
import { GroupCommit } from '../../src/log/group-commit.ts';
import { simulatedClock } from '../crash/machine.ts';

test('a commit synced after something else has failed is neither acknowledged nor visible', async () => {
  const syncing = deferred<void>();
  const synced = deferred<void>();
  const log = new GroupCommit({
    log: {
      end: 0,
      append: () => undefined,
      dataSync: () => {
        syncing.resolve();
        return synced.promise;
      },
    },
    durability: 'full',
    clock: simulatedClock(),
    lastSeq: 7,
    lastTimeMs: 0,
    onFailed: () => undefined,
  });
  const group = log.group(8);
  expect(log.take(group)).toBe(8);
  group.writer.u64(0);
  await syncing.promise;
  log.fail(new VarveError('VARVE_IO', 'a segment could not be written', { errno: 'EIO' }));
  synced.resolve();
  await expect(group.done.promise).rejects.toMatchObject({ code: 'VARVE_COMMIT_UNKNOWN' });
  await simulatedClock().turn();
  expect(log.visibleSeq).toBe(7);
  expect(log.durableSeq).toBe(7);
});
