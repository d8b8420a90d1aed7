/** How a run of cleaning shares thread and disk with others: by what its task allows, pauses and courtesy. */
import type { Clock } from '../../base/clock.ts';
import type { MergePace } from '../../tree/merge-slice.ts';
import { BytePace, restFor } from '../background/byte-pace.ts';
import type { PauseGate } from '../background/pause-gate.ts';
import type { CleanTask } from './clean-run.ts';
import type { Courtesy } from './courtesy.ts';

export interface CleanPaceOptions {
  readonly clock: Clock;
  readonly log: { readonly isWaitedFor: boolean };
  readonly gate: PauseGate;
  readonly courtesy: Courtesy;
}

/** Of a scan. `task.cancelled` ends it. */
export function scanPace(
  { clock, log, gate, courtesy }: CleanPaceOptions,
  task: Pick<CleanTask, 'cancelled' | 'share' | 'isAwaited'>,
): MergePace {
  let since = clock.monotonic();
  return {
    monotonic: () => clock.monotonic(),
    turn: async () => {
      if (task.share < 1) await restFor(clock, task, clock.monotonic() - since);
      else await courtesy.turn(task);
      await gate.passed(task.cancelled);
      since = clock.monotonic();
    },
    yields: () => log.isWaitedFor,
    cancelled: task.cancelled,
  };
}

/** Of copies: to be called with bytes read or written. VARVE_ABORTED when `task.cancelled` says so. */
export function copyPace(
  { clock, log, gate, courtesy }: CleanPaceOptions,
  task: Pick<CleanTask, 'cancelled' | 'share' | 'isAwaited' | 'bytesPerSecond'>,
): (bytes: number) => Promise<void> {
  const { bytesPerSecond, share, isAwaited, cancelled } = task;
  const pace = new BytePace(clock, {
    ...{ bytesPerSecond, share, isAwaited, cancelled },
    goOn: () => gate.passed(cancelled),
    yields: () => log.isWaitedFor,
    turn: () => courtesy.turn(task),
  });
  return async (bytes) => {
    await courtesy.rest(task);
    await pace.spend(bytes);
  };
}
