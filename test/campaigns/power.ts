/**
 * Cuts the power of real file systems under a working store: by the kernel's shutdown on ext4 and xfs, and
 * by a block device that drops unflushed sectors, or refuses a few writes, on ext4, xfs and btrfs.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Prng } from '../../src/base/prng.ts';
import { checkStore } from '../real/check-store.ts';
import {
  type CuttableDisk,
  DroppingDisk,
  FileSystemLost,
  type FileSystemName,
  fileSystems,
  missingForDevice,
  missingForShutdown,
  ShutdownDisk,
} from '../real/disks.ts';
import { LaneModel, type Round } from '../real/lane-model.ts';
import { Mounts } from '../real/mounts.ts';
import type { DirShape } from '../real/store-dir.ts';
import { someMoment, Worker } from '../real/worker.ts';
import type { WorkerConfig } from '../real/worker-child.ts';
import { type Campaign, type CampaignOptions, type CampaignResult, Pace } from './campaign.ts';

const roundsPerDisk = 20;
/** More file systems than this that do not mount again end the run: it would prove little. */
const lostMax = 20;
const shortRounds = 5;

type MakeDisk = (dir: string, mounts: Mounts, prng: Prng) => Promise<CuttableDisk>;

interface Tally {
  acks: number;
  late: number;
  recoveries: number;
  readonly cuts: Map<string, number>;
  readonly refusals: Map<string, number>;
}

export const campaign: Campaign = {
  name: 'power',
  async run(options: CampaignOptions): Promise<CampaignResult> {
    const pace = new Pace(options, shortRounds);
    const tally: Tally = { acks: 0, late: 0, recoveries: 0, cuts: new Map(), refusals: new Map() };
    const { disks, skipped } = disksHere();
    const lines: string[] = [];
    let tried = 0;
    let failed = 0;
    let lost = 0;
    // Disks take turns, each for a few rounds at a time when there is time, for one when the run is short.
    const turns = Math.max(1, Math.min(roundsPerDisk, Math.floor((pace.total ?? 1000) / disks.length)));
    for (let turn = 0; disks.length > 0 && pace.goesOn(tried); turn++) {
      const dir = mkdtempSync(path.join(os.tmpdir(), 'varve-power-'));
      const mounts = new Mounts();
      let disk: CuttableDisk | undefined;
      try {
        disk = await disks[turn % disks.length]!(dir, mounts, new Prng(options.seed + turn));
        const store = new CutStore(disk, options.seed, tally);
        for (let n = 0; n < turns && pace.goesOn(tried); n++) {
          await store.round(tried++ + lost);
          options.onProgress(tried, pace.total, `${disk.name}, ${tally.acks} acknowledged, ${failed} failed`);
        }
      } catch (error) {
        const what = `round ${tried + lost - 1} of seed ${options.seed} on ${disk?.name}`;
        if (error instanceof FileSystemLost) {
          tried--;
          lost++;
          skipped.push(`${what}: the file system itself did not mount again`);
        } else {
          failed++;
          lines.push(`${what}: ${(error as Error).message}`);
        }
        if (disk === undefined || lost > lostMax) break;
      } finally {
        disk?.dispose();
        mounts.removeAll();
        rmSync(dir, { recursive: true, force: true });
      }
    }
    const show = (counts: Map<string, number>): string =>
      Array.from(counts, ([name, times]) => `${name} ${times}`).join(', ');
    lines.push(
      `${tally.acks} calls acknowledged, ${tally.late} of them late, ${tally.recoveries} cuts in recovery; ` +
        `cuts: ${show(tally.cuts)}`,
    );
    if (lost > lostMax) lines.push('stopped: too many file systems did not mount again');
    if (tally.refusals.size > 0) lines.push(`rounds with refused writes: ${show(tally.refusals)}`);
    return { tried, failed, lines, skipped };
  },
};

/** Every kind of disk that can be made here, and why the others cannot. */
function disksHere(): { disks: MakeDisk[]; skipped: string[] } {
  const disks: MakeDisk[] = [];
  const skipped: string[] = [];
  const add = (what: string, fsName: FileSystemName, reason: string | undefined, make: MakeDisk): void => {
    if (reason === undefined) disks.push(make);
    else skipped.push(`${what} on ${fsName}: ${reason}`);
  };
  for (const fsName of ['ext4', 'xfs'] as const) {
    add('power cut', fsName, missingForShutdown(fsName), async (dir, mounts) => {
      return new ShutdownDisk(fsName, dir, mounts);
    });
  }
  for (const fsName of fileSystems) {
    add('dropped sectors', fsName, missingForDevice(fsName), (dir, mounts, prng) =>
      DroppingDisk.make(fsName, dir, mounts, prng),
    );
  }
  return { disks, skipped };
}

/** A worker at its end, and what of it counts. */
interface Outcome {
  readonly worker: Worker;
  /** Acknowledgements that the store must keep, counted from the first. */
  readonly promised: number;
  /** Commits up to this number were known to be on disk. */
  readonly durable: number;
}

/** What cannot be tried here, with what to install. */
export const skippedHere = (): string[] => disksHere().skipped;

/** One store on one disk through many cuts. */
class CutStore {
  readonly #disk: CuttableDisk;
  readonly #seed: number;
  readonly #tally: Tally;
  readonly #model = new LaneModel();
  readonly #dir: string;

  constructor(disk: CuttableDisk, seed: number, tally: Tally) {
    this.#disk = disk;
    this.#seed = seed;
    this.#tally = tally;
    this.#dir = path.join(disk.at, 'store');
  }

  async round(number: number): Promise<void> {
    const prng = new Prng(this.#seed * 2 ** 20 + number);
    const shape: DirShape = {
      durability: prng.pick(['full', 'full', 'full', 'os', { groupMs: 5 }] as const),
      segmentBytes: prng.pick([64 * 1024, 512 * 1024]),
      flock: true,
      direct: number % 2 === 1,
    };
    const config: WorkerConfig = {
      dir: this.#dir,
      shape,
      script: { seed: this.#seed, round: number },
      lanes: prng.pick([1, 4, 12]),
      calls: 20_000,
      reopenEvery: prng.pick([0, 0, 20, 50]),
      diskDies: true,
    };
    const refuse = this.#disk.refuseWrites !== undefined && prng.chance(0.5);
    const outcome = refuse ? await this.#refuse(config, prng) : await this.#cut(config, prng);
    const { acks } = outcome.worker;
    this.#tally.acks += acks.length;
    this.#tally.late += acks.length - outcome.promised;
    for (let times = prng.pick([0, 0, 1, 2]); times > 0; times--) {
      await this.#cut({ ...config, waits: true }, prng);
      this.#tally.recoveries++;
    }
    const { script, lanes } = config;
    const keepsAcked = shape.durability === 'full';
    const { promised, durable } = outcome;
    const round: Round = { script, lanes, acks, promised, keepsAcked, durable };
    await checkStore(this.#dir, this.#model, round, { shape, mayWarn: true, goOn: prng.chance(0.3) });
  }

  /**
   * Runs a worker, cuts the power at a random moment and switches it on again. Where syncs under way at the
   * cut may lie, only what had arrived before it is promised.
   */
  async #cut(config: WorkerConfig, prng: Prng): Promise<Outcome> {
    const { name } = this.#disk;
    this.#tally.cuts.set(name, (this.#tally.cuts.get(name) ?? 0) + 1);
    const worker = new Worker(config);
    let before: { promised: number; durable: number } | undefined;
    try {
      if (config.waits === true) {
        await worker.said('r');
        await sleep(prng.below(prng.pick([20, 100])));
      } else await someMoment(worker, prng);
      // What the pipe holds was acknowledged before the cut: the event loop reads it now.
      await turn();
      if (this.#disk.lies) before = { promised: worker.acks.length, durable: worker.durable };
      this.#disk.cut();
      // Long enough to see the failure, and to acknowledge what it must not.
      await Promise.race([worker.ended, sleep(prng.below(60))]);
    } finally {
      worker.kill();
    }
    await worker.ended;
    refuseBad(worker);
    this.#disk.restore();
    return { worker, promised: worker.acks.length, durable: worker.durable, ...before };
  }

  /** The device refuses a few writes and then takes them again: what failed may never be acknowledged. */
  async #refuse(config: WorkerConfig, prng: Prng): Promise<Outcome> {
    const { name } = this.#disk;
    this.#tally.refusals.set(name, (this.#tally.refusals.get(name) ?? 0) + 1);
    const worker = new Worker(config);
    try {
      await worker.acked(prng.below(40));
      for (let times = 1 + prng.below(3); times > 0; times--) {
        this.#disk.refuseWrites!(1 + prng.below(3), prng.below(prng.pick([1, 4])));
        await Promise.race([worker.ended, sleep(20 + prng.below(250))]);
      }
    } finally {
      worker.kill();
    }
    await worker.ended;
    refuseBad(worker);
    this.#disk.restore();
    return { worker, promised: worker.acks.length, durable: worker.durable };
  }
}

function refuseBad(worker: Worker): void {
  if (worker.bad.length > 0) throw new Error(worker.bad.slice(0, 5).join('; '));
  if (worker.process.exitCode === 1) throw new Error(`the worker died by itself: ${worker.stderr}`);
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
