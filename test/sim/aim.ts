/**
 * Plans that aim at pairs of a fault and a call, which the number of the seed names: drawn freely, the rarest
 * of these pairs would not come up in any number of seeds that is ever run. A plan aims at one kind of fault
 * and at as many kinds of calls as it has clients, one for each: where a fault hits, most of them are under
 * way.
 */
import { faultKinds, instantKinds, opKinds } from './kinds.ts';
import type { FaultKind, OpKind, SimOptions } from './plan.ts';

/** One seed in so many aims. */
export const aimEvery = 4;
/** Clients of a plan that aims. */
export const aimClients = 6;

export interface Aim {
  readonly fault: FaultKind;
  /** The call that each client makes most. */
  readonly calls: readonly OpKind[];
  /** Calls to be made beside: some faults hit only what these do. */
  readonly beside: readonly OpKind[];
  /** With these, calls that read find little in memory, and so are under way while other things happen. */
  readonly options: Partial<SimOptions>;
}

const calls = opKinds.filter((kind) => !instantKinds.has(kind));
const groups = Math.ceil(calls.length / aimClients);
/** Aims there are: so many seeds times `aimEvery` take each pair of a fault and a call once. */
export const aims: number = faultKinds.length * groups;

/** While readers hold files few are unlinked: those who hold them for long have one plan for themselves. */
const holders: readonly OpKind[] = ['follow', 'reader', 'view', 'verify', 'compact', 'stream'];

/** The calls of a group: neighbours in the list are apart. */
function callsOf(fault: FaultKind, group: number): readonly OpKind[] {
  if (fault !== 'EIO unlink') return calls.filter((_, i) => i % groups === group);
  if (group === 0) return holders;
  const others = calls.filter((kind) => !holders.includes(kind));
  return others.filter((_, i) => i % (groups - 1) === group - 1);
}

/** What `seed` aims at; undefined for most seeds. */
export function aimOf(seed: number): Aim | undefined {
  if (seed % aimEvery !== 0) return undefined;
  const n = Math.floor(seed / aimEvery) % aims;
  const group = Math.floor(n / faultKinds.length);
  const fault = faultKinds[n % faultKinds.length]!;
  // Most files go after merges.
  const merging = fault === 'EIO unlink' ? 'always' : 'eager';
  return {
    fault,
    calls: callsOf(fault, group),
    beside: ['put', 'stream', 'get', 'flush', ...(fault === 'EIO unlink' ? [] : (['reader'] as const))],
    options: { memtableBytes: 65_536, blockCacheBytes: 0, trailerCacheBytes: 0, keys: 40, merging },
  };
}
