/** What the rounds of an ingest bench come to, and that a program's cost is told. */
import { describe, expect, test } from 'vitest';
import { figuresOf, limitsOf, linesOf, type Round } from '../../bench/ingest/figures.ts';
import { runProgram } from '../../bench/ingest/run-program.ts';

const spent = (seconds: number, peakMiB: number) => ({ seconds, cpuSeconds: seconds / 2, peakMiB });
const round = (seconds: number, verify = true): Round => ({
  first: spent(seconds, 100),
  again: spent(seconds / 2, 120),
  restore: spent(seconds * 2, 90),
  verify: verify ? spent(seconds, 80) : undefined,
  stored: 50e6,
});
const limits = { sha256: 400, memoryCopy: 5000, diskWrite: 700 };

describe('figures', () => {
  const figures = figuresOf(100e6, limits, [
    { name: 'ours', isPeer: false, rounds: [round(1), round(4), round(2)] },
    { name: 'without verify', isPeer: false, rounds: [round(1, false)] },
    { name: 'slow', isPeer: true, rounds: [round(8)] },
    { name: 'quick', isPeer: true, rounds: [round(4)] },
  ]);

  test('rates are medians, ratio and peak of all rounds', () => {
    const [ours, other] = figures.found;
    expect(ours).toMatchObject({ system: 'ours', ratio: 2, peakMiB: 120 });
    expect(ours!.first).toEqual({ rate: { median: 50, least: 25, most: 100 }, cpuSeconds: 1 });
    expect(ours!.restore!.rate.median).toBe(25);
    expect(other!.verify).toBeUndefined();
  });

  test('each of ours is held against the best peer, step by step', () => {
    const own = figures.against.filter(({ system }) => system === 'ours');
    expect(own).toEqual(
      ['first', 'again', 'restore', 'verify'].map((step) => ({
        system: 'ours',
        peer: 'quick',
        step,
        times: 2,
      })),
    );
    expect(figures.against.filter(({ system }) => system === 'without verify')).toHaveLength(3);
    const text = linesOf(figures).join('\n');
    expect(text).toContain('first 2.00 x quick');
    expect(text).toContain('again 25 % of SHA-256, ratio 2.000, CPU 1.0, 0.5, 2.0, 1.0 s, peak 120 MiB');
  });

  test('limits are the medians of the rounds', () => {
    const high = { sha256: 900, memoryCopy: 9000, diskWrite: 900 };
    const low = { sha256: 1, memoryCopy: 1, diskWrite: 1 };
    expect(limitsOf([high, limits, low])).toEqual(limits);
  });
});

describe('a program', () => {
  test('tells what it printed and took, or what it failed with', async () => {
    const ran = await runProgram('sh', ['-c', 'echo out']);
    expect(ran.stdout).toBe('out\n');
    expect(ran.seconds).toBeGreaterThan(0);
    await expect(runProgram('sh', ['-c', 'echo why >&2; exit 3'])).rejects.toThrow('ended with 3: why');
    await expect(runProgram('no-such-program-here', [])).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
