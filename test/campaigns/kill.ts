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
import { someMoment, Worker } from '../real/worker.ts';
import type { WorkerConfig } from '../real/worker-child.ts';
import { type Campaign, type CampaignOptions, type CampaignResult, Pace } from './campaign.ts';

const roundsPerStore = 25;
/** Stores killed at the same time: starting a process leaves a processor idle for a good part of it. */
const storesAtOnce = 4;
const shortRounds = 8;

interface Tally {
  acks: number;
  recoveriesKilled: number;
  beforeOpen: number;
  landed: number;
  vanished: number;
  readonly ends: Map<string, number>;
}

export const campaign: Campaign = {
  name: 'kill',
  async run(options: CampaignOptions): Promise<CampaignResult> {
    const run = new KillRun(options);
    await Promise.all(Array.from({ length: storesAtOnce }, () => run.killStores()));
    const { lines, tally, tried, failed } = run;
    const ends = Array.from(tally.ends, ([end, times]) => `${end} ${times}`).join(', ');
    lines.push(
      `${tally.acks} calls acknowledged; of those under way ${tally.landed} found whole, ` +
        `${tally.vanished} absent; ${tally.beforeOpen} killed before the store was open, ` +
        `${tally.recoveriesKilled} recoveries killed; ended by: ${ends}`,
    );
    return { tried, failed, lines };
  },
};

/** Stores taken one after another, each through rounds of its own numbers, whoever works on it. */
class KillRun {
  readonly lines: string[] = [];
  readonly tally: Tally = {
    acks: 0,
    recoveriesKilled: 0,
    beforeOpen: 0,
    landed: 0,
    vanished: 0,
    ends: new Map(),
  };
  tried = 0;
  failed = 0;
  readonly #options: CampaignOptions;
  readonly #pace: Pace;
  readonly #perStore: number;
  #begun = 0;
  #nextRound = 0;

  constructor(options: CampaignOptions) {
    this.#options = options;
    this.#pace = new Pace(options, shortRounds);
    const share = Math.ceil((this.#pace.total ?? Number.POSITIVE_INFINITY) / storesAtOnce);
    this.#perStore = Math.max(2, Math.min(roundsPerStore, share));
  }

  async killStores(): Promise<void> {
    while (this.#pace.goesOn(this.#begun)) {
      const from = this.#nextRound;
      this.#nextRound += this.#perStore;
      await this.#killStore(from, from + this.#perStore);
    }
  }

  /** After a failure the rest of the rounds have a new store. */
  async #killStore(from: number, to: number): Promise<void> {
    let round = from;
    while (round < to && this.#pace.goesOn(this.#begun)) {
      const dir = mkdtempSync(path.join(os.tmpdir(), 'varve-kill-'));
      const store = new KilledStore(path.join(dir, 'store'), this.#options.seed, this.tally);
      try {
        while (round < to && this.#pace.goesOn(this.#begun)) {
          this.#begun++;
          await store.round(round++);
          this.#ended();
        }
      } catch (error) {
        this.failed++;
        this.#ended();
        const line = `round ${round - 1} of seed ${this.#options.seed}: ${(error as Error).message}`;
        this.lines.push(line);
        this.#options.onFailure?.(line);
      } finally {
        rmSync(dir, { recursive: true, force: true });
      }
    }
  }

  #ended(): void {
    this.tried++;
    const note = `${this.tally.acks} acknowledged, ${this.failed} failed`;
    this.#options.onProgress(this.tried, this.#pace.total, note);
  }
}

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
      asPrograms: prng.chance(0.2),
      direct: number % 2 === 1,
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
    const { landed, vanished } = this.#model;
    await checkStore(this.#dir, this.#model, round, options);
    this.#tally.landed += this.#model.landed - landed;
    this.#tally.vanished += this.#model.vanished - vanished;
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
      const worker = new Worker({ ...config, exhaustHeapAfter }, { nodeArgs: ['--max-old-space-size=32'] });
      const { code, signal } = await worker.ended;
      if (code === 0) throw new Error(`the heap was not exhausted (${code} ${signal})`);
      return worker;
    }
    const worker = new Worker(config);
    await someMoment(worker, prng);
    if (worker.opens === 0) this.#tally.beforeOpen++;
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
