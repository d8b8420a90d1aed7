import { afterAll, expect, test } from 'vitest';
import { campaign } from '../campaigns/locks.ts';
import { removeChildPrograms } from './child-programs.ts';

afterAll(removeChildPrograms);

test('of eight processes racing for a store one at most has it, whatever happens to the holder', async () => {
  const { failed, lines, skipped } = await campaign.run({ seed: 1, count: 15, onProgress: () => undefined });
  for (const reason of skipped ?? []) console.log(`skipped: ${reason}`);
  expect(failed, lines.join('\n')).toBe(0);
});
