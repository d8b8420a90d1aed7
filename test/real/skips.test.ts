import { afterEach, expect, test, vi } from 'vitest';
import { skippedHere as diskFullSkips } from '../campaigns/disk-full.ts';
import { skippedHere as lockSkips } from '../campaigns/locks.ts';
import { campaign as power } from '../campaigns/power.ts';
import { campaign as syscalls } from '../campaigns/syscalls.ts';
import { missing } from './mounts.ts';

afterEach(() => vi.unstubAllEnvs());

const howToGetIt = /: (.+ is not installed: apt-get install .+|run as root|run on Linux)$/;
const options = { seed: 1, count: 3, onProgress: () => undefined };

/** As on a machine that has no tool at all. */
function withoutTools(): void {
  vi.stubEnv('PATH', '');
}

test('a tool that is not there is named with the package it is in', () => {
  withoutTools();
  expect(missing('strace')).toBe('strace is not installed: apt-get install strace');
  expect(missing('nbdkit')).toBe('nbdkit is not installed: apt-get install nbdkit and nbdkit-plugin-python');
});

test('what cannot be tried is listed as skipped, counted apart and never counted as tried', async () => {
  withoutTools();
  for (const [campaign, kinds] of [
    [power, 5],
    [syscalls, 2],
  ] as const) {
    const { tried, failed, skipped } = await campaign.run(options);
    expect([tried, failed, skipped!.length]).toEqual([0, 0, kinds]);
    for (const line of skipped!) expect(line).toMatch(howToGetIt);
  }
});

test('a campaign that can try a part tells of the other part', async () => {
  withoutTools();
  expect(diskFullSkips()).toHaveLength(2);
  for (const line of diskFullSkips()) expect(line).toMatch(howToGetIt);
  const overMount = (await lockSkips()).filter((line) => line.startsWith('locks over a bind mount'));
  expect(overMount).toHaveLength(1);
  expect(overMount[0]).toMatch(howToGetIt);
});
