import { afterAll, expect, test } from 'vitest';
import { campaign, skippedHere } from '../campaigns/disk-full.ts';
import { removeChildPrograms } from './child-programs.ts';

afterAll(removeChildPrograms);

for (const reason of skippedHere()) test(reason, (context) => context.skip(reason));

test('a full disk is told as such, leaves what is there readable and harms nothing', async (context) => {
  const { tried, failed, lines } = await campaign.run({ seed: 1, onProgress: () => undefined });
  expect(failed, lines.join('\n')).toBe(0);
  if (tried === 0) context.skip('nothing of it can be tried here');
}, 120_000);
