import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { campaign } from '../campaigns/sim.ts';
import { Coverage } from './coverage.ts';
import type { SimOp, SimPlan } from './plan.ts';
import { planOf } from './plan-maker.ts';
import { runPlan } from './run.ts';
import { Scheduler } from './scheduler.ts';
import { kindOf, shrink } from './shrink.ts';

const fixtures = new URL('../fixtures/sim/', import.meta.url);
const small = { least: 30, most: 60 };

describe('simulation', () => {
  test('seeds keep every promise through faults and crashes', async () => {
    const { tried, failed, lines } = await campaign.run({ seed: 1, onProgress: () => undefined });
    expect({ failed, lines: failed > 0 ? lines : [] }).toEqual({ failed: 0, lines: [] });
    expect(tried).toBeGreaterThan(0);
  }, 120_000);

  test('a seed runs the same way each time, another one in another way', async () => {
    const digests = new Set<string>();
    for (const seed of [3, 8]) {
      const first = await runPlan(planOf(seed, small));
      expect(first.failure).toBeUndefined();
      expect((await runPlan(planOf(seed, small))).digest).toBe(first.digest);
      digests.add(first.digest);
    }
    expect(digests.size).toBe(2);
  }, 60_000);

  test('plans that failed once run without a failure', async () => {
    const files = existsSync(fixtures) ? readdirSync(fixtures).filter((name) => name.endsWith('.json')) : [];
    for (const name of files) {
      const { plan } = JSON.parse(readFileSync(new URL(name, fixtures), 'utf8')) as { plan: SimPlan };
      expect({ name, failure: (await runPlan(plan)).failure }).toEqual({ name, failure: undefined });
    }
  }, 120_000);

  test('a store that loses acknowledged commits is found out, and the plan made small', async () => {
    // The disk does not sync the log, and a power cut comes after calls that were acknowledged.
    const { options } = planOf(8, small);
    const value = { seed: 1, length: 10 };
    const puts = Array.from(
      { length: 24 },
      (_, i): SimOp => ({ kind: 'put', space: '', key: `0${i % 10}`, value }),
    );
    const lying: SimPlan = {
      seed: 8,
      options: {
        ...options,
        durability: 'full',
        durability2: 'full',
        profile: 'posix',
        keyEncoding: 'bytes',
      },
      clients: [puts, puts],
      faults: [],
      ends: [1, 2, 3].map((seed) => ({ kind: 'power', calls: 12, steps: 3, seed })),
      lies: true,
    };
    const result = await runPlan(lying);
    expect(result.failure).toMatch(/acknowledged commit .* is lost|opened degraded/);
    const found = await shrink({ plan: lying, failure: result.failure! }, 40);
    expect(kindOf(found.failure)).toBe(kindOf(result.failure!));
    const count = (one: SimPlan): number => one.clients.reduce((sum, ops) => sum + ops.length, 0);
    expect(count(found.plan)).toBeLessThan(count(lying));
  }, 60_000);

  test('the coverage table names pairs that never came up', () => {
    const coverage = new Coverage();
    const { total, missing } = coverage.report;
    expect(missing.length).toBe(total);
    coverage.begin('put');
    coverage.begin('get');
    const after = coverage.report.missing;
    const seen = missing.filter((pair) => !after.includes(pair));
    expect(seen.sort()).toEqual(['get during put', 'put then get']);
  });

  test('a run in which nothing can go on is an error, not a hang; timers cost no time', async () => {
    const scheduler = new Scheduler(new Prng(1), {
      order: 'random',
      burst: 1,
      clock: 'steady',
      timers: 'late',
    });
    let done = false;
    void scheduler.sleep(86_400_000).then(() => {
      done = true;
    });
    await scheduler.until(() => done, 'a day');
    expect(scheduler.time).toBeGreaterThan(86_400_000);
    await expect(scheduler.until(() => false, 'nothing')).rejects.toThrow('nothing is stalled for ever');
  });
});
