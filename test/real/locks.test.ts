import { afterAll, expect, test } from 'vitest';
import { campaign, skippedHere } from '../campaigns/locks.ts';
import { removeChildPrograms } from './child-programs.ts';

afterAll(removeChildPrograms);

for (const reason of await skippedHere()) test(reason, (context) => context.skip(reason));

test('of eight processes racing for a store one has it, whatever happens to it', async (context) => {
  const { tried, failed, lines } = await campaign.run({ seed: 1, count: 12, onProgress: () => undefined });
  expect(failed, lines.join('\n')).toBe(0);
  if (tried === 0) context.skip('nothing of it can be tried here');
}, 120_000);
