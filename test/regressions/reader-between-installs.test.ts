import { expect, test } from 'vitest';
import { checkReader } from '../crash/readers.ts';
import { record } from '../crash/recorder.ts';
import { groupWorkloadOf } from '../crash/workload.ts';

/**
 * Found by the crash campaign (random 3000822). A writer that takes over from one that was killed before it
 * wrote anything lets its log follow the one before that. A reader that had the older catalog and listed the
 * logs afterwards took it for the next one: it showed an old state, and nothing looked wrong.
 */
test('a reader that opens while a writer takes over shows all that was acknowledged before', async () => {
  const { points, history } = await record(groupWorkloadOf(3_000_822), 'posix');
  const shape = groupWorkloadOf(3_000_822).shape;
  const before = points.findIndex(({ acked, op }) => acked === 5 && op?.path.startsWith('tab/') === true);
  const after = points.findIndex(({ acked }) => acked === 9);
  expect(before).toBeGreaterThan(0);
  expect(after).toBeGreaterThan(before);
  for (let calls = 4; calls < 12; calls++)
    await checkReader(points[before]!, points[after]!, calls, history, shape);
});
