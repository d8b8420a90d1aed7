import { afterAll, expect, test } from 'vitest';
import { campaign, skippedHere } from '../campaigns/syscalls.ts';
import { removeChildPrograms } from './child-programs.ts';

afterAll(removeChildPrograms);

for (const reason of skippedHere()) test(reason, (context) => context.skip(reason));

test('after a failed system call nothing more is acknowledged and nothing is lost', async (context) => {
  const { tried, failed, lines } = await campaign.run({ seed: 1, onProgress: () => undefined });
  expect(failed, lines.join('\n')).toBe(0);
  if (tried === 0) context.skip('nothing of it can be tried here');
}, 120_000);
