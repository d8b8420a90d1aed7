import { afterAll, expect, test } from 'vitest';
import { campaign, skippedHere } from '../campaigns/power.ts';
import { removeChildPrograms } from './child-programs.ts';

afterAll(removeChildPrograms);

for (const reason of skippedHere()) test(reason, (context) => context.skip(reason));

test('what was acknowledged survives a power cut on each file system that is here', async (context) => {
  const { tried, failed, lines } = await campaign.run({ seed: 1, onProgress: () => undefined });
  expect(failed, lines.join('\n')).toBe(0);
  if (tried === 0) context.skip('nothing of it can be tried here');
}, 120_000);
