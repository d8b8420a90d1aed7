/**
 * Real processes whose system calls fail: syncs and writes made to fail by strace, and file descriptors run
 * out. No call is acknowledged after writing has failed for good, and the store holds all that was.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Prng } from '../../src/base/prng.ts';
import { checkStore } from '../real/check-store.ts';
import { LaneModel, type Round } from '../real/lane-model.ts';
import { missing } from '../real/mounts.ts';
import { usualShape } from '../real/store-dir.ts';
import { type Launch, Worker } from '../real/worker.ts';
import type { WorkerConfig } from '../real/worker-child.ts';
import { type Campaign, type CampaignOptions, type CampaignResult, Pace } from './campaign.ts';

const shortRounds = 4;

/** A way to fail: how the worker is started and what it is told. */
interface Fault {
  readonly name: string;
  readonly launch: Launch;
  readonly config?: Partial<WorkerConfig>;
}

type MakeFault = (prng: Prng) => Fault;

const injectable = [
  { call: 'fdatasync', errors: ['EIO', 'ENOSPC'], most: 60 },
  { call: 'fsync', errors: ['EIO', 'ENOSPC'], most: 60 },
  { call: 'pwrite64', errors: ['EIO', 'ENOSPC', 'EDQUOT'], most: 200 },
  { call: 'mkdir', errors: ['ENOSPC'], most: 14 },
] as const;

/** One thread does the asynchronous calls, since strace counts by thread. Other calls are not stopped at. */
function injected(prng: Prng): Fault {
  const { call, errors, most } = prng.pick(injectable);
  const error = prng.pick(errors);
  const when = `${1 + prng.below(prng.pick([8, most]))}${prng.pick(['', '+'])}`;
  const words = ['-f', '--seccomp-bpf', '-qq', '-o', '/dev/null', '-e', `trace=${call}`];
  const before = ['strace', ...words, '-e', `inject=${call}:error=${error}:when=${when}`];
  return { name: `${call} ${error} ${when}`, launch: { before, env: { UV_THREADPOOL_SIZE: '1' } } };
}

function fewDescriptors(prng: Prng): Fault {
  const few = { free: prng.below(4), after: prng.below(60), calls: 1 + prng.below(40) };
  return {
    name: `${few.free} descriptors from call ${few.after}`,
    launch: { before: ['prlimit', '--nofile=128:128'] },
    config: { fewDescriptors: few },
  };
}

/** So few from the start that opening the store fails at one place or another. */
function fewFromStart(prng: Prng): Fault {
  const limit = 19 + prng.below(16);
  return {
    name: `${limit} descriptors in all`,
    launch: { before: ['prlimit', `--nofile=${limit}:${limit}`] },
    config: { fewDescriptors: { free: 0, after: -1, calls: 0 } },
  };
}

export const campaign: Campaign = {
  name: 'syscalls',
  async run(options: CampaignOptions): Promise<CampaignResult> {
    const pace = new Pace(options, shortRounds);
    const { faults, skipped } = faultsHere();
    const lines: string[] = [];
    const outcomes = new Map<string, number>();
    let tried = 0;
    let failed = 0;
    let stopped = 0;
    while (faults.length > 0 && pace.goesOn(tried)) {
      const prng = new Prng(options.seed * 2 ** 20 + tried);
      const fault = faults[tried % faults.length]!(prng);
      const dir = mkdtempSync(path.join(os.tmpdir(), 'varve-syscalls-'));
      try {
        const failures = await runRound(dir, fault, prng, options.seed, tried);
        if (failures.length > 0) stopped++;
        for (const code of failures) outcomes.set(code, (outcomes.get(code) ?? 0) + 1);
      } catch (error) {
        failed++;
        lines.push(`round ${tried} of seed ${options.seed}, ${fault.name}: ${(error as Error).message}`);
      } finally {
        rmSync(dir, { recursive: true, force: true });
      }
      tried++;
      options.onProgress(tried, pace.total, `${fault.name}, ${failed} failed`);
    }
    const codes = Array.from(outcomes, ([code, times]) => `${code} ${times}`).join(', ');
    lines.push(`${stopped} of ${tried} runs met their fault; callers were told: ${codes}`);
    return { tried, failed, lines, skipped };
  },
};

function faultsHere(): { faults: MakeFault[]; skipped: string[] } {
  const faults: MakeFault[] = [];
  const skipped: string[] = [];
  const add = (what: string, reason: string | undefined, ...makers: readonly MakeFault[]): void => {
    if (reason === undefined) faults.push(...makers);
    else skipped.push(`${what}: ${reason}`);
  };
  add('failing syncs and writes', missing('strace'), injected, injected);
  add('descriptor exhaustion', missing('prlimit'), fewDescriptors, fewFromStart);
  return { faults, skipped };
}

/** What cannot be tried here, with what to install. */
export const skippedHere = (): string[] => faultsHere().skipped;

/** Codes of what failed in the worker; throws when it broke a promise. */
async function runRound(
  dir: string,
  fault: Fault,
  prng: Prng,
  seed: number,
  number: number,
): Promise<readonly string[]> {
  const shape = { ...usualShape, segmentBytes: prng.pick([64 * 1024, 512 * 1024]), direct: number % 2 === 1 };
  const config: WorkerConfig = {
    dir: path.join(dir, 'store'),
    shape,
    script: { seed, round: number },
    lanes: prng.pick([1, 4]),
    calls: 90,
    reopenEvery: prng.pick([0, 30]),
    ...fault.config,
  };
  const worker = new Worker(config, fault.launch);
  const { code, signal } = await worker.ended;
  if (worker.bad.length > 0) throw new Error(worker.bad.slice(0, 5).join('; '));
  const failures = [...worker.openErrors, ...worker.errors, ...worker.closeErrors];
  const isTooFewForNode = config.fewDescriptors?.after === -1 && worker.opens === 0 && failures.length === 0;
  if (code !== 0 && !isTooFewForNode)
    throw new Error(`the worker ended with ${code ?? signal}: ${worker.stderr}`);
  const { script, lanes } = config;
  const round: Round = { script, lanes, acks: worker.acks, keepsAcked: true, durable: worker.durable };
  await checkStore(config.dir, new LaneModel(), round, { shape, mayWarn: false, goOn: true });
  return failures;
}
