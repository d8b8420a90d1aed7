import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { laterOptimizing } from '../../src/cli/optimizing.ts';

test('this runtime knows its flag, and versions that are not known have none', () => {
  const flag = laterOptimizing(process.versions.v8);
  const ran = spawnSync(process.execPath, [...(flag === undefined ? [] : [flag]), '--version'], {
    encoding: 'utf8',
  });
  expect([ran.status, ran.stdout.trim(), ran.stderr]).toEqual([0, process.version, '']);
  expect(laterOptimizing('11.3.244.8-node.38')).toBe('--interrupt-budget=600000');
  expect(laterOptimizing('112.4.1')).toBeUndefined();
  expect(laterOptimizing('14.6.202.34-node.34')).toBeUndefined();
});
