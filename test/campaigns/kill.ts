/**
 * Kills real writer processes at random moments, also while they recover, and opens what they leave. It
 * proves nothing about power cuts: the kernel keeps what a dead process wrote.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Prng } from '../../src/base/prng.ts';
import { type CheckOptions, checkStore } from '../real/check-store.ts';
import { LaneModel, type Round } from '../real/lane-model.ts';
import type { DirShape } from '../real/store-dir.ts';
import { Worker } from '../real/worker.ts';
import type { WorkerConfig } from '../real/worker-child.ts';
import { type Campaign, type CampaignOptions, type CampaignResult, Pace } from './campaign.ts';

const roundsPerStore = 25;
const shortRounds = 8;

interface Tally {
  acks: number;
  recoveriesKilled: number;
  readonly ends: Map<string, number>;
}

export const campaign: Campaign = {
  name: 'kill',
  async run(options: CampaignOptions): Promise<CampaignResult> {
    const pace = new Pace(options, shortRounds);
    const tally: Tally = { acks: 0, recoveriesKilled: 0, ends: new Map() };
    const lines: string[] = [];
    let tried = 0;
    let failed = 0;
    while (pace.goesOn(tried)) {
      const dir = mkdtempSync(path.join(os.tmpdir(), 'varve-kill-'));
      const store = new KilledStore(path.join(dir, 'store'), options.seed, tally);
      try {
        for (let n = 0; n < roundsPerStore && pace.goesOn(tried); n++) {
          const round = tried++;
          await store.round(round);
          options.onProgress(tried, pace.total, `${tally.acks} acknowledged, ${failed} failed`);
        }
      } catch (error) {
        failed++;
        lines.push(`round ${tried - 1} of seed ${options.seed}: ${(error as Error).message}`);
      } finally {
        rmSync(dir, { recursive: true, force: true });
      }
    }
    const ends = Array.from(tally.ends, ([end, times]) => `${end} ${times}`).join(', ');
    lines.push(
      `${tally.acks} calls acknowledged, ${tally.recoveriesKilled} recoveries killed; ended by: ${ends}`,
    );
    return { tried, failed, lines };
  },
};

/** One store through many rounds. */
class KilledStore {
  readonly #dir: string;
  readonly #seed: number;
  readonly #tally: Tally;
  readonly #model = new LaneModel();

  constructor(dir: string, seed: number, tally: Tally) {
    this.#dir = dir;
    this.#seed = seed;
    this.#tally = tally;
  }

  async round(number: number): Promise<void> {
    const prng = new Prng(this.#seed * 2 ** 20 + number);
    const shape: DirShape = {
      durability: prng.pick(['full', 'full', 'os', { groupMs: 5 }] as const),
      segmentBytes: prng.pick([64 * 1024, 512 * 1024]),
      flock: prng.chance(0.7),
    };
    const lanes = prng.pick([1, 4, 12]);
    const config: WorkerConfig = {
      dir: this.#dir,
      shape,
      script: { seed: this.#seed, round: number },
      lanes,
      calls: 20_000,
      reopenEvery: prng.pick([0, 0, 25, 60]),
    };
    const worker = await this.#stop(config, prng);
    this.#tally.acks += worker.acks.length;
    if (worker.bad.length > 0) throw new Error(worker.bad.slice(0, 5).join('; '));
    if (worker.openErrors.length + worker.errors.length > 0)
      throw new Error(`calls failed: ${[...worker.openErrors, ...worker.errors].join(' ')}`);
    for (let times = prng.pick([0, 0, 0, 1, 2]); times > 0; times--) await this.#killRecovery(config, prng);
    const { script } = config;
    const round: Round = { script, lanes, acks: worker.acks, keepsAcked: true, durable: worker.durable };
    const options: CheckOptions = { shape, mayWarn: false, goOn: prng.chance(0.2) };
    await checkStore(this.#dir, this.#model, round, options);
  }

  /** Runs a worker and ends it in one of several ways at a random moment. */
  async #stop(config: WorkerConfig, prng: Prng): Promise<Worker> {
    const end = prng.pick([
      ...Array<NodeJS.Signals>(12).fill('SIGKILL'),
      'SIGTERM',
      'SIGABRT',
      'stopped, then SIGKILL',
      'heap',
    ] as const);
    this.#tally.ends.set(end, (this.#tally.ends.get(end) ?? 0) + 1);
    if (end === 'heap') {
      const exhaustHeapAfter = prng.below(40);
      const worker = new Worker({ ...config, exhaustHeapAfter }, { nodeArgs: ['--max-old-space-size=64'] });
      const { code, signal } = await worker.ended;
      if (code === 0) throw new Error(`the heap was not exhausted (${code} ${signal})`);
      return worker;
    }
    const worker = new Worker(config);
    const isEarly = prng.chance(0.2);
    await worker.said(isEarly ? 'r' : 'o');
    await sleep(isEarly ? prng.below(40) : prng.below(prng.pick([30, 400])));
    if (end === 'stopped, then SIGKILL') {
      worker.kill('SIGSTOP');
      await sleep(10);
      worker.kill('SIGKILL');
    } else worker.kill(end);
    const { code } = await worker.ended;
    if (code === 1) throw new Error(`the worker died by itself: ${worker.stderr}`);
    return worker;
  }

  async #killRecovery(config: WorkerConfig, prng: Prng): Promise<void> {
    const worker = new Worker({ ...config, waits: true });
    await worker.said('r');
    await sleep(prng.below(25));
    worker.kill();
    await worker.ended;
    this.#tally.recoveriesKilled++;
    if (worker.bad.length > 0) throw new Error(`in recovery: ${worker.bad.join('; ')}`);
    if (worker.openErrors.length > 0) throw new Error(`recovery failed: ${worker.openErrors.join(' ')}`);
  }
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
