/** What part of the CPU time of some work is spent in some files: a sampling profile of this process. */
import { type Profiler, Session } from 'node:inspector';

/** Microseconds between samples. */
const intervalUs = 200;

/** Parts of the samples taken while `work` ran, garbage collection and idle time left out. */
export interface CpuShares {
  readonly samples: number;
  /** Of all samples, those in a function itself (its callees not counted) of each group. */
  readonly shares: ReadonlyMap<string, number>;
}

/** `groupOf`: the group that a function of a file belongs to; undefined: none of interest. */
export async function cpuShares(
  groupOf: (file: string, functionName: string) => string | undefined,
  work: () => Promise<unknown>,
): Promise<CpuShares> {
  const session = new Session();
  session.connect();
  try {
    const post = <T>(method: string, params: object = {}): Promise<T> =>
      new Promise((done, failed) =>
        session.post(method, params, (error, result) => (error === null ? done(result as T) : failed(error))),
      );
    await post('Profiler.enable');
    await post('Profiler.setSamplingInterval', { interval: intervalUs });
    await post('Profiler.start');
    await work();
    const { profile } = await post<Profiler.StopReturnType>('Profiler.stop');
    return countSamples(profile, groupOf);
  } finally {
    session.disconnect();
  }
}

/** Not work of the program. */
const outside = new Set(['(idle)', '(program)', '(garbage collector)', '(root)']);

function countSamples(
  { nodes, samples = [] }: Profiler.Profile,
  groupOf: (file: string, functionName: string) => string | undefined,
): CpuShares {
  const groups = new Map<number, string | undefined>();
  for (const { id, callFrame } of nodes) {
    if (!outside.has(callFrame.functionName)) groups.set(id, groupOf(callFrame.url, callFrame.functionName));
  }
  const counts = new Map<string, number>();
  let all = 0;
  for (const id of samples) {
    if (!groups.has(id)) continue;
    all++;
    const group = groups.get(id);
    if (group !== undefined) counts.set(group, (counts.get(group) ?? 0) + 1);
  }
  const shares = Array.from(counts, ([group, count]) => [group, count / all] as const);
  return { samples: all, shares: new Map(shares.sort((a, b) => b[1] - a[1])) };
}
