import { afterAll, expect, test } from 'vitest';
import { campaign } from '../campaigns/kill.ts';
import { removeChildPrograms } from './child-programs.ts';

afterAll(removeChildPrograms);

test('what was acknowledged survives the death of its writer, wherever it dies', async () => {
  const { failed, lines } = await campaign.run({ seed: 1, count: 4, onProgress: () => undefined });
  expect(failed, lines.join('\n')).toBe(0);
}, 120_000);
