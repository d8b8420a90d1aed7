import { expect, test } from 'vitest';
import { optimizeLate } from '../../src/cli/optimize-late.ts';

test('V8 is told to optimize later where that was measured, and nothing elsewhere', () => {
  const flags: string[] = [];
  for (const version of ['11.3.244.8-node.30', '12.4.254.21-node.33', '13.6.233.10-node.28', '1.11'])
    optimizeLate(version, (flag) => flags.push(flag));
  expect(flags).toEqual(['--interrupt-budget=300000']);
});
