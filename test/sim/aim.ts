/**
 * Plans that aim at one pair of a fault and a call, which the number of the seed names: drawn freely, the
 * rarest of these pairs would not come up in any number of seeds that is ever run.
 */
import { faultKinds, instantKinds, opKinds } from './kinds.ts';
import type { FaultKind, OpKind, SimOptions } from './plan.ts';

/** One seed in so many aims. */
const aimEvery = 4;

export interface Aim {
  readonly fault: FaultKind;
  readonly call: OpKind;
  /** Calls to be made beside: some faults hit only what these do. */
  readonly beside: readonly OpKind[];
  /** With these, calls that read find little in memory, and so are under way while other things happen. */
  readonly options: Partial<SimOptions>;
}

const calls = opKinds.filter((kind) => !instantKinds.has(kind));
/** Pairs there are to aim at; so many seeds times `aimEvery` take each of them once. */
export const aims: number = faultKinds.length * calls.length;

/** What `seed` aims at; undefined for most seeds. */
export function aimOf(seed: number): Aim | undefined {
  if (seed % aimEvery !== 0) return undefined;
  const n = Math.floor(seed / aimEvery) % aims;
  return {
    fault: faultKinds[n % faultKinds.length]!,
    call: calls[Math.floor(n / faultKinds.length)]!,
    beside: ['put', 'stream', 'get', 'flush', 'reader'],
    options: { memtableBytes: 65_536, blockCacheBytes: 0, trailerCacheBytes: 0, keys: 40, merging: 'eager' },
  };
}
