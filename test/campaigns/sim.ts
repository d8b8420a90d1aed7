/**
 * Seeded simulation: each seed is a store with options of its own, clients that write and read at the same
 * time, a disk that refuses, and lives that end in a power cut, a kill or a close. One round is one seed. A
 * seed that fails is made smaller and kept as a fixture, which `npm test` runs from then on.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { aimEvery, aims } from '../sim/aim.ts';
import { Coverage } from '../sim/coverage.ts';
import { planOf } from '../sim/plan-maker.ts';
import type { SimResult } from '../sim/result.ts';
import { runPlan } from '../sim/run.ts';
import { shrink } from '../sim/shrink.ts';
import { type Campaign, type CampaignOptions, type CampaignResult, Pace } from './campaign.ts';

const shortSeeds = 2;
/** One seed in this many is run twice, to see that nothing but the plan decides. */
const twiceEvery = 50;
/** From this many seeds on, a pair that never came up is a failure: each aim has had its turn three times. */
const fullCoverageFrom = 3 * aims * aimEvery;
const failuresMax = 5;
const shrinkRunsMax = 400;
const pairsShownMax = 20;

/** The folder of the plans that failed once; `npm run campaign` runs at the root of the project. */
const fixtures = path.join('test', 'fixtures', 'sim');

export const campaign: Campaign = {
  name: 'sim',
  async run(options: CampaignOptions): Promise<CampaignResult> {
    const pace = new Pace(options, shortSeeds);
    const totals = new Totals();
    const lines: string[] = [];
    let tried = 0;
    let failed = 0;
    while (pace.goesOn(tried) && failed < failuresMax) {
      const seed = options.seed + tried;
      const plan = planOf(seed);
      const result = await runPlan(plan);
      totals.add(result);
      tried++;
      if (result.failure !== undefined) {
        failed++;
        options.onFailure?.(`seed ${seed}: ${result.failure}; it is made smaller now`);
        lines.push(`seed ${seed}: ${result.failure}`, `  options ${JSON.stringify(plan.options)}`);
        const { plan: small, failure } = await shrink({ plan, failure: result.failure }, shrinkRunsMax);
        lines.push(`  kept as ${keep(seed, { failure, plan: small })}`);
      } else if (tried % twiceEvery === 0 && (await runPlan(plan)).digest !== result.digest) {
        failed++;
        lines.push(`seed ${seed}: the same plan ran in two ways`);
      }
      options.onProgress(
        tried,
        pace.total,
        `${failed} failed, ${totals.calls} calls, ${totals.crashes} crashes`,
      );
    }
    const { total, missing } = totals.coverage.report;
    if (missing.length > 0 && tried >= fullCoverageFrom) {
      failed++;
      lines.push(`pairs never seen: ${missing.slice(0, pairsShownMax).join(', ')}`);
    }
    lines.push(`${totals}, ${total - missing.length} of ${total} pairs of calls, faults and options seen`);
    return { tried, failed, lines };
  },
};

function keep(seed: number, fixture: object): string {
  mkdirSync(fixtures, { recursive: true });
  const file = path.join(fixtures, `seed-${seed}.json`);
  writeFileSync(file, `${JSON.stringify(fixture, null, 1)}\n`);
  return file;
}

class Totals {
  calls = 0;
  crashes = 0;
  #repairs = 0;
  #closes = 0;
  readonly coverage = new Coverage();
  #lives = 0;
  #faults = 0;
  #reads = 0;
  #commits = 0;

  add(result: SimResult): void {
    this.calls += result.calls;
    this.crashes += result.crashes;
    this.#repairs += result.repairs;
    this.#closes += result.ends - result.crashes;
    this.#lives += result.lives;
    this.#faults += result.faults;
    this.#reads += result.checkedReads;
    this.#commits += result.checkedWrites;
    this.coverage.add(result.coverage);
  }

  toString(): string {
    return (
      `${this.calls} calls in ${this.#lives} lives, ${this.crashes} power cuts and kills, ` +
      `${this.#closes} closes, ${this.#repairs} repairs, ` +
      `${this.#faults} faults; ${this.#commits} commits and ${this.#reads} reads checked`
    );
  }
}
