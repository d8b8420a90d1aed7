import { describe, expect, test } from 'vitest';
import { VarveError } from '../../src/base/errors.ts';
import { Prng } from '../../src/base/prng.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { profiles } from './alphabet.ts';
import { drawn } from './choices.ts';
import { checkAllAfter, failuresOf, runFailure } from './fault-lane.ts';
import { runFaulty } from './faulty.ts';
import { openOn } from './machine.ts';
import { type CrashPoint, type Recording, record } from './recorder.ts';
import { checkRecovered } from './recovered.ts';
import { type Workload, workloadOf } from './workload.ts';

const firstSeed = Number(process.env.VARVE_SEED ?? 1);
const count = Number(process.env.VARVE_COUNT ?? 0);

const reading: ReadonlySet<string> = new Set(['open', 'read', 'size', 'list', 'stat']);

/** Disks of the run at which a reopen has everything to do: killed before its last close began. */
async function killedDisk(workload: Workload): Promise<{ recording: Recording; point: CrashPoint }> {
  const recording = await record(workload, 'posix');
  const ofLog = recording.points.filter(({ op }) => op?.path.startsWith('wal/'));
  const point = ofLog.findLast(({ acked }) => acked > 2) ?? ofLog.at(-1)!;
  return { recording, point };
}

describe('failing disks', () => {
  test('a read that fails once while the store is opened costs nothing at the open after it', async () => {
    for (let seed = firstSeed; seed < firstSeed + (count > 0 ? count : 1); seed++) {
      const workload = workloadOf(seed);
      const { recording, point } = await killedDisk(workload);
      for (let n = 0; ; n += count > 0 ? 1 : 3) {
        const disk = point.disk.crash('all');
        let reads = 0;
        disk.faults = ({ kind }) =>
          reading.has(kind) && reads++ === n ? { errno: n % 2 === 0 ? 'EIO' : 'EMFILE' } : undefined;
        const failure = await openOn(disk, workload.shape, seed)
          .then((engine) => engine.close())
          .catch((error: unknown) => error);
        disk.faults = undefined;
        if (reads <= n) break;
        if (failure !== undefined) expect(failure).toBeInstanceOf(VarveError);
        const plan = { floor: point.acked, shape: workload.shape, seed, goOn: n % 6 === 0 };
        try {
          await checkRecovered(disk, recording.history, plan);
        } catch (error) {
          throw new Error(`seed ${seed}, read ${n} failed: ${(error as Error).message}`, { cause: error });
        }
      }
    }
  }, 86_400_000);

  test('an operation that fails anywhere loses nothing acked and a failed sync ends all acks', async () => {
    let runs = 0;
    for (let seed = firstSeed; seed < firstSeed + (count > 0 ? count : 4); seed++) {
      const workload = workloadOf(seed);
      const profile = profiles[seed % profiles.length]!;
      const failures = await failuresOf(workload, profile);
      for (const failure of drawn(new Prng(seed), failures, count > 0 ? failures.length : 8)) {
        const where = `seed ${seed}, ${profile}`;
        try {
          await runFailure(workload, profile, failure);
          runs++;
        } catch (error) {
          throw new Error(`${where}: ${(error as Error).message}`, { cause: error });
        }
      }
    }
    expect(runs).toBeGreaterThan(25);
  }, 86_400_000);

  test('a disk that fills up keeps what was acknowledged and works once there is room', async () => {
    const workload = workloadOf(firstSeed + 1);
    const whole = new MemoryFileSystem();
    await runFaulty(whole, workload);
    const used = whole.trace.length;
    for (let from = 20; from < used; from += count > 0 ? 1 : 41) {
      const disk = new MemoryFileSystem();
      disk.faults = ({ kind, index }) =>
        index >= from && (kind === 'write' || kind === 'create' || kind === 'mkdir')
          ? { errno: 'ENOSPC' }
          : undefined;
      const run = await runFaulty(disk, workload);
      disk.faults = undefined;
      try {
        await checkAllAfter(disk, run, workload, from);
      } catch (error) {
        throw new Error(`full from operation ${from}: ${(error as Error).message}`, { cause: error });
      }
    }
  }, 86_400_000);
});
