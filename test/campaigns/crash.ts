/**
 * Crash points: every sequence of up to three calls, crashed at every changing operation in every shape the
 * disk may be left in; random longer workloads; and operations that fail. One round is one state that no
 * earlier round has checked.
 *
 * The seed is the order of the sequences. VARVE_PART=1/2 takes one half of them and VARVE_PART=2/2 the other.
 * VARVE_ONLY="sequence 123" repeats one, VARVE_ONLY="sequence 123 17 without 2" one state of it; "random 5"
 * and "fault 77" repeat one of the other lanes.
 */
import { Prng } from '../../src/base/prng.ts';
import type { FsProfile } from '../../src/fs/sim-names.ts';
import {
  preparation,
  profiles,
  sequenceAt,
  sequenceCount,
  sequenceShape,
  shortSequences,
} from '../crash/alphabet.ts';
import { crashAll, type Effort, newTally, type Tally } from '../crash/campaign.ts';
import { type Failure, failuresOf, runFailure } from '../crash/fault-lane.ts';
import { ReadAlike } from '../crash/read-alike.ts';
import { type Base, prepare } from '../crash/recorder.ts';
import { StateSet } from '../crash/state-set.ts';
import { groupWorkloadOf, type Workload, workloadOf } from '../crash/workload.ts';
import {
  type Campaign,
  type CampaignOptions,
  type CampaignResult,
  Pace,
  type Part,
  partOf,
} from './campaign.ts';

const shortStates = 1500;
const failuresMax = 20;
/** After so many sequences comes one random workload; after each, so many operations fail. */
const randomEvery = 3;
const faultsEach = 6;
/** One random workload in this many is long, one in `longestEvery` very long. */
const longEvery = 4;
const longestEvery = 16;
/** One in this many is made of short calls on a store that syncs in the background. */
const groupEvery = 4;
const heapMax = 2 * 1024 ** 3;

const everything: Effort = {
  mixtures: 16,
  singles: Number.POSITIVE_INFINITY,
  goOnEvery: 40,
  fallbackEvery: 40,
  innerEvery: 200,
  innerPoints: 8,
  depth: 2,
  readers: 4,
};
const sampled: Effort = {
  ...everything,
  mixtures: 4,
  singles: 6,
  cuts: 4,
  goOnEvery: 15,
  fallbackEvery: 12,
  innerEvery: 60,
  readers: 40,
};
const sampledPoints = 24;

export const campaign: Campaign = {
  name: 'crash',
  async run(options: CampaignOptions): Promise<CampaignResult> {
    const only = process.env.VARVE_ONLY;
    const crashes = new Crashes(options);
    const before = process.cpuUsage();
    if (only === undefined) await crashes.all(partOf());
    else await crashes.one(only);
    const { user, system } = process.cpuUsage(before);
    return crashes.result((user + system) / 1e6);
  },
};

/** The numbers of a part, in an order drawn by `seed`. */
function orderOf(seed: number, { part, of }: Part): Int32Array {
  const numbers = Int32Array.from({ length: sequenceCount }, (_, n) => n).filter((n) => n % of === part - 1);
  const prng = new Prng(seed);
  for (let i = numbers.length - 1; i > 0; i--) {
    const j = prng.below(i + 1);
    const kept = numbers[i]!;
    numbers[i] = numbers[j]!;
    numbers[j] = kept;
  }
  return numbers;
}

class Crashes {
  readonly #options: CampaignOptions;
  readonly #pace: Pace;
  readonly #tally: Tally = newTally();
  readonly #seen = new StateSet();
  readonly #alike = new ReadAlike();
  readonly #bases = new Map<string, Base>();
  readonly #failures: string[] = [];
  #ofPart = sequenceCount;
  #sequences = 0;
  #workloads = 0;
  #faults = 0;
  #failuresOfOne: (FaultWorkload & { number: number; list: readonly Failure[] }) | undefined;
  #faultAt = 0;

  constructor(options: CampaignOptions) {
    this.#options = options;
    this.#pace = new Pace(options, shortStates);
  }

  get #tried(): number {
    const { states, inner, fallbacks, failing } = this.#tally;
    return states + inner + fallbacks + failing;
  }

  #goesOn(): boolean {
    return this.#pace.goesOn(this.#tried) && this.#failures.length < failuresMax;
  }

  async all(part: Part): Promise<void> {
    const order = orderOf(this.#options.seed, part);
    this.#ofPart = order.length;
    for (let turn = 0; this.#goesOn(); turn++) {
      if (turn < order.length) {
        await this.#guard(`sequence ${order[turn]}`, () => this.#sequence(order[turn]!));
        if (this.#goesOn()) this.#sequences++;
      }
      for (let i = 0; i < faultsEach && this.#goesOn(); i++) {
        const n = this.#faultAt++ * part.of + part.part - 1;
        await this.#guard(`fault ${n}`, () => this.#fault(n));
      }
      if (turn % randomEvery === randomEvery - 1 || turn >= order.length) {
        const n = this.#options.seed * 1_000_000 + this.#workloads * part.of + part.part - 1;
        await this.#guard(`random ${n}`, () => this.#random(n));
      }
      const heap = process.memoryUsage().heapUsed;
      if (heap > heapMax) this.#failures.push(`turn ${turn}: ${heap} bytes of heap`);
    }
  }

  /** Repeats "lane number" or "lane number choice". */
  async one(only: string): Promise<void> {
    const [lane, number, ...choice] = only.split(' ');
    const n = Number(number);
    const state = choice.length > 0 ? choice.join(' ') : undefined;
    if (lane === 'sequence') await this.#guard(only, () => this.#sequence(n, state));
    else if (lane === 'random') await this.#guard(only, () => this.#random(n, state));
    else if (lane === 'fault') await this.#guard(only, () => this.#fault(n));
    else throw new Error(`VARVE_ONLY begins with sequence, random or fault, not ${lane}`);
  }

  result(cpuSeconds: number): CampaignResult {
    const { workloads, points, states, alike, duplicates, inner, fallbacks, mended, failing, rows } =
      this.#tally;
    const tried = this.#tried;
    const all = tried + duplicates;
    const perSecond = (many: number): number => Math.round(many / cpuSeconds);
    const lines = [
      ...this.#failures.map((text) => `FAILED seed ${this.#options.seed}, ${text}`),
      `exhaustive ${this.#sequences} of ${this.#ofPart} sequences; ${this.#workloads} random workloads; ` +
        `${this.#faults} failing operations`,
      `${states} states of power cuts, ${inner} of crashes inside recovery, ${fallbacks} without the ` +
        `newest slot or catalog, ${mended} repaired first, ${failing} after failing operations; ` +
        `${points} points of ${workloads} runs with ${rows} rows`,
      `${tried - alike} states were opened; ${alike} differ from one of them in nothing that recovery reads`,
    ];
    if (this.#seen.forgotten > 0) lines.push(`the states seen were forgotten ${this.#seen.forgotten} times`);
    const summary =
      `${all} states in all, ${tried} distinct; per second of processor time ` +
      `${perSecond(all)} and ${perSecond(tried)}`;
    return { tried, failed: this.#failures.length, lines, summary };
  }

  async #guard(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const line = `VARVE_ONLY='${what}': ${(error as Error).message}`;
      this.#failures.push(line);
      this.#options.onFailure?.(line);
    }
  }

  async #sequence(n: number, only?: string): Promise<void> {
    const { name, profile, isPrepared, workload } = sequenceAt(n);
    const { length } = workload.steps;
    await crashAll({
      ...this.#shared(only),
      name,
      profile,
      workload,
      effort: everything,
      base: isPrepared ? await this.#prepared(profile) : undefined,
      // The opening belongs to the sequences of one call.
      from: length === 1 ? -1 : length - 1,
    });
  }

  async #random(n: number, only?: string): Promise<void> {
    const [stepsMin, stepsMax] =
      n % longestEvery === 1 ? [60, 200] : n % longEvery === 0 ? [20, 60] : [3, 14];
    const workload = n % groupEvery === 2 ? groupWorkloadOf(n) : workloadOf(n, stepsMin, stepsMax);
    const profile = profiles[n % profiles.length]!;
    this.#workloads++;
    await crashAll({
      ...this.#shared(only),
      name: profile,
      profile,
      workload,
      effort: sampled,
      pointsMax: sampledPoints,
    });
  }

  /** Failures `n` of one workload follow each other; half of them are those of syncs. */
  async #fault(n: number): Promise<void> {
    const number = Math.floor(n / faultsPerWorkload);
    if (this.#failuresOfOne?.number !== number) {
      const { name, workload, profile } = workloadForFaults(number);
      this.#failuresOfOne = { number, name, workload, profile, list: await failuresOf(workload, profile) };
    }
    const { name, workload, profile, list } = this.#failuresOfOne;
    const prng = new Prng(n ^ 0x0fa17);
    const ofSyncs = list.filter(({ op }) => op.kind === 'sync' || op.kind === 'dataSync');
    this.#faults++;
    try {
      const failure = prng.pick(prng.chance(0.5) ? ofSyncs : list);
      this.#tally.failing += (await runFailure(workload, profile, failure)).states;
    } catch (error) {
      throw new Error(`${name}: ${(error as Error).message}`, { cause: error });
    }
  }

  async #prepared(profile: (typeof profiles)[number]): Promise<Base> {
    let base = this.#bases.get(profile);
    if (base === undefined) {
      base = await prepare({ seed: 1, shape: sequenceShape, steps: preparation }, profile);
      this.#bases.set(profile, base);
    }
    return base;
  }

  #shared(only: string | undefined): {
    tally: Tally;
    seen: StateSet;
    alike: ReadAlike;
    only: string | undefined;
    goesOn: () => boolean;
  } {
    return {
      tally: this.#tally,
      seen: this.#seen,
      alike: this.#alike,
      only,
      goesOn: () => {
        const note = `exhaustive ${this.#sequences} of ${this.#ofPart}, ${this.#failures.length} failed`;
        this.#options.onProgress(this.#tried, this.#pace.total, note);
        return this.#goesOn();
      },
    };
  }
}

const faultsPerWorkload = 12;

interface FaultWorkload {
  readonly name: string;
  readonly workload: Workload;
  readonly profile: FsProfile;
}

/** Sequences of one or two calls, random workloads, short calls in groups; on new stores. */
function workloadForFaults(number: number): FaultWorkload {
  const prng = new Prng(number);
  if (number % 2 === 0) {
    const { name, workload, profile } = sequenceAt(prng.below(shortSequences));
    return { name, workload, profile };
  }
  const profile = prng.pick(profiles);
  if (number % 4 === 1) return { name: `group, ${profile}`, workload: groupWorkloadOf(number), profile };
  return { name: `random, ${profile}`, workload: workloadOf(number, 4, 16), profile };
}
